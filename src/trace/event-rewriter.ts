// Rewrites the events of one rank for a merged trace: process label, sort index, ids, clock. Everything else is copied
// byte for byte.
import type { EventFields } from './event-fields.js';
import type { GzipFile } from './gzip-file.js';
import { formatMicroseconds, parseMicroseconds, quoteJson } from './trace-event.js';
import { TraceDamage } from './trace-scanner.js';

/** Fields that a rewriter reads; hand them to the TraceScanner. */
export const REWRITTEN_FIELDS = [
  'ph',
  'pid',
  'ts',
  'id',
  'bind_id',
  'cat',
  'name',
  'args.sort_index',
  'args.correlation',
  'args.External id',
  'args.External Id',
] as const;
const fieldOf = (path: (typeof REWRITTEN_FIELDS)[number]) => REWRITTEN_FIELDS.indexOf(path);
const PH = fieldOf('ph');
const PID = fieldOf('pid');
const TS = fieldOf('ts');
const ID = fieldOf('id');
const BIND_ID = fieldOf('bind_id');
const CAT = fieldOf('cat');
const NAME = fieldOf('name');
const SORT_INDEX = fieldOf('args.sort_index');
const CORRELATION = fieldOf('args.correlation');
const EXTERNAL_ID = fieldOf('args.External id');
const EXTERNAL_ID_OLD = fieldOf('args.External Id');

/** Ids below it keep their value inside their file's range; 8191 ranges of it fit below 2^53. */
const ID_RANGE = 2 ** 40;
const MAX_FILES = 8191;
/** Ids of other shapes (strings, hexadecimal, negative, huge) are numbered one by one in the range after the last. */
const MAX_ODD_IDS = 1 << 22;
const SEPARATOR = Buffer.from(',\n');
const FIRST_SEPARATOR = Buffer.from('\n');
const FLOW_PHASES = new Set(['"s"', '"t"', '"f"']);
const PLAIN_ID = /^\d{1,13}$/;

/** Numbers that are unlike those of any other file. Ids of the first file stay as they are. */
export class IdSpace {
  readonly #odd = new Map<string, number>();
  #oddNumbers = 0;

  /** The ids of file number `file` (from 0) from now on. */
  startFile(file: number): void {
    if (file >= MAX_FILES) throw new TraceDamage(`only ${MAX_FILES} files can be merged into one`);
    this.#odd.clear();
  }

  map(file: number, raw: string): string {
    if (PLAIN_ID.test(raw)) {
      const id = Number(raw);
      if (id < ID_RANGE) return String(file * ID_RANGE + id);
    }
    let id = this.#odd.get(raw);
    if (id === undefined) {
      if (this.#odd.size >= MAX_ODD_IDS)
        throw new TraceDamage(`it has more than ${MAX_ODD_IDS} ids that are not plain numbers`);
      id = MAX_FILES * ID_RANGE + this.#oddNumbers++;
      this.#odd.set(raw, id);
    }
    return String(id);
  }
}

export interface EventRewriterOptions {
  readonly output: GzipFile;
  readonly ids: IdSpace;
  /** Number of the file, from 0. */
  readonly file: number;
  /** `[TP00]`, unlike that of any other file. */
  readonly label: string;
  readonly sortIndex: (pid: number) => number;
  /** Added to every time. */
  readonly shiftNs: number;
  /** Flow categories whose ids stay. */
  readonly sharedCategories: readonly string[];
  /** Nothing has been written to the list of events yet. */
  readonly first: boolean;
}

export class EventRewriter {
  readonly #options: EventRewriterOptions;
  readonly #shared: ReadonlySet<string>;
  readonly #pids = new Map<string, string>();
  #first: boolean;
  /** Offset up to which the current event has been written. */
  #written = 0;

  constructor(options: EventRewriterOptions) {
    this.#options = options;
    this.#shared = new Set(options.sharedCategories.map(quoteJson));
    this.#first = options.first;
  }

  write(fields: EventFields): void {
    const { output, shiftNs } = this.#options;
    output.writeBytes(this.#first ? FIRST_SEPARATOR : SEPARATOR);
    this.#first = false;
    this.#written = fields.start;
    const phase = fields.raw(PH);
    // In the order of the text; an event has few replaced members, so sorting their numbers is cheap.
    const replaced: number[] = [];
    const replace = (field: number) => {
      if (fields.has(field)) replaced.push(field);
    };
    replace(PID);
    if (phase === '"M"') replace(SORT_INDEX);
    else if (shiftNs !== 0) replace(TS);
    if (phase !== '"C"') replace(ID);
    replace(BIND_ID);
    replace(CORRELATION);
    replace(EXTERNAL_ID);
    replace(EXTERNAL_ID_OLD);
    replaced.sort((a, b) => fields.valueStart(a) - fields.valueStart(b));
    for (const field of replaced) {
      const value = this.#replacement(fields, field);
      if (value === undefined) continue;
      output.writeBytes(fields.buffer.subarray(this.#written, fields.valueStart(field)));
      output.write(value);
      this.#written = fields.valueEnd(field);
    }
    output.writeBytes(fields.buffer.subarray(this.#written, fields.end));
  }

  /** New JSON text of a member; undefined: it stays. */
  #replacement(fields: EventFields, field: number): string | undefined {
    const raw = fields.raw(field);
    switch (field) {
      case PID:
        return this.#pid(raw);
      case TS: {
        const ns = parseMicroseconds(raw);
        return Number.isNaN(ns) ? undefined : formatMicroseconds(Math.max(ns + this.#options.shiftNs, 0));
      }
      case SORT_INDEX:
        return this.#sortIndex(fields);
      case ID:
      case BIND_ID:
        return this.#isShared(fields) ? undefined : this.#options.ids.map(this.#options.file, raw);
      default:
        // 0 says that there is none.
        return PLAIN_ID.test(raw) && Number(raw) !== 0 ? this.#options.ids.map(this.#options.file, raw) : undefined;
    }
  }

  /** An arrow that may go from rank to rank. */
  #isShared(fields: EventFields): boolean {
    return this.#shared.size > 0 && FLOW_PHASES.has(fields.raw(PH)) && this.#shared.has(fields.raw(CAT));
  }

  #pid(raw: string): string {
    let labelled = this.#pids.get(raw);
    if (labelled === undefined) {
      const pid = raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
      labelled = quoteJson(`${this.#options.label} ${pid}`);
      this.#pids.set(raw, labelled);
    }
    return labelled;
  }

  #sortIndex(fields: EventFields): string | undefined {
    if (fields.raw(NAME) !== '"process_sort_index"') return undefined;
    const raw = fields.raw(PID);
    const pid = /^-?\d{1,15}$/.test(raw) ? Number(raw) : Number.NaN;
    return pid < 1000 ? String(this.#options.sortIndex(pid)) : undefined;
  }
}
