// The scheduler's door: a request is queued or refused at once.
import type { SchedulerOptions } from '../config/tables/scheduler-options.js';
import type { RunnerLimits } from '../engine/model-runner.js';
import { Request, type RequestDefaults } from '../engine/request.js';
import type { FinishReason, TokenChunk } from '../messages/outputs.js';
import type { GenerateMessage } from '../messages/requests.js';
import { monotonicSeconds } from '../util/clock.js';
import { aborted, kvCapacity, refusal } from './admission.js';
import type { RequestQueues } from './request-queues.js';

export interface RequestIntakeDeps {
  readonly queues: RequestQueues;
  readonly limits: RunnerLimits;
  readonly options: Pick<SchedulerOptions, 'maxQueuedRequests'>;
  readonly eosTokenIds: readonly number[];
}

export class RequestIntake {
  readonly #queues: RequestQueues;
  readonly #limits: RunnerLimits;
  readonly #maxQueued: number | undefined;
  readonly #defaults: RequestDefaults;

  constructor({ queues, limits, options, eosTokenIds }: RequestIntakeDeps) {
    this.#queues = queues;
    this.#limits = limits;
    this.#maxQueued = options.maxQueuedRequests;
    this.#defaults = { eosTokenIds, vocabSize: limits.vocabSize, maxSequence: kvCapacity(limits) + 1 };
  }

  /** Queues the request, or returns the final chunk that refuses it. */
  accept(message: GenerateMessage): TokenChunk | null {
    const finish = this.#refusal(message);
    if (finish !== null) return { rid: message.rid, tokenIds: [], finish, cachedTokens: 0, retractions: 0 };
    this.#queues.enqueue(new Request(message, this.#defaults, monotonicSeconds()));
    return null;
  }

  #refusal(message: GenerateMessage): FinishReason | null {
    if (this.#queues.find(message.rid) !== undefined) {
      return aborted(`A request with the id '${message.rid}' is already running.`, 400, 'BadRequestError');
    }
    const problem = refusal(message, this.#limits, this.#defaults.eosTokenIds);
    if (problem !== null) return problem;
    if (this.#maxQueued === undefined || this.#queues.waiting.length < this.#maxQueued) return null;
    return aborted(
      `The queue is full: ${this.#queues.waiting.length} requests are waiting (--max-queued-requests ${this.#maxQueued}).`,
      503,
      'ServiceUnavailable',
    );
  }
}
