// Which checkpoint tensors make up each native parameter (ParameterPlan in native/addon.ts), with their shapes.
import type { ModelSpec, MoeSpec } from '../native/addon.js';
import type { Architecture } from './architecture.js';

export interface TensorSource {
  /** Name in the checkpoint. */
  readonly source: string;
  /** [rows, cols] of a matrix, [rows] of a vector. */
  readonly shape: readonly number[];
}

export interface ParameterSource {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** Stacked along rows in this order. */
  readonly pieces: readonly TensorSource[];
}

/** Every parameter of the model, in the order of the forward pass. */
export function parameterTable(spec: ModelSpec, architecture: Architecture): ParameterSource[] {
  const { hiddenSize: hidden, vocabSize: vocab } = spec;
  const table = [matrix('embed_tokens', hidden, [['model.embed_tokens.weight', vocab]])];
  for (const [index, layer] of spec.layers.entries()) {
    const checkpoint = `model.layers.${index}`;
    const native = `layers.${index}`;
    table.push(
      vector(`${native}.input_norm`, [[`${checkpoint}.input_layernorm.weight`, hidden]]),
      ...attentionTable(spec, native, `${checkpoint}.self_attn`),
      vector(`${native}.post_attention_norm`, [[`${checkpoint}.post_attention_layernorm.weight`, hidden]]),
      ...(layer.moe === null
        ? denseTable(spec, native, `${checkpoint}.mlp`)
        : expertTable(spec, layer.moe, native, checkpoint, architecture)),
    );
  }
  table.push(vector('norm', [['model.norm.weight', hidden]]));
  if (!spec.tieWordEmbeddings) table.push(matrix('lm_head', hidden, [['lm_head.weight', vocab]]));
  return table;
}

type Piece = readonly [source: string, rows: number];

function matrix(name: string, cols: number, pieces: readonly Piece[]): ParameterSource {
  const rows = pieces.reduce((sum, [, count]) => sum + count, 0);
  return { name, rows, cols, pieces: pieces.map(([source, count]) => ({ source, shape: [count, cols] })) };
}

function vector(name: string, pieces: readonly Piece[]): ParameterSource {
  const rows = pieces.reduce((sum, [, count]) => sum + count, 0);
  return { name, rows, cols: 1, pieces: pieces.map(([source, count]) => ({ source, shape: [count] })) };
}

function attentionTable(spec: ModelSpec, native: string, checkpoint: string): ParameterSource[] {
  const { hiddenSize: hidden, headDim } = spec;
  const query = spec.numHeads * headDim;
  const keyValue = spec.numKvHeads * headDim;
  const qkv = (suffix: string): Piece[] => [
    [`${checkpoint}.q_proj.${suffix}`, query],
    [`${checkpoint}.k_proj.${suffix}`, keyValue],
    [`${checkpoint}.v_proj.${suffix}`, keyValue],
  ];
  const table = [matrix(`${native}.qkv_proj`, hidden, qkv('weight'))];
  if (spec.qkvBias) table.push(vector(`${native}.qkv_bias`, qkv('bias')));
  if (spec.qkNorm) {
    table.push(vector(`${native}.q_norm`, [[`${checkpoint}.q_norm.weight`, headDim]]));
    table.push(vector(`${native}.k_norm`, [[`${checkpoint}.k_norm.weight`, headDim]]));
  }
  table.push(matrix(`${native}.o_proj`, query, [[`${checkpoint}.o_proj.weight`, hidden]]));
  if (spec.outputBias) table.push(vector(`${native}.o_bias`, [[`${checkpoint}.o_proj.bias`, hidden]]));
  return table;
}

function denseTable(spec: ModelSpec, native: string, checkpoint: string): ParameterSource[] {
  const { hiddenSize: hidden, intermediateSize: inner } = spec;
  const gateUp = (suffix: string): Piece[] => [
    [`${checkpoint}.gate_proj.${suffix}`, inner],
    [`${checkpoint}.up_proj.${suffix}`, inner],
  ];
  const table = [
    matrix(`${native}.gate_up_proj`, hidden, gateUp('weight')),
    matrix(`${native}.down_proj`, inner, [[`${checkpoint}.down_proj.weight`, hidden]]),
  ];
  if (spec.mlpBias) {
    table.push(vector(`${native}.gate_up_bias`, gateUp('bias')));
    table.push(vector(`${native}.down_bias`, [[`${checkpoint}.down_proj.bias`, hidden]]));
  }
  return table;
}

function expertTable(
  spec: ModelSpec,
  moe: MoeSpec,
  native: string,
  checkpoint: string,
  architecture: Architecture,
): ParameterSource[] {
  const { hiddenSize: hidden } = spec;
  const inner = moe.intermediateSize;
  const names = architecture.moe!.names;
  const table = [matrix(`${native}.router`, hidden, [[`${checkpoint}.${names.router}`, moe.numExperts]])];
  for (let expert = 0; expert < moe.numExperts; expert++) {
    const named = (name: string) => `${checkpoint}.${name.replace('{}', String(expert))}`;
    table.push(
      matrix(`${native}.experts.${expert}.gate_up_proj`, hidden, [
        [named(names.gate), inner],
        [named(names.up), inner],
      ]),
      matrix(`${native}.experts.${expert}.down_proj`, inner, [[named(names.down), hidden]]),
    );
  }
  return table;
}
