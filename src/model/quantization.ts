// Which matrices of a model are held in float8 (e4m3), and whether the checkpoint has them so: what --quantization and
// config.json's quantization_config say, as SGLang reads them. The linear layers of attention and MLP are quantized, but for
// those that the checkpoint leaves out; embeddings, norms and lm_head never are.
import type { Float8Linear, ModelSpec } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import { describeJson } from '../util/read-json.js';
import type { HfConfig } from './hf-config.js';

interface Scheme {
  /** Weights are stored as float8 with their scales; else they are quantized when they are loaded. */
  readonly stored: boolean;
  /** Whether the checkpoint leaves a module, `model.layers.0.self_attn.q_proj`, as it is. */
  readonly ignores: (module: string) => boolean;
}

export interface Quantization extends Scheme {
  /** What --quantization says, else the checkpoint's quant_method. */
  readonly method: string;
}

/** The modules, below `model.layers.N.`, that are stacked into each native matrix. */
const MODULES: Readonly<Record<Float8Linear, readonly string[]>> = {
  qkv_proj: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
  o_proj: ['self_attn.o_proj'],
  gate_up_proj: ['mlp.gate_proj', 'mlp.up_proj'],
  down_proj: ['mlp.down_proj'],
};

/** Values of --quantization that go with a checkpoint of each quant_method, beside the method's own name. */
const COMPATIBLE: Readonly<Record<string, readonly string[]>> = { 'compressed-tensors': ['w8a8_fp8'] };

/** Errors: MODEL_UNSUPPORTED, MODEL_INVALID; INVALID_OPTION where the option contradicts the checkpoint. */
export function readQuantization(config: HfConfig, option: string | undefined): Quantization | null {
  // compressed-tensors has had a key of its own.
  const key = ['quantization_config', 'compression_config'].find((name) => config.has(name));
  if (key === undefined) return ofOption(config, option);
  const settings = config.object(key);
  const method = settings.string('quant_method').toLowerCase().replace('_tensors', '-tensors');
  const scheme = ofCheckpoint(settings, method);
  if (option !== undefined && option !== method && !COMPATIBLE[method]?.includes(option)) {
    throw new VitrineError(
      'INVALID_OPTION',
      `--quantization ${option} does not go with this checkpoint: ${config.source} says that it is quantized by ${method}. ` +
        'Leave the option out.',
      { param: '--quantization' },
    );
  }
  return { method: option ?? method, ...scheme };
}

function ofOption(config: HfConfig, option: string | undefined): Quantization | null {
  if (option === undefined) return null;
  if (option === 'compressed-tensors') {
    throw new VitrineError(
      'INVALID_OPTION',
      `--quantization compressed-tensors is for checkpoints that are quantized so, and ${config.source} has no ` +
        'quantization_config. To quantize the weights as they are loaded, choose fp8 or w8a8_fp8.',
      { param: '--quantization' },
    );
  }
  return { method: option, stored: false, ignores: () => false };
}

function ofCheckpoint(settings: HfConfig, method: string): Scheme {
  switch (method) {
    case 'fp8':
      return readFp8(settings);
    case 'w8a8_fp8':
      return { stored: true, ignores: () => false };
    case 'compressed-tensors':
      return readCompressedTensors(settings);
    default:
      throw unsupported(
        settings,
        'quant_method',
        `the checkpoint is quantized (${method}); supported are fp8, w8a8_fp8 and compressed-tensors of 8-bit floats, ` +
          'and weights that are not quantized',
      );
  }
}

function readFp8(settings: HfConfig): Scheme {
  expectOneOf(settings, 'activation_scheme', ['dynamic', 'static']);
  if (settings.has('weight_block_size')) {
    throw unsupported(
      settings,
      'weight_block_size',
      'weights with a scale for each block are not supported; supported are scales for whole tensors or rows',
    );
  }
  const key = ['ignored_layers', 'modules_to_not_convert'].find((name) => settings.has(name));
  // Names match whole parts between dots, wherever they are: `self_attn` and `layers.0` are all that is in them.
  const ignored = (key === undefined ? [] : settings.strings(key)).map((name) => `.${name.replace(/\.+$/, '')}.`);
  return { stored: true, ignores: (module) => ignored.some((name) => `.${module}.`.includes(name)) };
}

function readCompressedTensors(settings: HfConfig): Scheme {
  if (settings.has('transform_config') && Object.keys(settings.object('transform_config').values).length > 0) {
    throw unsupported(settings, 'transform_config', 'transforms of weights or activations are not supported');
  }
  if (settings.has('format')) expectOneOf(settings, 'format', ['float-quantized', 'naive-quantized']);
  const groups = settings.object('config_groups');
  const names = Object.keys(groups.values);
  if (names.length !== 1) {
    throw unsupported(settings, 'config_groups', `one group of layers is supported, got ${names.length}`);
  }
  const group = groups.object(names[0]!);
  if (group.strings('targets').join() !== 'Linear') {
    throw unsupported(
      group,
      'targets',
      `only ["Linear"] is supported, got ${describeJson(group.values.targets)} of ${group.strings('targets').join(', ')}`,
    );
  }
  const weights = group.object('weights');
  expectFloat8(weights);
  expectOneOf(weights, 'strategy', ['channel', 'tensor']);
  if (!group.has('input_activations')) {
    throw unsupported(group, 'input_activations', 'activations that are not quantized are not supported');
  }
  if (group.has('output_activations')) {
    throw unsupported(group, 'output_activations', 'outputs that are quantized are not supported');
  }
  expectFloat8(group.object('input_activations'));
  expectOneOf(group.object('input_activations'), 'strategy', ['token', 'tensor']);
  const patterns = settings.has('ignore')
    ? settings.strings('ignore').map((text) => ignorePattern(settings, text))
    : [];
  return { stored: true, ignores: (module) => patterns.some((matches) => matches(module)) };
}

function expectFloat8(scheme: HfConfig): void {
  const bits = scheme.integer('num_bits');
  const type = scheme.string('type');
  if (bits === 8 && type === 'float') return;
  throw unsupported(scheme, 'num_bits', `only 8-bit floats are supported, got ${bits} bits of type ${type}`);
}

/** A module's name, or `re:` and a regular expression that its beginning must match. */
function ignorePattern(settings: HfConfig, text: string): (module: string) => boolean {
  if (!text.startsWith('re:')) return (module) => module === text;
  try {
    const expression = new RegExp(`^(?:${text.slice(3)})`);
    return (module) => expression.test(module);
  } catch {
    throw settings.invalid('ignore', `names or regular expressions (not ${text})`);
  }
}

function expectOneOf(settings: HfConfig, key: string, supported: readonly string[]): void {
  const value = settings.string(key);
  if (supported.includes(value)) return;
  throw unsupported(settings, key, `"${value}" is not supported; supported are ${supported.join(' and ')}`);
}

function unsupported({ source }: HfConfig, key: string, problem: string): VitrineError {
  return new VitrineError('MODEL_UNSUPPORTED', `${source}: ${key}: ${problem}.`, { param: key });
}

/** The spec with its float8 matrices named. Throws MODEL_UNSUPPORTED for experts and for parts that differ. */
export function withFloat8(spec: ModelSpec, quantization: Quantization | null, source: string): ModelSpec {
  if (quantization === null) return spec;
  if (spec.layers.some(({ moe }) => moe !== null)) {
    const problem = `${source}: float8 weights are not supported for mixtures of experts.`;
    throw quantization.stored
      ? new VitrineError('MODEL_UNSUPPORTED', `${problem} Choose a checkpoint that is not quantized.`, {
          param: 'quantization_config',
        })
      : new VitrineError('MODEL_UNSUPPORTED', `${problem} Leave out --quantization.`, { param: '--quantization' });
  }
  const layers = spec.layers.map((layer, index) => {
    const float8 = (Object.keys(MODULES) as Float8Linear[]).filter((linear) => {
      const modules = MODULES[linear].map((module) => `model.layers.${index}.${module}`);
      const ignored = modules.filter(quantization.ignores);
      if (ignored.length > 0 && ignored.length < modules.length) {
        throw new VitrineError(
          'MODEL_UNSUPPORTED',
          `${source}: quantization_config leaves out ${ignored.join(', ')}, but not all of ${modules.join(', ')}, ` +
            'which are held as one matrix.',
          { param: 'quantization_config' },
        );
      }
      return ignored.length === 0;
    });
    return { ...layer, float8 };
  });
  return { ...spec, layers };
}
