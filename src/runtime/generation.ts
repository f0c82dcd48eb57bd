// One request of the library as it runs: iterate it for a stream, await it for the result.
import { errorOfFinish } from '../frontend/finish-error.js';
import type { RequestState } from '../frontend/request-state.js';
import type { FinishReason, TokenLogprobs } from '../messages/outputs.js';
import type { AsyncQueue } from '../util/queue.js';

/** What came since the last chunk of the same output. */
export interface GenerationChunk {
  /** Which output, below `n`. */
  readonly index: number;
  /** New text; '' where characters are still incomplete or may belong to a stop string. */
  readonly text: string;
  readonly tokenIds: readonly number[];
  /** null until the last chunk of the output. */
  readonly finishReason: FinishReason | null;
}

export interface GenerationResult {
  readonly index: number;
  readonly text: string;
  /** All generated tokens, a stop token included. */
  readonly tokenIds: readonly number[];
  readonly finishReason: FinishReason;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens served from the prefix cache. */
  readonly cachedTokens: number;
  /** Of the prompt from `logprobs.startLen`; null where not asked for. */
  readonly inputLogprobs: TokenLogprobs | null;
  /** Of `tokenIds`; null where not asked for. */
  readonly outputLogprobs: TokenLogprobs | null;
}

/**
 * A running request. Iterating gives chunks of all its outputs as they come (at most once); awaiting gives the result of
 * the first output; `all()` those of every output. An aborted output has a `finishReason` of type `abort`, unless the
 * engine failed or refused the request: then iterating and awaiting throw a VitrineError.
 *
 * Being a PromiseLike, it is awaited by whatever awaits promises: an async function that returns one gives its result.
 */
export class Generation implements AsyncIterable<GenerationChunk>, PromiseLike<GenerationResult> {
  readonly #states: Promise<readonly RequestState[]>;
  readonly #updates: AsyncQueue<RequestState>;
  readonly #finished: Promise<void>;
  readonly #cancel: () => void;

  /** Made by `Engine`. `cancel` aborts what still runs. */
  constructor(
    states: Promise<readonly RequestState[]>,
    updates: AsyncQueue<RequestState>,
    finished: Promise<void>,
    cancel: () => void,
  ) {
    this.#states = states;
    this.#updates = updates;
    this.#finished = finished;
    this.#cancel = cancel;
    states.catch(() => {}); // reported to whoever awaits
    finished.catch(() => {});
  }

  /** Leaving the loop early aborts the request. */
  async *[Symbol.asyncIterator](): AsyncGenerator<GenerationChunk, void, undefined> {
    const states = await this.#states;
    const indexes = new Map(states.map((state, index) => [state, index]));
    const given = states.map(() => 0);
    const ended = states.map(() => false);
    try {
      for await (const state of this.#updates) {
        const index = indexes.get(state)!;
        if (ended[index]) continue; // an earlier chunk held this update too
        if (state.finish !== null) throwIfFailed(state.finish);
        ended[index] = state.finish !== null;
        const tokenIds = state.tokenIds.slice(given[index]);
        given[index] = state.tokenIds.length;
        if (tokenIds.length === 0 && state.finish === null) continue;
        yield { index, text: state.takeNewText(), tokenIds, finishReason: state.finish };
      }
    } finally {
      this.#cancel();
    }
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting a generation is the point
  then<A = GenerationResult, B = never>(
    onFulfilled?: ((result: GenerationResult) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.all()
      .then((results) => results[0]!)
      .then(onFulfilled, onRejected);
  }

  /** The results of all outputs, by index. */
  async all(): Promise<GenerationResult[]> {
    const states = await this.#states;
    await this.#finished;
    return states.map(resultOf);
  }
}

function resultOf(state: RequestState, index: number): GenerationResult {
  const finishReason = state.finish!;
  throwIfFailed(finishReason);
  return {
    index,
    text: state.text,
    tokenIds: state.tokenIds,
    finishReason,
    promptTokens: state.promptTokens,
    completionTokens: state.completionTokens,
    cachedTokens: state.cachedTokens,
    inputLogprobs: state.inputLogprobs,
    outputLogprobs: state.outputLogprobs,
  };
}

function throwIfFailed(finish: FinishReason): void {
  const error = errorOfFinish(finish);
  if (error !== null) throw error;
}
