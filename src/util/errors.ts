// Every error a user can meet: a stable code, a sentence, an HTTP status and, where one is to blame, the option or field.

export type ErrorCode =
  | 'INVALID_OPTION' // a command-line flag or configuration value
  | 'INVALID_REQUEST' // a field of a request
  | 'REQUEST_TOO_LONG' // prompt or prompt + new tokens exceed a limit
  | 'UNAUTHORIZED'
  | 'NOT_FOUND'
  | 'MODEL_NOT_FOUND'
  | 'MODEL_INVALID' // a broken or incomplete model folder
  | 'MODEL_UNSUPPORTED'
  | 'TOKENIZER_INVALID'
  | 'OUT_OF_MEMORY'
  | 'QUEUE_FULL'
  | 'ABORTED'
  | 'SHUTTING_DOWN'
  | 'ENGINE_FAILED' // a step failed; the engine is dead
  | 'NATIVE_UNAVAILABLE' // the addon cannot be loaded
  | 'DEVICE_UNAVAILABLE' // the device that was asked for cannot be used
  | 'ADDRESS_IN_USE'
  | 'NOT_READY'
  | 'BENCH_FAILED'
  | 'PROFILE_CONFLICT' // a profile is under way, or none is
  | 'TRACE_INVALID' // a trace file that cannot be read or does not belong to the run
  | 'TRACE_NOT_WRITTEN' // unwritable directory, full disk, too slow a writer
  | 'INTERNAL';

/** Codes of the addon that no user meets. */
type NativeErrorCode = 'WEIGHT_CACHE_LOCKED';

const HTTP_STATUS: Record<ErrorCode, number> = {
  INVALID_OPTION: 400,
  INVALID_REQUEST: 400,
  REQUEST_TOO_LONG: 400,
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  MODEL_NOT_FOUND: 404,
  MODEL_INVALID: 400,
  MODEL_UNSUPPORTED: 400,
  TOKENIZER_INVALID: 400,
  OUT_OF_MEMORY: 503,
  QUEUE_FULL: 503,
  ABORTED: 499,
  SHUTTING_DOWN: 503,
  ENGINE_FAILED: 500,
  NATIVE_UNAVAILABLE: 500,
  DEVICE_UNAVAILABLE: 500,
  ADDRESS_IN_USE: 500,
  NOT_READY: 503,
  BENCH_FAILED: 500,
  PROFILE_CONFLICT: 409,
  TRACE_INVALID: 400,
  TRACE_NOT_WRITTEN: 500,
  INTERNAL: 500,
};

export interface ErrorOptions {
  /** The flag (`--page-size`) or field path (`sampling_params.top_p`) to blame. */
  readonly param?: string;
  readonly cause?: unknown;
}

/** An error with a code. `message` is a whole sentence that names what was expected and what came. */
export class VitrineError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly param: string | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'VitrineError';
    this.code = code;
    this.status = HTTP_STATUS[code];
    this.param = options.param;
  }
}

/** `Error` from anything that was thrown. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Whether a thrown thing carries this code: ours, or an error of the addon. */
export function hasCode(thrown: unknown, code: ErrorCode | NativeErrorCode): boolean {
  return thrown instanceof Error && (thrown as Error & { readonly code?: unknown }).code === code;
}

/** A broken invariant: a defect of this program, never of its input. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new VitrineError('INTERNAL', `Invariant broken: ${message}`);
}
