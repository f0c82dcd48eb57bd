// Turns a V8 CPU profile (samples of a stack) into nested python_function events, which is what Kineto calls frames of
// the host language. Runs on the writer's thread.
import { formatMicroseconds, quoteJson } from '../trace-event.js';

/** The parts of the inspector's Profiler.Profile that are used. Times in microseconds. */
export interface V8Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      /** From 0; -1 where there is none. */
      readonly lineNumber: number;
      readonly columnNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  readonly startTime: number;
  readonly endTime: number;
  readonly samples?: readonly number[];
  readonly timeDeltas?: readonly number[];
}

/** A profile on the trace's clock. */
export interface CpuProfile {
  readonly profile: V8Profile;
  /** CLOCK_MONOTONIC minus the profile's own clock, in ns; 0 where V8 samples on CLOCK_MONOTONIC, as on Linux. */
  readonly clockOffsetNs: number;
}

interface Frame {
  readonly parent: Frame | undefined;
  readonly depth: number;
  readonly text: string;
}

const META_FRAMES = new Set(['(root)', '(program)', '(idle)']);
const COLLECTOR = '(garbage collector)';

/** `scheduler.js(120): runBatch`, after Kineto's `file.py(120): function`. */
function frameText({ functionName, url, lineNumber, columnNumber }: V8Profile['nodes'][number]['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return `"name":${quoteJson(name)}`;
  const file = url.slice(url.lastIndexOf('/') + 1);
  const args = `"args":{"url":${quoteJson(url)},"line":${lineNumber + 1},"column":${columnNumber + 1}}`;
  return `"name":${quoteJson(`${file}(${lineNumber + 1}): ${name}`)},${args}`;
}

function framesById(profile: V8Profile): Map<number, Frame | undefined> {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const frames = new Map<number, Frame | undefined>();
  const visit: [number, Frame | undefined][] = profile.nodes.length === 0 ? [] : [[profile.nodes[0]!.id, undefined]];
  while (visit.length > 0) {
    const [id, parent] = visit.pop()!;
    const node = nodes.get(id);
    if (node === undefined) continue;
    const meta = parent === undefined && META_FRAMES.has(node.callFrame.functionName) && node.callFrame.url === '';
    const frame = meta ? undefined : { parent, depth: (parent?.depth ?? 0) + 1, text: frameText(node.callFrame) };
    frames.set(id, frame);
    for (const child of node.children ?? []) visit.push([child, frame]);
  }
  return frames;
}

function stackOf(frame: Frame | undefined): Frame[] {
  const stack: Frame[] = [];
  for (let at = frame; at !== undefined; at = at.parent) stack.push(at);
  return stack.reverse();
}

/**
 * Emits one event for each run of samples that share a frame. A sample's stack is taken to hold until the next sample,
 * so times are good to the sampling interval. Outer frames begin at least 1 ns before inner ones and, as all spans, come
 * after them. Holds the frames and the open stack, none of the events.
 * `shiftNs` takes CLOCK_MONOTONIC to the file's base.
 */
export function encodeCpuProfile(
  { profile, clockOffsetNs }: CpuProfile,
  pid: number,
  tid: number,
  shiftNs: number,
  emit: (text: string) => void,
): void {
  const frames = framesById(profile);
  const samples = profile.samples ?? [];
  const deltas = profile.timeDeltas ?? [];
  const open: { readonly frame: Frame; readonly from: number }[] = [];
  const toNs = (us: number) => Math.round(us * 1000) + clockOffsetNs + shiftNs;

  // Returns the time from which new frames may begin.
  const closeTo = (depth: number, sampledAt: number): number => {
    const now = Math.max(sampledAt, open.at(-1)?.from ?? 0);
    while (open.length > depth) {
      const { frame, from } = open.pop()!;
      const dur = formatMicroseconds(now - from);
      const where = `"pid":${pid},"tid":${tid},"ts":${formatMicroseconds(from)},"dur":${dur}`;
      emit(`{"ph":"X","cat":"python_function",${where},${frame.text}}`);
    }
    return now;
  };

  let us = profile.startTime;
  let last = 0;
  for (let i = 0; i < samples.length; i++) {
    us += deltas[i] ?? 0;
    // V8 may deliver a sample late, with a negative delta: time does not go back.
    const now = Math.max(toNs(us), last);
    last = now;
    const frame = frames.get(samples[i]!);
    const collecting = frame !== undefined && frame.parent === undefined && frame.text === `"name":"${COLLECTOR}"`;
    if (collecting) {
      // The collector interrupts the stack below it, which goes on afterwards.
      if (open.at(-1)?.frame !== frame) open.push({ frame, from: Math.max(now, (open.at(-1)?.from ?? 0) + 1) });
      continue;
    }
    const stack = stackOf(frame);
    let shared = 0;
    while (shared < open.length && shared < stack.length && open[shared]!.frame === stack[shared]) shared++;
    last = closeTo(shared, now);
    for (const inner of stack.slice(shared)) {
      open.push({ frame: inner, from: Math.max(last, (open.at(-1)?.from ?? 0) + 1) });
    }
  }
  closeTo(0, Math.max(toNs(profile.endTime), last));
}
