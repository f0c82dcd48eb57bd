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
    const key = JSON.stringify([e.pid, e.tid]);
    const begin = nanoseconds(e.ts);
    const span = { begin, end: begin + nanoseconds(e.dur ?? 0), name: e.name };
    const track = tracks.get(key);
    if (track) track.push(span);
    else tracks.set(key, [span]);
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

/** Every arrow and every async piece has one start and one end, in that order in time; arrow points lie in a span. */
function checkPairs(events: readonly CheckedEvent[]): string[] {
  const problems: string[] = [];
  const flows = new Map<string, CheckedEvent[]>();
  for (const e of events) {
    if (!'stfbe'.includes(e.ph)) continue;
    const key = `${'stf'.includes(e.ph) ? 'flow' : 'async'}\u0000${flowKey(e)}`;
    flows.set(key, [...(flows.get(key) ?? []), e]);
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
  const spans = new Map<string, [number, number][]>();
  const track = (e: CheckedEvent) => JSON.stringify([e.pid, e.tid]);
  for (const e of events) {
    if (e.ph !== 'X') continue;
    const begin = nanoseconds(e.ts);
    const list = spans.get(track(e)) ?? [];
    list.push([begin, begin + nanoseconds(e.dur ?? 0)]);
    spans.set(track(e), list);
  }
  return events
    .filter((e) => 'stf'.includes(e.ph))
    .filter((e) => !(spans.get(track(e)) ?? []).some(([b, end]) => b <= nanoseconds(e.ts) && nanoseconds(e.ts) <= end))
    .map((e) => `flow ${e.name} ${e.id} (${e.ph}): no span around it on thread ${track(e)}`);
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
