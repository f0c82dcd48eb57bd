// Reads typed fields of a request body. Every mistake is an INVALID_REQUEST that names the field by its path, what was
// expected and what came.
import { VitrineError } from '../util/errors.js';
import { describeJson, isJsonObject, type JsonObject } from '../util/read-json.js';

/** A request whose JSON has the wrong shape (not merely a value out of range): HTTP APIs report it differently. */
export class RequestShapeError extends VitrineError {
  constructor(message: string, param?: string) {
    super('INVALID_REQUEST', message, param === undefined ? {} : { param });
    this.name = 'RequestShapeError';
  }
}

export interface NumberRange {
  readonly min?: number;
  readonly max?: number;
  /** `min` itself is not allowed. */
  readonly aboveMin?: boolean;
}

const NUMERIC = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const TRUE_WORDS = ['true', 't', 'yes', 'y', 'on', '1'];
const FALSE_WORDS = ['false', 'f', 'no', 'n', 'off', '0'];

/** In all methods a missing field and `null` are the same: `undefined` comes back. */
export class FieldReader {
  readonly #object: JsonObject;
  readonly #label: (key: string) => string;

  /** `label` says how a key is called in messages (its path). */
  constructor(object: JsonObject, label: (key: string) => string = (key) => key) {
    this.#object = object;
    this.#label = label;
  }

  /** The object in `body`, or a RequestShapeError. */
  static ofBody(body: unknown): FieldReader {
    if (isJsonObject(body)) return new FieldReader(body);
    throw new RequestShapeError(`The request body must be a JSON object, got ${describeJson(body)}.`);
  }

  get keys(): string[] {
    return Object.keys(this.#object);
  }

  label(key: string): string {
    return this.#label(key);
  }

  /** Own properties only, so that a key like `__proto__` or `constructor` is just a key. */
  raw(key: string): unknown {
    const value = Object.hasOwn(this.#object, key) ? this.#object[key] : undefined;
    return value === null ? undefined : value;
  }

  isNull(key: string): boolean {
    return Object.hasOwn(this.#object, key) && this.#object[key] === null;
  }

  boolean(key: string): boolean | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.shape(key, 'must be true or false', value);
  }

  string(key: string): string | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === 'string') return value;
    throw this.shape(key, 'must be a string', value);
  }

  number(key: string, range: NumberRange = {}): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number') throw this.shape(key, 'must be a number', value);
    return this.#inRange(key, value, range, 'a number');
  }

  integer(key: string, range: NumberRange = {}): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value)) throw this.shape(key, 'must be an integer', value);
    return this.#inRange(key, value, range, 'an integer');
  }

  /** As `integer`; text that is one number is taken for it. */
  coercedInteger(key: string, range: NumberRange = {}): number | undefined {
    return this.#coerced(key).integer(key, range);
  }

  /** As `number`; text that is one number is taken for it. */
  coercedNumber(key: string, range: NumberRange = {}): number | undefined {
    return this.#coerced(key).number(key, range);
  }

  /** As `boolean`; the words and numbers for true and false that Python services take are taken for them. */
  coercedBoolean(key: string): boolean | undefined {
    const value = this.raw(key);
    const word = typeof value === 'string' || typeof value === 'number' ? String(value).toLowerCase() : '';
    if (TRUE_WORDS.includes(word)) return true;
    return FALSE_WORDS.includes(word) ? false : this.boolean(key);
  }

  object(key: string): JsonObject | undefined {
    const value = this.raw(key);
    if (value === undefined || isJsonObject(value)) return value;
    throw this.shape(key, 'must be an object', value);
  }

  strings(key: string): readonly string[] | undefined {
    return this.#list(key, 'an array of strings', (value) => typeof value === 'string') as string[] | undefined;
  }

  integers(key: string): readonly number[] | undefined {
    return this.#list(key, 'an array of integers', Number.isInteger) as number[] | undefined;
  }

  /** A request for what this server does not do: anything but null, false, 0, '' and the listed harmless values. */
  refuse(key: string, harmless: readonly unknown[] = []): void {
    const value = this.raw(key);
    if (value === undefined || value === false || value === 0 || value === '') return;
    if (Array.isArray(value) && value.length === 0) return;
    if (harmless.includes(value)) return;
    throw this.invalid(key, `is not supported (got ${describeJson(value)})`);
  }

  shape(key: string, problem: string, value: unknown): RequestShapeError {
    const label = this.#label(key);
    return new RequestShapeError(`${label} ${problem}, got ${describeJson(value)}.`, label);
  }

  invalid(key: string, problem: string): VitrineError {
    const label = this.#label(key);
    return new VitrineError('INVALID_REQUEST', `${label} ${problem}.`, { param: label });
  }

  /** This object with a numeric text of `key` as its number. */
  #coerced(key: string): FieldReader {
    const value = this.raw(key);
    if (typeof value !== 'string' || !NUMERIC.test(value.trim())) return this;
    return new FieldReader({ [key]: Number(value) }, this.#label);
  }

  #inRange(key: string, value: number, { min, max, aboveMin = false }: NumberRange, what: string): number {
    const low = min === undefined || (aboveMin ? value > min : value >= min);
    if (low && (max === undefined || value <= max) && Number.isFinite(value)) return value;
    const bounds = [
      ...(min === undefined ? [] : [aboveMin ? `above ${min}` : `at least ${min}`]),
      ...(max === undefined ? [] : [`at most ${max}`]),
    ];
    const expected = bounds.length === 0 ? `finite` : bounds.join(' and ');
    throw this.invalid(key, `must be ${what}, ${expected}, got ${value}`);
  }

  #list(key: string, what: string, fits: (value: unknown) => boolean): unknown[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw this.shape(key, `must be ${what}`, value);
    const index = value.findIndex((element) => !fits(element));
    if (index < 0) return value;
    throw this.shape(`${key}[${index}]`, `is no element of ${what}`, value[index]);
  }
}
