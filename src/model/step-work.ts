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

/** One request's part in a step. */
export interface StepPart {
  /** Tokens that the step computes. */
  readonly tokens: number;
  /** Tokens of the sequence after the step. */
  readonly length: number;
}

export class StepWork {
  readonly #spec: ModelSpec;
  readonly #elementBytes: number;

  constructor(spec: ModelSpec) {
    this.#spec = spec;
    this.#elementBytes = DTYPE_BYTES[spec.dtype];
  }

  /** `logitRows`: rows that go through lm_head, normally one a request. */
  of(parts: readonly StepPart[], logitRows = parts.length): Work {
    const spec = this.#spec;
    const head = spec.vocabSize * spec.hiddenSize;
    const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
    let flops = 2 * head * logitRows;
    let elements = logitRows > 0 ? head : 0;
    for (const layer of spec.layers) {
      const weights = this.#weights(layer);
      flops += 2 * tokens * (weights.dense + weights.expertsPerToken);
      elements += weights.dense + weights.expert * expectedExperts(layer, tokens);
      for (const part of parts) {
        flops += 4 * spec.numHeads * spec.headDim * visiblePairs(part, layer.slidingWindow);
        elements += 2 * spec.numKvHeads * spec.headDim * visibleTokens(part, layer.slidingWindow);
      }
    }
    return { flops, bytes: elements * this.#elementBytes };
  }

  /** Elements of a layer's matrices: that every token meets, of one expert, and of a token's experts together. */
  #weights(layer: LayerSpec): { dense: number; expert: number; expertsPerToken: number } {
    const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize } = this.#spec;
    const attention = hiddenSize * headDim * (2 * numHeads + 2 * numKvHeads);
    if (layer.moe === null)
      return { dense: attention + 3 * hiddenSize * intermediateSize, expert: 0, expertsPerToken: 0 };
    const { numExperts, topK, intermediateSize: inner } = layer.moe;
    const expert = 3 * hiddenSize * inner;
    return { dense: attention + hiddenSize * numExperts, expert, expertsPerToken: topK * expert };
  }
}

/** How many different experts so many tokens meet, if the router chooses evenly. */
function expectedExperts({ moe }: LayerSpec, tokens: number): number {
  return moe === null ? 0 : moe.numExperts * (1 - (1 - moe.topK / moe.numExperts) ** tokens);
}

/** Query-key pairs: token t of the sequence sees t + 1 tokens, or the window's. */
function visiblePairs({ tokens, length }: StepPart, window: number): number {
  const upTo = (last: number): number => {
    if (window === 0 || last <= window) return (last * (last + 1)) / 2;
    return (window * (window + 1)) / 2 + (last - window) * window;
  };
  return upTo(length) - upTo(length - tokens);
}

/** Cached tokens that are read: all that any of the step's tokens sees. */
function visibleTokens({ tokens, length }: StepPart, window: number): number {
  return window === 0 ? length : Math.min(length, window + tokens - 1);
}
