// config.json + architecture → ModelSpec: the sizes and switches the native decoder loop runs by.
import type { DType, KvCacheSpec, LayerSpec, ModelSpec, MoeSpec } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import type { Architecture, BiasRule, MoeRule } from './architecture.js';
import type { HfConfig } from './hf-config.js';
import { buildRope, type RopeParameters } from './rope.js';

const ACTIVATIONS: Readonly<Record<string, ModelSpec['activation']>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
};

/** Checked sizes of the attention heads; rope needs them before the spec is complete. */
export interface HeadSizes {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
}

export function readHeadSizes(config: HfConfig, architecture: Architecture): HeadSizes {
  const numHeads = config.integer('num_attention_heads', { min: 1 });
  const numKvHeads = config.has('num_key_value_heads') ? config.integer('num_key_value_heads', { min: 1 }) : numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw config.invalid('num_key_value_heads', `a divisor of num_attention_heads (${numHeads})`);
  }
  if (config.has('head_dim')) return { numHeads, numKvHeads, headDim: config.integer('head_dim', { min: 1 }) };
  const hidden = config.integer('hidden_size', { min: 1 });
  const headDim = architecture.defaults.headDim ?? hidden / numHeads;
  if (!Number.isInteger(headDim)) {
    throw config.invalid('hidden_size', `a multiple of num_attention_heads (${numHeads}) where there is no head_dim`);
  }
  return { numHeads, numKvHeads, headDim };
}

export function buildModelSpec(
  config: HfConfig,
  architecture: Architecture,
  heads: HeadSizes,
  rope: RopeParameters,
  dtype: DType,
  kvCache: KvCacheSpec,
): ModelSpec {
  const layers = readLayers(config, architecture);
  const allSparse = layers.every((layer) => layer.moe !== null);
  return {
    vocabSize: config.integer('vocab_size', { min: 1 }),
    hiddenSize: config.integer('hidden_size', { min: 1 }),
    intermediateSize:
      allSparse && !config.has('intermediate_size')
        ? layers[0]!.moe!.intermediateSize
        : config.integer('intermediate_size', { min: 1 }),
    ...heads,
    rmsNormEps: config.has('rms_norm_eps')
      ? config.number('rms_norm_eps', { min: 0 })
      : architecture.defaults.rmsNormEps,
    attentionScale: heads.headDim ** -0.5,
    qkvBias: bias(config, architecture.qkvBias),
    outputBias: bias(config, architecture.outputBias),
    mlpBias: bias(config, architecture.mlpBias),
    qkNorm: architecture.qkNorm,
    activation: readActivation(config),
    tieWordEmbeddings: flag(config, 'tie_word_embeddings'),
    rope: buildRope(rope),
    layers,
    dtype,
    kvCache,
  };
}

function flag(config: HfConfig, key: string): boolean {
  return config.has(key) ? config.boolean(key) : false;
}

function bias(config: HfConfig, rule: BiasRule): boolean {
  return typeof rule === 'boolean' ? rule : flag(config, rule);
}

function readActivation(config: HfConfig): ModelSpec['activation'] {
  if (!config.has('hidden_act')) return 'silu';
  const name = config.string('hidden_act');
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation !== undefined) return activation;
  throw new VitrineError(
    'MODEL_UNSUPPORTED',
    `${config.source}: hidden_act "${name}" is not supported; supported are ${Object.keys(ACTIVATIONS).join(', ')}.`,
    { param: 'hidden_act' },
  );
}

function readLayers(config: HfConfig, architecture: Architecture): LayerSpec[] {
  const count = config.integer('num_hidden_layers', { min: 1 });
  const windows = readWindows(config, architecture, count);
  const experts = readExperts(config, architecture.moe, count);
  return windows.map((slidingWindow, i) => ({ slidingWindow, moe: experts[i]! }));
}

/** Window per layer; 0: none. */
function readWindows(config: HfConfig, { window: rule, defaults }: Architecture, count: number): number[] {
  const window = readWindow(config, rule, defaults.slidingWindow);
  if (window === 0) return Array<number>(count).fill(0);
  if (config.has('layer_types')) {
    const types = config.strings('layer_types');
    const known = types.every((type) => type === 'full_attention' || type === 'sliding_attention');
    if (types.length !== count || !known) {
      throw config.invalid(
        'layer_types',
        `${count} words (num_hidden_layers), each full_attention or sliding_attention`,
      );
    }
    return types.map((type) => (type === 'sliding_attention' ? window : 0));
  }
  if (rule !== 'switched') return Array<number>(count).fill(window);
  const first = config.has('max_window_layers') ? config.integer('max_window_layers', { min: 0 }) : 28;
  return Array.from({ length: count }, (_, i) => (i >= first ? window : 0));
}

function readWindow(config: HfConfig, rule: Architecture['window'], whenSilent: number | undefined): number {
  if (rule === 'none') return 0;
  if (rule !== 'all' && !flag(config, 'use_sliding_window')) return 0;
  if (config.has('sliding_window')) return config.integer('sliding_window', { min: 1 });
  // An explicit null turns the window off; only a config without the key gets transformers' default.
  return config.values.sliding_window === null ? 0 : (whenSilent ?? 0);
}

function readExperts(config: HfConfig, rule: MoeRule | null, count: number): (MoeSpec | null)[] {
  if (rule === null) return Array<null>(count).fill(null);
  const expertsKey = rule.numExpertsKeys.find((key) => config.has(key)) ?? rule.numExpertsKeys[0]!;
  const numExperts = config.integer(expertsKey, { min: 1 });
  const moe: MoeSpec = {
    numExperts,
    topK: config.integer('num_experts_per_tok', { min: 1, max: numExperts }),
    module: rule.module,
    normTopkProb: rule.normTopkProb === true || flag(config, rule.normTopkProb),
    intermediateSize: config.integer(rule.intermediateSizeKey, { min: 1 }),
  };
  if (rule.sparseLayers === 'all') return Array<MoeSpec>(count).fill(moe);
  const step = config.has('decoder_sparse_step') ? config.integer('decoder_sparse_step', { min: 1 }) : 1;
  const dense = new Set(config.has('mlp_only_layers') ? config.integers('mlp_only_layers', { min: 0 }) : []);
  return Array.from({ length: count }, (_, i) => (!dense.has(i) && (i + 1) % step === 0 ? moe : null));
}
