// What distinguishes one decoder-only architecture from another, as data: which config keys, which biases, which tensor
// names. Everything else is common to all and lives in model-spec.ts and parameter-table.ts.

/** A bias that is always there, never there, or there when this key of config.json is true. */
export type BiasRule = boolean | 'attention_bias' | 'mlp_bias';

/**
 * Which layers look back only `sliding_window` tokens.
 * none: no layer, whatever the config says. all: every layer, if sliding_window is set.
 * switched-all: every layer, if use_sliding_window is true.
 * switched: the layers from max_window_layers on, if use_sliding_window is true. `layer_types` wins over both last words.
 */
export type WindowRule = 'none' | 'all' | 'switched-all' | 'switched';

export interface MoeRule {
  /** Keys of config.json, first found counts. */
  readonly numExpertsKeys: readonly string[];
  readonly intermediateSizeKey: string;
  /** Always normalised, or by the key norm_topk_prob (default false). */
  readonly normTopkProb: true | 'norm_topk_prob';
  /** all: every layer; stepped: by decoder_sparse_step and mlp_only_layers. */
  readonly sparseLayers: 'all' | 'stepped';
  /** The block's name below `model.layers.N.`. */
  readonly module: string;
  /** Tensor names below `model.layers.N.`; `{}` is the expert's number. */
  readonly names: { readonly router: string; readonly gate: string; readonly up: string; readonly down: string };
}

export interface Architecture {
  /** As in config.json's `architectures`. */
  readonly name: string;
  /** As in config.json's `model_type`. */
  readonly modelType: string;
  readonly qkvBias: BiasRule;
  readonly outputBias: BiasRule;
  readonly mlpBias: BiasRule;
  readonly qkNorm: boolean;
  readonly window: WindowRule;
  readonly moe: MoeRule | null;
  /** What transformers assumes where config.json is silent. headDim undefined: hidden_size / num_attention_heads. */
  readonly defaults: {
    readonly rmsNormEps: number;
    readonly ropeTheta: number;
    readonly headDim?: number;
    readonly slidingWindow?: number;
  };
}
