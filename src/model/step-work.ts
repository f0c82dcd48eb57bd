// What one forward step must read and compute at least, counted from the ModelSpec: the roofline of the step (Williams, Waterman
// and Patterson, 2009). Norms, activations and sampling are left out: together they are a small share of either.
import type { Float8Linear, LayerSpec, ModelSpec } from '../native/addon.js';
import { DTYPE_BYTES, matrixBytes } from './dtype-bytes.js';

export interface Work {
  /** Multiplications and additions. */
  readonly flops: number;
  /** Of these, with weights or a KV cache held in float8, which a processor may multiply at another rate than the model's dtype. */
  readonly float8Flops: number;
  /** Weights and KV cache that must come from memory, each once. */
  readonly bytes: number;
}

/** Layers of one kind. */
interface LayerKind {
  readonly layer: LayerSpec;
  readonly count: number;
  /** Elements of the matrices that every token meets, and what they take as they are held. */
  readonly dense: number;
  readonly denseBytes: number;
  /** Elements of those held in float8. */
  readonly float8: number;
  /** Elements of the matrices of one expert, and of all experts that a token meets. */
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
    let float8Flops = 0;
    let weights = logitRows > 0 ? head : 0;
    let bytes = 0;
    let keysAndValues = 0;
    for (const { layer, count: layers, dense, denseBytes, float8, expert, expertsPerToken } of this.#kinds) {
      let pairs = 0;
      let cached = 0;
      for (let i = 0; i < counts.length; i++) {
        pairs += visiblePairs(counts[i]!, lengths[i]!, layer.slidingWindow);
        cached += visibleTokens(counts[i]!, lengths[i]!, layer.slidingWindow);
      }
      const attention = 4 * numHeads * headDim * pairs;
      flops += layers * (2 * tokens * (dense + expertsPerToken) + attention);
      float8Flops += layers * (2 * tokens * float8 + (kvCache.dtype === 'float8_e4m3fn' ? attention : 0));
      weights += layers * expert * expectedExperts(layer, tokens);
      bytes += layers * denseBytes;
      keysAndValues += layers * 2 * numKvHeads * headDim * cached;
    }
    bytes += weights * DTYPE_BYTES[dtype] + keysAndValues * DTYPE_BYTES[kvCache.dtype];
    return { flops, float8Flops, bytes };
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
  return [...kinds.values()].map(([first, ...others]) => {
    const { moe } = first!;
    const matrices = denseMatrices(spec, first!);
    let [dense, denseBytes, float8] = [0, 0, 0];
    for (const { name, rows, cols } of matrices) {
      const isFloat8 = first!.float8?.includes(name as Float8Linear) ?? false;
      dense += rows * cols;
      denseBytes += matrixBytes(isFloat8 ? 'float8_e4m3fn' : spec.dtype, rows, cols);
      if (isFloat8) float8 += rows * cols;
    }
    const expert = moe === null ? 0 : 3 * spec.hiddenSize * moe.intermediateSize;
    const expertsPerToken = moe === null ? 0 : moe.topK * expert;
    return { layer: first!, count: others.length + 1, dense, denseBytes, float8, expert, expertsPerToken };
  });
}

/** Those of a layer that every token meets, by the names of ParameterPlan. */
function denseMatrices(spec: ModelSpec, { moe }: LayerSpec) {
  const { hiddenSize: hidden, numHeads, numKvHeads, headDim, intermediateSize: inner } = spec;
  const attention = [
    { name: 'qkv_proj', rows: (numHeads + 2 * numKvHeads) * headDim, cols: hidden },
    { name: 'o_proj', rows: hidden, cols: numHeads * headDim },
  ];
  if (moe !== null) return [...attention, { name: 'router', rows: moe.numExperts, cols: hidden }];
  return [
    ...attention,
    { name: 'gate_up_proj', rows: 2 * inner, cols: hidden },
    { name: 'down_proj', rows: hidden, cols: inner },
  ];
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
