// An independent reader and checker of Chrome traces: JSON.parse and rules, none of the product's code.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

export interface CheckedEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number | string;
  readonly tid: number | string;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: number | string;
  readonly bp?: string;
  readonly s?: string;
  readonly args?: Record<string, unknown>;
}

export interface CheckedTrace {
  readonly schemaVersion: number;
  readonly baseTimeNanoseconds: number;
  readonly displayTimeUnit: string;
  readonly traceName: string;
  readonly deviceProperties: Record<string, unknown>[];
  readonly distributedInfo?: Record<string, unknown>;
  readonly vitrine?: Record<string, unknown>;
  readonly traceEvents: CheckedEvent[];
  readonly [key: string]: unknown;
}

/** Reads a trace file, compressed or not, by the runtime's own means. */
export function readTrace(path: string): CheckedTrace {
  const bytes = readFileSync(path);
  const text = bytes[0] === 0x1f ? gunzipSync(bytes) : bytes;
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text)) as CheckedTrace;
}

const KNOWN_PHASES = new Set(['X', 'M', 's', 't', 'f', 'i', 'C', 'b', 'e']);
const nanoseconds = (us: number) => Math.round(us * 1000);
const flowKey = (e: CheckedEvent) => `${e.cat}\u0000${e.name}\u0000${e.id}`;

const trackOf = (e: CheckedEvent) => JSON.stringify([e.pid, e.tid]);

/** Adds to the list of a key. */
function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

function checkKeys(event: CheckedEvent, at: string): string[] {
  const problems: string[] = [];
  if (!KNOWN_PHASES.has(event.ph)) problems.push(`${at}: unknown ph ${JSON.stringify(event.ph)}`);
  if (typeof event.name !== 'string') problems.push(`${at}: name is ${typeof event.name}`);
  for (const key of ['pid', 'tid'] as const) {
    if (typeof event[key] !== 'number' && typeof event[key] !== 'string') problems.push(`${at}: no ${key}`);
  }
  if (typeof event.ts !== 'number' || !Number.isFinite(event.ts) || event.ts < 0)
    problems.push(`${at}: ts ${event.ts}`);
  if (event.ph === 'X' && !(typeof event.dur === 'number' && event.dur >= 0)) problems.push(`${at}: dur ${event.dur}`);
  if (event.ph === 'X' && typeof event.cat !== 'string') problems.push(`${at}: no cat`);
  if (event.ph === 'i' && !['g', 'p', 't'].includes(event.s ?? '')) problems.push(`${at}: scope ${event.s}`);
  if ('stfbe'.includes(event.ph) && event.id === undefined) problems.push(`${at}: no id`);
  if (event.ph === 'f' && event.bp !== 'e') problems.push(`${at}: flow end does not bind to the span around it`);
  if (event.ph === 'C') {
    for (const [key, value] of Object.entries(event.args ?? {})) {
      if (key !== 'id' && typeof value !== 'number') problems.push(`${at}: counter ${key} is no number`);
    }
  }
  return problems;
}

/** Spans of one thread must be disjoint or contain each other. */
function checkNesting(events: readonly CheckedEvent[]): string[] {
  const problems: string[] = [];
  const tracks = new Map<string, { begin: number; end: number; name: string }[]>();
  for (const e of events) {
    if (e.ph !== 'X') continue;
    const begin = nanoseconds(e.ts);
    append(tracks, trackOf(e), { begin, end: begin + nanoseconds(e.dur ?? 0), name: e.name });
  }
  for (const [key, spans] of tracks) {
    spans.sort((a, b) => a.begin - b.begin || b.end - a.end);
    const open: typeof spans = [];
    for (const span of spans) {
      while (open.length > 0 && open.at(-1)!.end <= span.begin) open.pop();
      const outer = open.at(-1);
      if (outer && span.end > outer.end) {
        problems.push(`thread ${key}: ${span.name} ends ${span.end - outer.end} ns after ${outer.name} around it`);
      }
      open.push(span);
    }
  }
  return problems;
}

/** Every arrow and every async piece has one start and one end, in that order in time. */
function checkPairs(events: readonly CheckedEvent[]): string[] {
  const problems: string[] = [];
  const flows = new Map<string, CheckedEvent[]>();
  for (const e of events) {
    if ('stfbe'.includes(e.ph)) append(flows, `${'stf'.includes(e.ph) ? 'flow' : 'async'}\u0000${flowKey(e)}`, e);
  }
  for (const [key, points] of flows) {
    const of = (phases: string) => points.filter((p) => phases.includes(p.ph));
    const [starts, ends] = [of('sb'), of('fe')];
    const name = key.replaceAll('\u0000', ' ');
    if (starts.length !== 1 || ends.length !== 1)
      problems.push(`${name}: ${starts.length} starts, ${ends.length} ends`);
    else if (points.some((p) => p.ts < starts[0]!.ts || p.ts > ends[0]!.ts))
      problems.push(`${name}: a point lies outside`);
  }
  return problems;
}

/** Every arrow point lies inside a span of its thread; viewers drop those that do not. */
function checkBindings(events: readonly CheckedEvent[]): string[] {
  const points = events.filter((e) => 'stf'.includes(e.ph));
  if (points.length === 0) return [];
  const spans = new Map<string, { begin: number; end: number }[]>();
  for (const e of events) {
    const begin = nanoseconds(e.ts);
    if (e.ph === 'X') append(spans, trackOf(e), { begin, end: begin + nanoseconds(e.dur ?? 0) });
  }
  // By begin, each with the latest end of it and those before: a point is inside one of them if not after that end.
  for (const list of spans.values()) {
    list.sort((a, b) => a.begin - b.begin);
    list.forEach((span, i) => {
      span.end = Math.max(span.end, list[i - 1]?.end ?? 0);
    });
  }
  const isInside = (e: CheckedEvent) => {
    const list = spans.get(trackOf(e)) ?? [];
    const at = nanoseconds(e.ts);
    let [low, high] = [0, list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle]!.begin <= at) low = middle + 1;
      else high = middle;
    }
    return low > 0 && list[low - 1]!.end >= at;
  };
  return points
    .filter((e) => !isInside(e))
    .map((e) => `flow ${e.name} ${e.id} (${e.ph}): no span around it on thread ${trackOf(e)}`);
}

/** One name for each process and thread that has events. */
function checkNames(events: readonly CheckedEvent[]): string[] {
  const problems: string[] = [];
  const named = new Map<string, number>();
  for (const e of events) {
    if (e.ph !== 'M') continue;
    const key = e.name.startsWith('process') ? `${e.name} ${e.pid}` : `${e.name} ${e.pid} ${e.tid}`;
    named.set(key, (named.get(key) ?? 0) + 1);
  }
  for (const [key, times] of named) if (times > 1) problems.push(`${key} is given ${times} times`);
  for (const e of events) {
    if (e.ph !== 'X' || e.cat === 'Trace') continue;
    if (!named.has(`process_name ${e.pid}`)) problems.push(`process ${e.pid} has no name`);
    if (!named.has(`thread_name ${e.pid} ${e.tid}`)) problems.push(`thread ${e.pid} ${e.tid} has no name`);
  }
  return [...new Set(problems)];
}

/** What is wrong with a trace, in sentences; empty where nothing is. */
export function traceProblems(trace: CheckedTrace): string[] {
  const problems: string[] = [];
  if (trace.schemaVersion !== 1) problems.push(`schemaVersion is ${trace.schemaVersion}`);
  if (!Number.isInteger(trace.baseTimeNanoseconds / 1e9)) problems.push(`base ${trace.baseTimeNanoseconds}`);
  if (!Array.isArray(trace.deviceProperties)) problems.push('deviceProperties is no list');
  if (!Array.isArray(trace.traceEvents)) return [...problems, 'traceEvents is no list'];
  const events = trace.traceEvents;
  return [
    ...problems,
    ...events.flatMap((event, index) => checkKeys(event, `event ${index}`)),
    ...checkNesting(events),
    ...checkPairs(events),
    ...checkBindings(events),
    ...checkNames(events),
  ];
}

/** Events of a trace by phase and category, for counting. */
export const spansOf = (trace: CheckedTrace, cat: string): CheckedEvent[] =>
  trace.traceEvents.filter((event) => event.ph === 'X' && event.cat === cat);

/** A step annotation of one of our recordings, with what its arguments say. Times in ns after the base. */
export interface CheckedStep {
  readonly step: number;
  readonly mode: string;
  readonly batchSize: number;
  readonly tokens: number;
  readonly cachedTokens: number;
  readonly begin: number;
  readonly end: number;
  readonly event: CheckedEvent;
}

/** The step annotations by time, whatever their arguments are worth; stepProblems() judges them. */
export function stepsOf(trace: CheckedTrace): CheckedStep[] {
  return spansOf(trace, 'user_annotation')
    .filter((e) => e.args !== undefined && 'step' in e.args)
    .map((event) => {
      const begin = nanoseconds(event.ts);
      const args = event.args!;
      return {
        step: args.step as number,
        mode: args.mode as string,
        batchSize: args['batch size'] as number,
        tokens: args.tokens as number,
        cachedTokens: args['cached tokens'] as number,
        begin,
        end: begin + nanoseconds(event.dur ?? 0),
        event,
      };
    })
    .sort((a, b) => a.begin - b.begin);
}

/** What is wrong where a trace shall hold exactly `count` steps from number `first` on. */
export function expectedSteps(trace: CheckedTrace, first: number, count: number): string[] {
  const found = stepsOf(trace).map(({ step }) => step);
  const wanted = Array.from({ length: count }, (_, i) => first + i);
  if (found.length === wanted.length && found.every((step, i) => step === wanted[i])) return [];
  const list = (steps: readonly number[]) =>
    steps.length > 20 ? `${steps.slice(0, 20)},… (${steps.length})` : `${steps}`;
  return [`steps ${list(found)} instead of ${list(wanted)}`];
}

/** What is wrong where a trace is that of one stage: mixed steps count as EXTEND. */
export function stageProblems(trace: CheckedTrace, stage: 'EXTEND' | 'DECODE'): string[] {
  return stepsOf(trace)
    .filter(({ mode }) => (mode === 'decode') !== (stage === 'DECODE'))
    .map(({ step, mode }) => `step ${step} of mode ${mode} in the window of ${stage}`);
}

/** The share of each step's time that its direct children on its thread fill: [step, share from 0 to 1]. */
export function stepCoverage(trace: CheckedTrace): [CheckedStep, number][] {
  const spans = new Map<string, CheckedEvent[]>();
  for (const e of trace.traceEvents) if (e.ph === 'X') append(spans, trackOf(e), e);
  for (const list of spans.values()) list.sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
  return stepsOf(trace).map((step) => {
    const list = spans.get(trackOf(step.event))!;
    let covered = 0;
    let until = step.begin;
    // Those after it in the list begin later; a child inside another one adds nothing to the union.
    for (let i = list.indexOf(step.event) + 1; i < list.length; i++) {
      const begin = nanoseconds(list[i]!.ts);
      if (begin >= step.end) break;
      const end = Math.min(begin + nanoseconds(list[i]!.dur ?? 0), step.end);
      covered += Math.max(0, end - Math.max(begin, until));
      until = Math.max(until, end);
    }
    return [step, step.end > step.begin ? covered / (step.end - step.begin) : 1];
  });
}

const MODES = new Set(['extend', 'decode', 'mixed']);
const STEP_COVERAGE = 0.98;

/** What is wrong with the steps of one of our recordings: their arguments, their order, what fills them. */
export function stepProblems(trace: CheckedTrace, coverage = STEP_COVERAGE): string[] {
  const problems: string[] = [];
  const last = new Map<string, CheckedStep>();
  for (const step of stepsOf(trace)) {
    const at = `step ${step.step}`;
    const atLeast = (name: string, value: unknown, least: number) => {
      if (!Number.isInteger(value) || (value as number) < least) problems.push(`${at}: ${name} is ${value}`);
    };
    atLeast('step', step.step, 1);
    if (!MODES.has(step.mode)) problems.push(`${at}: mode is ${JSON.stringify(step.mode)}`);
    atLeast('batch size', step.batchSize, 1);
    atLeast('tokens', step.tokens, step.batchSize);
    atLeast('cached tokens', step.cachedTokens, 0);
    if (step.mode === 'decode' && step.tokens !== step.batchSize)
      problems.push(`${at}: ${step.tokens} tokens in a decode step of ${step.batchSize} requests`);
    const before = last.get(trackOf(step.event));
    if (before !== undefined && before.end > step.begin) problems.push(`${at} begins inside step ${before.step}`);
    if (before !== undefined && before.step >= step.step) problems.push(`${at} comes after step ${before.step}`);
    last.set(trackOf(step.event), step);
  }
  for (const [{ step }, share] of stepCoverage(trace)) {
    if (share < coverage) problems.push(`step ${step}: its children account for ${(100 * share).toFixed(1)} % of it`);
  }
  return problems;
}

/** The arrows of requests: their points by id, in the order of the file. */
export function requestFlows(trace: CheckedTrace): Map<number | string, CheckedEvent[]> {
  const flows = new Map<number | string, CheckedEvent[]>();
  for (const e of trace.traceEvents) if ('stf'.includes(e.ph) && e.cat === 'request') append(flows, e.id!, e);
  return flows;
}

/** All that a judge would hold against one of our recordings. */
export function recordingProblems(trace: CheckedTrace): string[] {
  const problems = [...traceProblems(trace), ...stepProblems(trace)];
  for (const [id, points] of requestFlows(trace)) {
    // One start, one end and a span around each point are rules for all arrows.
    const phases = points.map(({ ph }) => ph).join('');
    if (!/^st*f$/.test(phases)) problems.push(`request ${id}: its points come as ${phases}`);
    if (points.some((p, i) => i > 0 && p.ts < points[i - 1]!.ts)) problems.push(`request ${id}: time goes back`);
  }
  const { droppedRecords } = trace.vitrine ?? {};
  if (droppedRecords !== 0) problems.push(`dropped records: ${droppedRecords}`);
  return problems;
}
