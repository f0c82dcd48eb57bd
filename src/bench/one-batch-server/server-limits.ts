// What fits into the server under test, and the cases that are left out because they do not.
import { VitrineError } from '../../util/errors.js';
import { isJsonObject, type JsonObject } from '../../util/read-json.js';
import type { Point } from '../one-batch/latency-test.js';
import type { Output } from '../terminal/output.js';
import { internalStates } from './server-client.js';

export class ServerLimits {
  /** Over all replicas. */
  readonly #maxRunningRequests: number;
  readonly #tokenCapacity: number;
  /** Tokens of a KV block: a sequence takes whole ones. */
  readonly #pageSize: number;
  readonly #contextLength: number;

  private constructor(limits: {
    maxRunningRequests: number;
    tokenCapacity: number;
    pageSize: number;
    contextLength: number;
  }) {
    this.#maxRunningRequests = limits.maxRunningRequests;
    this.#tokenCapacity = limits.tokenCapacity;
    this.#pageSize = limits.pageSize;
    this.#contextLength = limits.contextLength;
  }

  /** For servers that do not tell. */
  static none(): ServerLimits {
    const infinity = Number.POSITIVE_INFINITY;
    return new ServerLimits({
      ...{ maxRunningRequests: infinity, tokenCapacity: infinity, pageSize: 1, contextLength: infinity },
    });
  }

  /** From the answer of /server_info, and printed in SGLang's words. @throws VitrineError BENCH_FAILED */
  static read(info: JsonObject, output: Output): ServerLimits {
    const states = internalStates(info);
    const perReplica = states[0]?.effective_max_running_requests_per_dp;
    if (typeof perReplica !== 'number' || perReplica <= 0) {
      const expected = 'expected internal_states[0].effective_max_running_requests_per_dp above 0 in its /server_info';
      throw new VitrineError(
        'BENCH_FAILED',
        `The server does not tell its limits: ${expected}, got ${String(perReplica)}`,
      );
    }
    const capacities = states.map(({ memory_usage: memory }) => (isJsonObject(memory) ? memory.token_capacity : null));
    const positive = (value: unknown, otherwise: number): number =>
      typeof value === 'number' && value > 0 ? value : otherwise;
    const dpSize = positive(info.dp_size, 1);
    const limits = new ServerLimits({
      maxRunningRequests: perReplica * dpSize,
      tokenCapacity: capacities.reduce<number>((sum, value) => sum + positive(value, Number.POSITIVE_INFINITY), 0),
      pageSize: positive(info.page_size, 1),
      contextLength: positive(info.context_length, Number.POSITIVE_INFINITY),
    });
    output.print(`max_running_requests_per_dp=${perReplica}`);
    output.print(`dp_size=${dpSize}`);
    output.print(`skip_max_running_requests_threshold=${limits.#maxRunningRequests}`);
    output.print(`skip_token_capacity_threshold=${limits.#tokenCapacity}`);
    return limits;
  }

  /** False, with a line that says why, for a case that would wait for room or be refused. */
  admits(point: Point, output: Output): boolean {
    const reason = this.#obstacle(point);
    if (reason === undefined) return true;
    output.print(`========Skip benchmark ${reason}.========`);
    return false;
  }

  /** The longest prompt of a warm-up, at most `wanted`; 0 where not one token fits. */
  warmUpLength(batchSize: number, wanted: number, outputLen: number): number {
    const longest = Math.min(
      this.#contextLength,
      Math.floor(this.#tokenCapacity / batchSize / this.#pageSize) * this.#pageSize,
    );
    return Math.max(0, Math.min(wanted, longest - outputLen));
  }

  #obstacle({ batchSize, inputLen, outputLen }: Point): string | undefined {
    const length = inputLen + outputLen;
    const lengths = `(input_len=${inputLen} + output_len=${outputLen})`;
    const capacity = `skip_token_capacity_threshold=${this.#tokenCapacity} due to kv cache limit`;
    const tokens = batchSize * length;
    if (tokens > this.#tokenCapacity) return `batch_size=${batchSize} * ${lengths} = ${tokens} > ${capacity}`;
    const paged = batchSize * Math.ceil(length / this.#pageSize) * this.#pageSize;
    if (paged > this.#tokenCapacity) {
      return `batch_size=${batchSize} * ${lengths} = ${paged} in blocks of ${this.#pageSize} > ${capacity}`;
    }
    if (batchSize > this.#maxRunningRequests) {
      const threshold = `skip_max_running_requests_threshold=${this.#maxRunningRequests}`;
      return `batch_size=${batchSize} > ${threshold} due to max running requests limit`;
    }
    if (length > this.#contextLength) {
      return `${lengths} = ${length} > context_length=${this.#contextLength} due to context length limit`;
    }
    return undefined;
  }
}
