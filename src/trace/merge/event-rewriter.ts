// Rewrites the events of one rank for a merged trace: process label, sort index, ids, clock. Everything else is copied
// byte for byte.
import { createHash } from 'node:crypto';
import type { EventFields } from '../read/event-fields.js';
import { TraceDamage } from '../read/trace-scanner.js';
import { formatMicroseconds, quoteJson } from '../trace-event.js';
import type { GzipFile } from '../write/gzip-file.js';

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
/** Longer odd ids are remembered by their hash. */
const MAX_ODD_LENGTH = 64;
/** Process labels that are remembered, and the longest ids of processes among them. */
const MAX_PIDS = 10_000;
const MAX_PID_LENGTH = 256;
const SEPARATOR = Buffer.from(',\n');
const FIRST_SEPARATOR = Buffer.from('\n');
/** Phases by their letter. */
const METADATA = 0x4d;
const COUNTER = 0x43;
const QUOTE = 0x22;
const isFlow = (phase: number) => phase === 0x73 || phase === 0x74 || phase === 0x66;

/** Numbers that are unlike those of any other file. Ids of the first file stay as they are. */
export class IdSpace {
  readonly #odd = new Map<string, number>();
  #oddNumbers = 0;

  /** The ids of file number `file` (from 0) from now on. */
  startFile(file: number): void {
    if (file >= MAX_FILES) throw new TraceDamage(`only ${MAX_FILES} files can be merged into one`);
    this.#odd.clear();
  }

  /** `field` holds an id of file number `file`; its new JSON text, undefined where it stays. */
  map(file: number, fields: EventFields, field: number): string | undefined {
    const plain = fields.plainInteger(field);
    if (plain >= 0 && plain < ID_RANGE) {
      // In quotes or not, viewers take it for the same id; one form for both costs no reader anything.
      const stays = file === 0 && fields.byteAt(field, 0) !== QUOTE;
      return stays ? undefined : String(file * ID_RANGE + plain);
    }
    const text = fields.raw(field);
    const raw = text.length <= MAX_ODD_LENGTH ? text : createHash('sha256').update(text).digest('base64');
    let id = this.#odd.get(raw);
    if (id === undefined) {
      if (this.#odd.size >= MAX_ODD_IDS) {
        throw new TraceDamage(`it has more than ${MAX_ODD_IDS} ids that are not plain numbers`);
      }
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
  readonly #pids = new Map<string, Uint8Array>();
  /** The pid of the event before, and what became of it: most events have the pid of their neighbour. */
  #lastPid: Uint8Array = new Uint8Array(0);
  #lastLabelled: Uint8Array = new Uint8Array(0);
  #first: boolean;
  /** Fields replaced in the current event. */
  readonly #replaced: number[] = [];
  /** Offset up to which the current event has been written. */
  #written = 0;

  constructor(options: EventRewriterOptions) {
    this.#options = options;
    this.#shared = new Set(options.sharedCategories.map(quoteJson));
    this.#first = options.first;
  }

  write(fields: EventFields): void {
    const { output } = this.#options;
    output.writeBytes(this.#first ? FIRST_SEPARATOR : SEPARATOR);
    this.#first = false;
    this.#written = fields.start;
    this.#collect(fields);
    for (const field of this.#replaced) {
      const value = field === PID ? this.#pid(fields) : this.#replacement(fields, field);
      if (value === undefined) continue;
      output.writeBytes(fields.buffer, this.#written, fields.valueStart(field));
      if (typeof value === 'string') output.write(value);
      else output.writeBytes(value);
      this.#written = fields.valueEnd(field);
    }
    output.writeBytes(fields.buffer, this.#written, fields.end);
  }

  /** Lists the fields to replace in the order of the text. */
  #collect(fields: EventFields): void {
    const replaced = this.#replaced;
    replaced.length = 0;
    const phase = fields.byteAt(PH, 1);
    this.#consider(fields, PID);
    if (phase === METADATA) this.#consider(fields, SORT_INDEX);
    else if (this.#options.shiftNs !== 0) this.#consider(fields, TS);
    if (phase !== COUNTER) this.#consider(fields, ID);
    this.#consider(fields, BIND_ID);
    this.#consider(fields, CORRELATION);
    this.#consider(fields, EXTERNAL_ID);
    this.#consider(fields, EXTERNAL_ID_OLD);
  }

  #consider(fields: EventFields, field: number): void {
    if (!fields.has(field)) return;
    const replaced = this.#replaced;
    let at = replaced.length;
    const start = fields.valueStart(field);
    for (; at > 0 && fields.valueStart(replaced[at - 1]!) > start; at--) replaced[at] = replaced[at - 1]!;
    replaced[at] = field;
  }

  /** New JSON text of a member; undefined: it stays. */
  #replacement(fields: EventFields, field: number): string | undefined {
    const { ids, file } = this.#options;
    switch (field) {
      case TS: {
        const ns = fields.nanoseconds(TS);
        return Number.isNaN(ns) ? undefined : formatMicroseconds(Math.max(ns + this.#options.shiftNs, 0));
      }
      case SORT_INDEX:
        return this.#sortIndex(fields);
      case ID:
      case BIND_ID:
        return this.#isShared(fields) ? undefined : ids.map(file, fields, field);
      default:
        // 0 says that there is none.
        return fields.plainInteger(field) > 0 ? ids.map(file, fields, field) : undefined;
    }
  }

  /** An arrow that may go from rank to rank. */
  #isShared(fields: EventFields): boolean {
    return this.#shared.size > 0 && isFlow(fields.byteAt(PH, 1)) && this.#shared.has(fields.raw(CAT));
  }

  #pid(fields: EventFields): Uint8Array {
    if (fields.equals(PID, this.#lastPid)) return this.#lastLabelled;
    const raw = fields.raw(PID);
    let labelled = this.#pids.get(raw);
    if (labelled === undefined) {
      const pid = raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
      labelled = Buffer.from(quoteJson(`${this.#options.label} ${pid}`));
      if (this.#pids.size < MAX_PIDS && raw.length <= MAX_PID_LENGTH) this.#pids.set(raw, labelled);
    }
    this.#lastPid = Buffer.from(raw);
    this.#lastLabelled = labelled;
    return labelled;
  }

  #sortIndex(fields: EventFields): string | undefined {
    if (fields.raw(NAME) !== '"process_sort_index"') return undefined;
    const raw = fields.raw(PID);
    const pid = /^-?\d{1,15}$/.test(raw) ? Number(raw) : Number.NaN;
    return pid < 1000 ? String(this.#options.sortIndex(pid)) : undefined;
  }
}
