// What one forward step must read and compute at least, counted from the ModelSpec: the roofline of the step (Williams, Waterman
// and Patterson, 2009). Norms, activations and sampling are left out: together they are a small share of either.
import type { LayerSpec, ModelSpec } from '../native/addon.js';
import { DTYPE_BYTES } from './dtype-bytes.js';

export interface Work {
  /** Multiplications and additions. */
  readonly flops: number;
  /** Weights and KV cache that must come from memory, each once. */
  readonly bytes: number;
}

/** Layers of one kind. */
interface LayerKind {
  readonly layer: LayerSpec;
  readonly count: number;
  /** Elements of the matrices that every token meets, of one expert, and of all experts that a token meets. */
  readonly dense: number;
  readonly expert: number;
  readonly expertsPerToken: number;
}

export class StepWork {
  readonly #spec: ModelSpec;
  readonly #kinds: readonly LayerKind[];

  constructor(spec: ModelSpec) {
    this.#spec = spec;
    this.#kinds = kindsOf(spec);
  }

  /**
   * Request i computes `counts[i]` tokens and has `lengths[i]` afterwards. `logitRows`: rows that go through lm_head, normally
   * one a request.
   */
  of(counts: readonly number[], lengths: readonly number[], logitRows = counts.length): Work {
    const { vocabSize, hiddenSize, numHeads, numKvHeads, headDim, dtype, kvCache } = this.#spec;
    const head = vocabSize * hiddenSize;
    let tokens = 0;
    for (const count of counts) tokens += count;
    let flops = 2 * head * logitRows;
    let weights = logitRows > 0 ? head : 0;
    let keysAndValues = 0;
    for (const { layer, count: layers, dense, expert, expertsPerToken } of this.#kinds) {
      let pairs = 0;
      let cached = 0;
      for (let i = 0; i < counts.length; i++) {
        pairs += visiblePairs(counts[i]!, lengths[i]!, layer.slidingWindow);
        cached += visibleTokens(counts[i]!, lengths[i]!, layer.slidingWindow);
      }
      flops += layers * (2 * tokens * (dense + expertsPerToken) + 4 * numHeads * headDim * pairs);
      weights += layers * (dense + expert * expectedExperts(layer, tokens));
      keysAndValues += layers * 2 * numKvHeads * headDim * cached;
    }
    return { flops, bytes: weights * DTYPE_BYTES[dtype] + keysAndValues * DTYPE_BYTES[kvCache.dtype] };
  }
}

function kindsOf(spec: ModelSpec): LayerKind[] {
  const kinds = new Map<string, LayerSpec[]>();
  for (const layer of spec.layers) {
    const key = JSON.stringify(layer);
    const same = kinds.get(key);
    if (same === undefined) kinds.set(key, [layer]);
    else same.push(layer);
  }
  const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize } = spec;
  const attention = hiddenSize * headDim * (2 * numHeads + 2 * numKvHeads);
  return [...kinds.values()].map(([first, ...others]) => {
    const { moe } = first!;
    const kind = { layer: first!, count: others.length + 1 };
    if (moe === null) {
      return { ...kind, dense: attention + 3 * hiddenSize * intermediateSize, expert: 0, expertsPerToken: 0 };
    }
    const expert = 3 * hiddenSize * moe.intermediateSize;
    return { ...kind, dense: attention + hiddenSize * moe.numExperts, expert, expertsPerToken: moe.topK * expert };
  });
}

/** How many different experts so many tokens meet, if the router chooses evenly. */
function expectedExperts({ moe }: LayerSpec, tokens: number): number {
  return moe === null ? 0 : moe.numExperts * (1 - (1 - moe.topK / moe.numExperts) ** tokens);
}

/** Query-key pairs of the last `count` of `length` tokens: each sees itself and those before it, as far as the window. */
function visiblePairs(count: number, length: number, window: number): number {
  const upTo = (last: number): number => {
    if (window === 0 || last <= window) return (last * (last + 1)) / 2;
    return (window * (window + 1)) / 2 + (last - window) * window;
  };
  return upTo(length) - upTo(length - count);
}

/** Cached tokens that are read: all that any of them sees. */
function visibleTokens(count: number, length: number, window: number): number {
  return window === 0 ? length : Math.min(length, window + count - 1);
}
