// A model's config.json with overrides applied: typed access to its keys, with errors that name file, key, what was
// expected and what came. A key that is null counts as absent, as in transformers.
import { join } from 'node:path';
import { VitrineError } from '../util/errors.js';
import { describeJson, isJsonObject, type JsonObject, readJsonObject } from '../util/read-json.js';

interface NumberRange {
  readonly min?: number;
  readonly max?: number;
}

export class HfConfig {
  /** `values`: the keys; `source`: what to call them in messages, e.g. the path of config.json. */
  constructor(
    readonly values: JsonObject,
    readonly source: string,
  ) {}

  /** Reads `directory`/config.json and merges `overrides` over it, key by key (one level deep). */
  static async read(directory: string, overrides: JsonObject = {}): Promise<HfConfig> {
    const path = join(directory, 'config.json');
    return new HfConfig(applyOverrides(await readJsonObject(path, 'MODEL_INVALID'), overrides), path);
  }

  has(key: string): boolean {
    return this.values[key] !== undefined && this.values[key] !== null;
  }

  integer(key: string, range: NumberRange = {}): number {
    const value = this.values[key];
    const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = range;
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      throw this.invalid(key, `an integer${rangeText(range)}`);
    }
    return value as number;
  }

  number(key: string, range: NumberRange = {}): number {
    const value = this.values[key];
    const { min = -Infinity, max = Infinity } = range;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > max) {
      throw this.invalid(key, `a number${rangeText(range)}`);
    }
    return value;
  }

  /** A number greater than zero. */
  positive(key: string): number {
    const value = this.values[key];
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) {
      throw this.invalid(key, 'a number greater than 0');
    }
    return value;
  }

  boolean(key: string): boolean {
    const value = this.values[key];
    if (typeof value !== 'boolean') throw this.invalid(key, 'true or false');
    return value;
  }

  string(key: string): string {
    const value = this.values[key];
    if (typeof value !== 'string') throw this.invalid(key, 'a string');
    return value;
  }

  /** A nested object, read with the same checks; its messages say `key.inner`. */
  object(key: string): HfConfig {
    const value = this.values[key];
    if (!isJsonObject(value)) throw this.invalid(key, 'an object');
    return new HfConfig(value, `${this.source}: ${key}`);
  }

  strings(key: string): readonly string[] {
    const value = this.values[key];
    if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
      throw this.invalid(key, 'an array of strings');
    }
    return value as string[];
  }

  /** An integer or an array of integers, as an array. */
  integers(key: string, range: NumberRange = {}): readonly number[] {
    const value = this.values[key];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = range;
    if (list.some((item) => !Number.isSafeInteger(item) || (item as number) < min || (item as number) > max)) {
      throw this.invalid(key, `an integer${rangeText(range)} or an array of them`);
    }
    return list as number[];
  }

  invalid(key: string, expected: string): VitrineError {
    const message = `${this.source}: "${key}" must be ${expected}, got ${describeJson(this.values[key])}.`;
    return new VitrineError('MODEL_INVALID', message, { param: key });
  }
}

function rangeText({ min, max }: NumberRange): string {
  if (min !== undefined && max !== undefined) return ` between ${min} and ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? '' : ` of at most ${max}`;
}

/**
 * transformers 5 moved rope_theta, rope_scaling and torch_dtype to rope_parameters and dtype. An override by the
 * classic name must win over the file's new one too, or it would change nothing, silently.
 */
function applyOverrides(file: JsonObject, overrides: JsonObject): JsonObject {
  const values: Record<string, unknown> = { ...file, ...overrides };
  const overridden = (key: string) => Object.hasOwn(overrides, key);
  if (overridden('torch_dtype') && !overridden('dtype')) delete values.dtype;
  const rope = values.rope_parameters;
  if (isJsonObject(rope) && !overridden('rope_parameters')) {
    const { rope_theta: theta, ...rest } = rope;
    if (overridden('rope_theta')) values.rope_parameters = rest;
    if (overridden('rope_scaling')) {
      values.rope_parameters = null;
      if (!overridden('rope_theta') && theta !== undefined) values.rope_theta = theta;
    }
  }
  if (overridden('rope_parameters') && !overridden('rope_scaling')) delete values.rope_scaling;
  return values;
}
