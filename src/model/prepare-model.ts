// --model-path → everything an engine needs to know about a model before a byte of its weights is read.
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { checkGraphSizes } from '../config/check-graph-sizes.js';
import type { EngineOptions } from '../config/tables/engine-options.js';
import type { DType, LoadPlan, ModelSpec } from '../native/addon.js';
import { VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { type JsonObject, readJsonObjectIfPresent } from '../util/read-json.js';
import type { Architecture } from './architecture.js';
import { type Checkpoint, openCheckpoint } from './checkpoint.js';
import { HfConfig } from './hf-config.js';
import { resolveModelDirectory } from './hub.js';
import { readKvCacheSpec } from './kv-cache-spec.js';
import { buildDummyPlan, buildLoadPlan, storedDType } from './load-plan.js';
import { buildModelSpec, readHeadSizes } from './model-spec.js';
import { parameterTable } from './parameter-table.js';
import { type Quantization, readQuantization, withFloat8 } from './quantization.js';
import { findArchitecture } from './registry.js';
import { contextLengthOf, type RopeParameters, readRopeParameters } from './rope.js';
import { checkWeightCache, planWeightCache } from './weight-cache.js';

export interface PreparedModel {
  /** The folder that was read, absolute. */
  readonly directory: string;
  /** config.json with the overrides applied. */
  readonly config: Readonly<Record<string, unknown>>;
  /** e.g. `LlamaForCausalLM`. */
  readonly architecture: string;
  /** e.g. `llama`. */
  readonly modelType: string;
  readonly spec: ModelSpec;
  /** Of the weights: as --quantization says, else as the checkpoint does; null: none. */
  readonly quantization: string | null;
  readonly loadPlan: LoadPlan;
  /** Longest sequence in tokens: --context-length, else what the config says. */
  readonly contextLength: number;
  /** Tokens that end a generation: of generation_config.json, else of config.json; only ids inside the vocabulary. */
  readonly eosTokenIds: readonly number[];
  /** generation_config.json, or {} where there is none. */
  readonly generationDefaults: Readonly<Record<string, unknown>>;
}

const DTYPE_NAMES: Readonly<Record<string, DType>> = {
  float32: 'float32',
  float: 'float32',
  float16: 'float16',
  half: 'float16',
  bfloat16: 'bfloat16',
};

/** What config.json and the options say of a model, and its weight files where they were looked at. */
interface ModelDescription {
  readonly config: HfConfig;
  readonly generationConfig: HfConfig;
  readonly architecture: Architecture;
  readonly quantization: Quantization | null;
  readonly spec: ModelSpec;
  readonly contextLength: number;
  readonly checkpoint: Checkpoint | null;
}

/**
 * Finds (and, for a hub id, downloads) the model, checks config.json and all weight headers. What the model's config and
 * the options rule out is refused before weights are downloaded; what the device rules out is not known here.
 * Errors: MODEL_NOT_FOUND, MODEL_INVALID, MODEL_UNSUPPORTED, INVALID_OPTION.
 */
export async function prepareModel(options: EngineOptions, log?: Log): Promise<PreparedModel> {
  checkWeightCache(options);
  checkGraphSizes(options);
  const dummy = options.loadFormat === 'dummy';
  const directory = await resolveModelDirectory(options.modelPath, {
    revision: options.revision,
    what: dummy ? 'config' : 'model',
    beforeWeights: async (folder) => void (await describeModel(folder, options, async () => null)),
    ...(log === undefined ? {} : { log }),
  });
  const openWeights = async () => (dummy ? null : openCheckpoint(directory));
  const description = await describeModel(directory, options, openWeights);
  const { config, generationConfig, architecture, quantization, spec, contextLength, checkpoint } = description;
  const table = parameterTable(spec, architecture);
  const loadPlan =
    checkpoint === null
      ? buildDummyPlan(table, spec.dtype, options.randomSeed ?? randomInt(2 ** 31))
      : buildLoadPlan(table, checkpoint, spec, quantization?.stored ?? false);
  const { weightCacheDir } = options;
  return {
    directory,
    config: config.values,
    architecture: architecture.name,
    modelType: architecture.modelType,
    spec,
    quantization: quantization?.method ?? null,
    loadPlan:
      weightCacheDir === undefined
        ? loadPlan
        : { ...loadPlan, cache: await planWeightCache(weightCacheDir, loadPlan, spec) },
    contextLength,
    eosTokenIds: readEosTokenIds(
      Object.hasOwn(options.jsonModelOverrideArgs, 'eos_token_id') ? [config] : [generationConfig, config],
    ).filter((id) => id < spec.vocabSize),
    generationDefaults: generationConfig.values,
  };
}

/** `openWeights`: null where there are none, or none yet. */
async function describeModel(
  directory: string,
  options: EngineOptions,
  openWeights: () => Promise<Checkpoint | null>,
): Promise<ModelDescription> {
  const config = await HfConfig.read(directory, options.jsonModelOverrideArgs);
  const architecture = findArchitecture(config);
  const quantization = readQuantization(config, options.quantization);
  const heads = readHeadSizes(config, architecture);
  const rope = readRopeParameters(config, {
    headDim: heads.headDim,
    defaultTheta: architecture.defaults.ropeTheta,
  });
  const contextLength = chooseContextLength(options.contextLength, config, rope);
  const generationConfig = await readGenerationConfig(directory);
  const checkpoint = await openWeights();
  // Without weights, and of a config that names no dtype: bfloat16, the type of nearly all published checkpoints.
  const dtype = chooseDType(options.dtype, config, () => (checkpoint === null ? 'bfloat16' : storedDType(checkpoint)));
  const layers = config.integer('num_hidden_layers', { min: 1 });
  const kvCache = await readKvCacheSpec(options.kvCacheDtype, dtype, checkpoint, layers);
  const plainSpec = buildModelSpec(config, architecture, heads, rope, dtype, kvCache);
  const spec = withFloat8(plainSpec, quantization, config.source);
  return { config, generationConfig, architecture, quantization, spec, contextLength, checkpoint };
}

function chooseDType(option: string, config: HfConfig, whenSilent: () => DType): DType {
  if (option !== 'auto') return DTYPE_NAMES[option]!;
  const key = config.has('dtype') ? 'dtype' : 'torch_dtype';
  if (!config.has(key)) return whenSilent();
  const name = config.string(key).replace(/^torch\./, '');
  if (name === 'auto') return whenSilent();
  const dtype = Object.hasOwn(DTYPE_NAMES, name) ? DTYPE_NAMES[name] : undefined;
  if (dtype !== undefined) return dtype;
  throw new VitrineError(
    'MODEL_UNSUPPORTED',
    `${config.source}: ${key} "${name}" is not supported; set --dtype to float32, float16 or bfloat16.`,
    { param: key },
  );
}

function chooseContextLength(option: number | undefined, config: HfConfig, rope: RopeParameters): number {
  const { byDefault, allowed } = contextLengthOf(rope);
  if (option === undefined) return byDefault;
  if (option <= allowed) return option;
  throw new VitrineError(
    'INVALID_OPTION',
    `--context-length ${option} is longer than the ${allowed} tokens that ${config.source} allows; ` +
      'to go beyond, set max_position_embeddings or rope_scaling by --json-model-override-args.',
    { param: '--context-length' },
  );
}

async function readGenerationConfig(directory: string): Promise<HfConfig> {
  const path = join(directory, 'generation_config.json');
  const values: JsonObject = (await readJsonObjectIfPresent(path, 'MODEL_INVALID')) ?? {};
  return new HfConfig(values, path);
}

/** Of the first that has any. */
function readEosTokenIds(configs: readonly HfConfig[]): readonly number[] {
  const from = configs.find((config) => config.has('eos_token_id'));
  return from === undefined ? [] : [...new Set(from.integers('eos_token_id', { min: 0 }))];
}
