// The spans of the front end while a profile records: HTTP, tokenizer, the life of requests. They go to the rank in small
// chunks, which writes them into its trace file. Runs on the front end's event loop; off, it costs a comparison a call.
import type { ProfileRequestMessage } from '../../messages/profile.js';
import { CpuSampler, stacksThread } from '../../trace/record/cpu-sampler.js';
import type { SpanCategory, SpanSchema } from '../../trace/record/span-layout.js';
import { SpanRecorder } from '../../trace/record/span-recorder.js';
import type { SpanThread } from '../../trace/record/span-source.js';
import { SpanClock } from '../../trace/trace-clock.js';
import { toError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';

export type FrontEndSpans = Omit<Extract<ProfileRequestMessage, { kind: 'front-end-spans' }>, 'kind'>;
export type FrontEndEnd = Omit<Extract<ProfileRequestMessage, { kind: 'front-end-end' }>, 'kind'>;

/** Where a recording goes. */
export interface TraceTarget {
  readonly profileId: string;
  /** Sample JavaScript stacks too. */
  readonly withStack: boolean;
  readonly sink: { sendSpans(spans: FrontEndSpans): void; endSpans(end: FrontEndEnd): void };
}

/** Something that overlaps other work, from `beginNs` (of `now()`) to its close. */
export interface Life {
  readonly beginNs: number;
  /** Only called while it is recorded. `name` gives the number of a text. */
  describe(name: (text: string) => number): LifeRecord;
}

export interface LifeRecord {
  readonly category: SpanCategory;
  readonly name: number;
  /** Unique among the lives of its category. */
  readonly id: number;
  readonly schema: SpanSchema;
  /** At most five. */
  readonly args: readonly number[];
}

interface SpanKind {
  readonly category: SpanCategory;
  readonly name: string;
  readonly schema: SpanSchema;
}

/** What is recorded as spans of the event loop's thread, by the amount that they tell. */
const SPAN_KINDS = {
  /** Bytes of a body. */
  parseBody: { category: 'http', name: 'parse body', schema: 'bytes' },
  writeResponse: { category: 'http', name: 'write response', schema: 'bytes' },
  writeEvents: { category: 'http', name: 'write events', schema: 'bytes' },
  renderChat: { category: 'tokenizer', name: 'render chat template', schema: 'none' },
  /** UTF-16 units of text; what the library does at once, before the first await. */
  encode: { category: 'tokenizer', name: 'start to encode', schema: 'count' },
  /** Prompt tokens. */
  send: { category: 'tokenizer', name: 'send to scheduler', schema: 'count' },
  /** Chunks: what a step brought, turned into text and formatted for its clients. */
  detokenize: { category: 'tokenizer', name: 'detokenize', schema: 'count' },
  firstToken: { category: 'request', name: 'first token', schema: 'none' },
  requestEnds: { category: 'request', name: 'request ends', schema: 'none' },
} as const satisfies Record<string, SpanKind>;
export type FrontEndSpan = keyof typeof SPAN_KINDS;

export interface FrontEndTracerOptions {
  /** Of this process in the trace. */
  readonly processName: string;
  /** False where the rank shares this thread and samples it. Default true. */
  readonly sampleStacks?: boolean;
  readonly log: Log;
}

/** Records, of 64 bytes each, that the ring holds, and after how many it is emptied. */
const CAPACITY = 16_384;
const DRAIN_AT = 4096;
/** Records wait no longer than this. */
const DRAIN_MS = 250;

export class FrontEndTracer {
  readonly #options: FrontEndTracerOptions;
  readonly #clock = new SpanClock();
  readonly #lives = new Set<Life>();
  readonly #sampler = new CpuSampler();
  /** New for each recording, so that names of old requests do not pile up; null while nothing is recorded. */
  #recorder: SpanRecorder | null = null;
  #target: TraceTarget | null = null;
  #startedNs = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Numbers of the names of SPAN_KINDS, of arrows and of encodings. */
  #names!: Readonly<Record<FrontEndSpan, number>>;
  #arrow = 0;
  #encoding = 0;
  #encodings = 0;

  constructor(options: FrontEndTracerOptions) {
    this.#options = options;
  }

  get recording(): boolean {
    return this.#recorder !== null;
  }

  /** Nanoseconds, on the clock of `Life.beginNs`. */
  now(): number {
    return this.#clock.now();
  }

  /** `now()` at a time of monotonicSeconds(). */
  at(seconds: number): number {
    return Math.round(seconds * 1e9 - Number(this.#clock.baseNs));
  }

  /** Records until `stop`, from which `target` gets its last word. No effect while it records. */
  start(target: TraceTarget): void {
    if (this.#recorder !== null) return;
    const thread: SpanThread = { tid: process.pid, name: 'http and tokenizer', sortIndex: 0 };
    const recorder = new SpanRecorder({ capacity: CAPACITY, thread, clock: this.#clock });
    this.#names = nameKinds(recorder);
    this.#arrow = recorder.name('request');
    this.#encoding = recorder.name('encode');
    this.#target = target;
    if (target.withStack && this.#options.sampleStacks !== false) this.#startSampler();
    this.#timer = setInterval(() => this.#drain(), DRAIN_MS).unref();
    this.#startedNs = this.now();
    recorder.start();
    this.#recorder = recorder;
  }

  /** No effect while nothing is recorded. */
  stop(): void {
    const target = this.#target;
    if (target === null) return;
    const now = this.now();
    for (const life of this.#lives) this.#recordLife(life, now);
    this.#drain();
    clearInterval(this.#timer);
    this.#recorder = null;
    this.#target = null;
    target.sink.endSpans({ profileId: target.profileId, pid: process.pid, stacks: this.#stopSampler() });
  }

  /** The mark of a span's beginning, for `end`; one that is never ended leaves nothing. */
  begin(): number {
    return this.#recorder === null ? -1 : this.#clock.now();
  }

  /** Ends a span that began and ends in one turn of the event loop. `amount`: see the span's kind. */
  end(mark: number, span: FrontEndSpan, amount = 0): void {
    if (mark < 0 || this.#recorder === null) return;
    const { category, schema } = SPAN_KINDS[span];
    this.#recorder.span(0, category, this.#names[span], mark, this.#clock.now(), 0, schema, amount);
    this.#drainIfFull();
  }

  /** As `end`, of a route's handler up to its first await. */
  endRoute(mark: number, name: string): void {
    const recorder = this.#recorder;
    if (mark < 0 || recorder === null) return;
    recorder.span(0, 'http', recorder.name(name), mark, this.#clock.now());
    this.#drainIfFull();
  }

  /** An encoding that took several turns of the event loop, beginning at `mark`. */
  endEncoding(mark: number, tokens: number): void {
    if (mark < 0 || this.#recorder === null) return;
    const begin = Math.max(mark, this.#startedNs);
    this.#recorder.async('tokenizer', this.#encoding, ++this.#encodings, begin, this.#clock.now(), 'count', tokens);
    this.#drainIfFull();
  }

  /** A point of the arrow of the request with this number; the caller sees to it that it lies in a span. */
  arrow(id: number): void {
    this.#recorder?.flowPoint('request', this.#arrow, id);
  }

  /** A point of the arrow of a request in a short span of its own. */
  point(span: 'firstToken' | 'requestEnds', id: number): void {
    const mark = this.begin();
    this.arrow(id);
    this.end(mark, span);
  }

  /** `life` goes on until `close`; recordings that end before have it up to their end. */
  open(life: Life): void {
    this.#lives.add(life);
  }

  close(life: Life): void {
    if (this.#lives.delete(life)) this.#recordLife(life, this.now());
  }

  #recordLife(life: Life, endNs: number): void {
    const recorder = this.#recorder;
    if (recorder === null) return;
    const { category, name, id, schema, args } = life.describe((text) => recorder.name(text));
    recorder.async(category, name, id, Math.max(life.beginNs, this.#startedNs), endNs, schema, ...args);
    this.#drainIfFull();
  }

  #drainIfFull(): void {
    if (this.#recorder!.pending >= DRAIN_AT) this.#drain();
  }

  #drain(): void {
    const chunk = this.#recorder?.drain();
    if (chunk === undefined) return;
    const { names, threads, records } = chunk;
    const { profileId, sink } = this.#target!;
    const { processName } = this.#options;
    sink.sendSpans({
      profileId,
      pid: process.pid,
      processName,
      names,
      threads,
      payload: records.buffer as ArrayBuffer,
    });
  }

  /** A profile without stacks is better than none. */
  #startSampler(): void {
    try {
      this.#sampler.start();
    } catch (thrown) {
      this.#options.log.warn(`JavaScript stacks of the front end cannot be sampled: ${toError(thrown).message}`);
    }
  }

  #stopSampler(): FrontEndEnd['stacks'] {
    if (!this.#sampler.running) return null;
    try {
      return { thread: stacksThread(process.pid, 'http and tokenizer'), profile: this.#sampler.stop() };
    } catch (thrown) {
      this.#options.log.warn(`The JavaScript stacks of the front end are lost: ${toError(thrown).message}`);
      return null;
    }
  }
}

function nameKinds(recorder: SpanRecorder): Record<FrontEndSpan, number> {
  const names = Object.entries(SPAN_KINDS).map(([span, { name }]) => [span, recorder.name(name)]);
  return Object.fromEntries(names) as Record<FrontEndSpan, number>;
}
