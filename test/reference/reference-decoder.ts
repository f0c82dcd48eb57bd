// A decoder-only transformer in float64, written to be read, not to be fast: the second step of the correctness ladder,
// between the outputs of transformers and the native backends. It runs every ModelSpec from its load plan.
import { heldDType } from '#vitrine/model/held-dtype.js';
import type { PreparedModel } from '#vitrine/model/prepare-model.js';
import type { LayerSpec, ModelSpec, MoeSpec, RopeSpec } from '#vitrine/native/addon.js';
import { dequantizedRow, roundToFloat8 } from './float8.js';
import { readWeights, type Weights } from './reference-weights.js';

/**
 * Logits [vocabSize] after each token of `ids`, with the weights as stored (spec.dtype plays no part), or as float8 where the
 * spec says so; then the inputs of their products are quantized as well. Keys and values are as they are, but for those that
 * spec.kvCache has in float8.
 */
export async function referenceLogits(prepared: PreparedModel, ids: readonly number[]): Promise<Float64Array[]> {
  return (await ReferenceDecoder.load(prepared)).extend(ids);
}

/** Keeps K and V of what it has seen; `extend` continues the sequence, `reset` starts another. */
export class ReferenceDecoder {
  readonly #spec: ModelSpec;
  readonly #weights: Weights;
  /** Per layer, per position: [numKvHeads * headDim]. */
  #keys: Float64Array[][] = [];
  #values: Float64Array[][] = [];

  private constructor(spec: ModelSpec, weights: Weights) {
    this.#spec = spec;
    this.#weights = weights;
    this.reset();
  }

  static async load({ spec, loadPlan }: Pick<PreparedModel, 'spec' | 'loadPlan'>): Promise<ReferenceDecoder> {
    return new ReferenceDecoder(spec, await readWeights(loadPlan, (name) => isFloat8(spec, name)));
  }

  /** The same weights under another spec. */
  withSpec(spec: ModelSpec): ReferenceDecoder {
    return new ReferenceDecoder(spec, this.#weights);
  }

  reset(): void {
    this.#keys = this.#spec.layers.map(() => []);
    this.#values = this.#spec.layers.map(() => []);
  }

  /** Logits after each of the new tokens. */
  extend(ids: readonly number[]): Float64Array[] {
    return ids.map((id) => this.#forward(id));
  }

  #forward(id: number): Float64Array {
    const { hiddenSize, tieWordEmbeddings, rmsNormEps } = this.#spec;
    let hidden: Float64Array = this.#weight('embed_tokens').slice(id * hiddenSize, (id + 1) * hiddenSize);
    for (const [index, layer] of this.#spec.layers.entries()) {
      const name = (part: string) => `layers.${index}.${part}`;
      const normed = rmsNorm(hidden, this.#weight(name('input_norm')), rmsNormEps);
      hidden = add(hidden, this.#attention(normed, index, layer));
      const normedAgain = rmsNorm(hidden, this.#weight(name('post_attention_norm')), rmsNormEps);
      const mlp = layer.moe === null ? this.#mlp(normedAgain, name('')) : this.#moe(normedAgain, name(''), layer.moe);
      hidden = add(hidden, mlp);
    }
    const last = rmsNorm(hidden, this.#weight('norm'), rmsNormEps);
    return matVec(this.#weight(tieWordEmbeddings ? 'embed_tokens' : 'lm_head'), last);
  }

  #attention(x: Float64Array, index: number, { slidingWindow }: LayerSpec): Float64Array {
    const { numHeads, numKvHeads, headDim, qkNorm, rmsNormEps, rope, attentionScale, kvCache } = this.#spec;
    const name = (part: string) => `layers.${index}.${part}`;
    const qkv = this.#linear(name('qkv_proj'), name('qkv_bias'), x);
    const keys = this.#keys[index]!;
    const values = this.#values[index]!;
    const position = keys.length;
    const head = (h: number) => qkv.subarray(h * headDim, (h + 1) * headDim);
    for (let h = 0; h < numHeads + numKvHeads; h++) {
      const norm = name(h < numHeads ? 'q_norm' : 'k_norm');
      if (qkNorm) head(h).set(rmsNorm(head(h), this.#weight(norm), rmsNormEps));
      rotate(head(h), position, rope);
    }
    const { k, v } = kvCache.scales[index] ?? { k: 1, v: 1 };
    const cached = (numbers: Float64Array, scale: number) =>
      kvCache.dtype === 'float8_e4m3fn' ? numbers.map((number) => roundToFloat8(number / scale) * scale) : numbers;
    keys.push(cached(qkv.slice(numHeads * headDim, (numHeads + numKvHeads) * headDim), k));
    values.push(cached(qkv.slice((numHeads + numKvHeads) * headDim), v));

    const first = slidingWindow > 0 ? Math.max(0, position - slidingWindow + 1) : 0;
    const output = new Float64Array(numHeads * headDim);
    for (let h = 0; h < numHeads; h++) {
      const at = Math.floor(h / (numHeads / numKvHeads)) * headDim;
      const seen = keys.slice(first);
      const scores = seen.map((key) => attentionScale * dot(head(h), key.subarray(at, at + headDim)));
      for (const [i, probability] of softmax(scores).entries()) {
        const value = values[first + i]!;
        for (let d = 0; d < headDim; d++) output[h * headDim + d]! += probability * value[at + d]!;
      }
    }
    return this.#linear(name('o_proj'), name('o_bias'), output);
  }

  /** down(activation(gate(x)) * up(x)); `prefix` is the layer's or the expert's name with a dot. */
  #mlp(x: Float64Array, prefix: string): Float64Array {
    const gateUp = this.#linear(`${prefix}gate_up_proj`, `${prefix}gate_up_bias`, x);
    const size = gateUp.length / 2;
    const activate = ACTIVATIONS[this.#spec.activation];
    const inner = gateUp.slice(0, size).map((gate, i) => activate(gate) * gateUp[size + i]!);
    return this.#linear(`${prefix}down_proj`, `${prefix}down_bias`, inner);
  }

  #moe(x: Float64Array, prefix: string, { topK, normTopkProb }: MoeSpec): Float64Array {
    const probabilities = softmax([...matVec(this.#weight(`${prefix}router`), x)]);
    const chosen = [...probabilities.entries()].sort(([i, a], [j, b]) => b - a || i - j).slice(0, topK);
    const total = normTopkProb ? chosen.reduce((sum, [, probability]) => sum + probability, 0) : 1;
    const output = new Float64Array(x.length);
    for (const [expert, probability] of chosen) {
      const part = this.#mlp(x, `${prefix}experts.${expert}.`);
      for (let i = 0; i < output.length; i++) output[i]! += (probability / total) * part[i]!;
    }
    return output;
  }

  #linear(weight: string, bias: string, x: Float64Array): Float64Array {
    const product = matVec(this.#weight(weight), isFloat8(this.#spec, weight) ? dequantizedRow(x) : x);
    const added = this.#weights.get(bias);
    return added === undefined ? product : add(product, added);
  }

  #weight(name: string): Float64Array {
    const weight = this.#weights.get(name);
    if (weight === undefined) throw new Error(`the load plan has no parameter ${name}`);
    return weight;
  }
}

function isFloat8(spec: ModelSpec, parameter: string): boolean {
  return heldDType(spec, parameter) === 'float8_e4m3fn';
}

/** log softmax of one row of logits. */
export function logSoftmax(logits: Float64Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const logSum = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
  return logits.map((logit) => logit - max - logSum);
}

const ACTIVATIONS: Record<ModelSpec['activation'], (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

/** Maclaurin series near 0, continued fraction of erfc further out; about 1e-14. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * (z + fraction)));
}

function rotate(head: Float64Array, position: number, rope: RopeSpec): void {
  const half = rope.rotaryDim / 2;
  const frequencies = frequenciesAt(position, rope);
  for (let i = 0; i < half; i++) {
    const cos = Math.cos(position * frequencies[i]!) * rope.attentionFactor;
    const sin = Math.sin(position * frequencies[i]!) * rope.attentionFactor;
    const [a, b] = [head[i]!, head[i + half]!];
    head[i] = a * cos - b * sin;
    head[i + half] = b * cos + a * sin;
  }
}

function frequenciesAt(position: number, { rotaryDim, invFreq, dynamicNtk }: RopeSpec): readonly number[] {
  if (dynamicNtk === null || position < dynamicNtk.originalMaxPositions) return invFreq;
  const { theta, factor, originalMaxPositions } = dynamicNtk;
  const stretch = (factor * (position + 1)) / originalMaxPositions - (factor - 1);
  const base = theta * stretch ** (rotaryDim / (rotaryDim - 2));
  return invFreq.map((_, i) => base ** ((-2 * i) / rotaryDim));
}

function rmsNorm(x: Float64Array, weight: Float64Array, epsilon: number): Float64Array {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + epsilon);
  return x.map((value, i) => value * scale * weight[i]!);
}

function matVec(matrix: Float64Array, x: Float64Array): Float64Array {
  const result = new Float64Array(matrix.length / x.length);
  for (let row = 0; row < result.length; row++) {
    let sum = 0;
    for (let i = 0, at = row * x.length; i < x.length; i++, at++) sum += matrix[at]! * x[i]!;
    result[row] = sum;
  }
  return result;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i]!);
}

function softmax(scores: readonly number[]): number[] {
  const max = Math.max(...scores);
  const exponentials = scores.map((score) => Math.exp(score - max));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
}
