// The checker of the tests is itself held against traces with one fault each: a checker that finds nothing proves nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CheckedTrace,
  expectedSteps,
  recordingProblems,
  stageProblems,
  stepCoverage,
  stepsOf,
} from '../support/trace-checker.js';

interface LooseEvent {
  ph: string;
  name: string;
  pid: number;
  tid: number;
  ts: number;
  [key: string]: unknown;
}
const span = (cat: string, name: string, ts: number, dur: number, args?: object): LooseEvent => ({
  ph: 'X',
  cat,
  name,
  pid: 1,
  tid: 1,
  ts,
  dur,
  ...(args && { args }),
});
const flow = (ph: string, id: number, ts: number): LooseEvent => ({
  ph,
  cat: 'request',
  name: 'request',
  pid: 1,
  tid: 1,
  ts,
  id,
  ...(ph === 'f' && { bp: 'e' }),
});
const name = (kind: string): LooseEvent => ({ ph: 'M', name: kind, pid: 1, tid: 1, ts: 0, args: { name: 'x' } });

/** Steps 5 to 5 + `count` - 1 of 100 µs, filled by two children of which one has a child of its own; one request. */
function recording(count: number): LooseEvent[] {
  const events = [name('process_name'), name('thread_name')];
  for (let i = 0; i < count; i++) {
    const ts = 1000 + 150 * i;
    const mode = i === 0 ? 'extend' : 'decode';
    const args = { step: 5 + i, mode, 'batch size': 2, tokens: i === 0 ? 9 : 2, 'cached tokens': 0 };
    events.push(
      span('user_annotation', 'step', ts, 100, args),
      span('cpu_op', 'layers.0', ts + 0.5, 60),
      span('cpu_op', 'gemm', ts + 1, 50),
      span('cpu_op', 'layers.1', ts + 60.5, 39),
      flow(i === 0 ? 's' : i === count - 1 ? 'f' : 't', 7, ts + 50),
    );
  }
  return events;
}

const traceOf = (traceEvents: LooseEvent[]): CheckedTrace => ({
  schemaVersion: 1,
  baseTimeNanoseconds: 1767189312000000000,
  displayTimeUnit: 'ms',
  traceName: 'x',
  deviceProperties: [],
  vitrine: { droppedRecords: 0 },
  traceEvents: traceEvents as unknown as CheckedTrace['traceEvents'],
});

test('a sound recording has no problems, also a large one', () => {
  const trace = traceOf(recording(4));
  assert.deepEqual(recordingProblems(trace), []);
  assert.deepEqual(expectedSteps(trace, 5, 4), []);
  assert.deepEqual(
    stepCoverage(trace).map(([{ step }, share]) => [step, Math.round(1000 * share)]),
    [5, 6, 7, 8].map((step) => [step, 990]),
  );
  assert.equal(stepsOf(trace)[1]?.cachedTokens, 0);
  assert.deepEqual(recordingProblems(traceOf(recording(20_000))), []);
});

test('every fault is found', () => {
  const faults: [RegExp, (events: LooseEvent[]) => void][] = [
    [/step 6: its children account for 60\.0 %/, (events) => events.splice(10, 1)],
    [/step 6: its children account for 97\.5 %/, (events) => Object.assign(events[10]!, { dur: 37.5 })],
    [/step 6: mode is "prefill"/, (events) => Object.assign(events[7]!.args as object, { mode: 'prefill' })],
    [/step 6: batch size is undefined/, (events) => delete (events[7]!.args as Record<string, unknown>)['batch size']],
    [/step 6: tokens is 1.5/, (events) => Object.assign(events[7]!.args as object, { tokens: 1.5 })],
    [/step 6: 3 tokens in a decode step/, (events) => Object.assign(events[7]!.args as object, { tokens: 3 })],
    [/step 6: cached tokens is -1/, (events) => Object.assign(events[7]!.args as object, { 'cached tokens': -1 })],
    [/step 5 comes after step 5/, (events) => Object.assign(events[7]!.args as object, { step: 5 })],
    [/step 6 begins inside step 5/, (events) => Object.assign(events[2]!, { dur: 170 })],
    [/gemm ends \d+ ns after layers\.0/, (events) => Object.assign(events[4]!, { dur: 70 })],
    [/1 starts, 0 ends/, (events) => events.pop()],
    [/0 starts, 1 ends/, (events) => events.splice(6, 1)],
    [/2 starts, 1 ends/, (events) => Object.assign(events[11]!, { ph: 's' })],
    [/no span around it/, (events) => Object.assign(events[11]!, { ts: 1140 })],
    [/no span around it/, (events) => Object.assign(events[11]!, { tid: 2 })],
    [/time goes back/, (events) => Object.assign(events[11]!, { ts: 1352 })],
    [/a point lies outside/, (events) => Object.assign(events.at(-1)!, { ts: 1202 })],
    [/does not bind to the span/, (events) => delete events.at(-1)!.bp],
    [/process 1 has no name/, (events) => events.shift()],
    [/is given 2 times/, (events) => events.push(name('thread_name'))],
    [/unknown ph "B"/, (events) => Object.assign(events[3]!, { ph: 'B' })],
  ];
  for (const [expected, spoil] of faults) {
    const events = structuredClone(recording(4));
    spoil(events);
    const problems = recordingProblems(traceOf(events));
    assert.ok(
      problems.some((problem) => expected.test(problem)),
      `${expected} is not among: ${problems.join('; ')}`,
    );
  }
  const dropped = { ...traceOf(recording(4)), vitrine: { droppedRecords: 3 } };
  assert.deepEqual(recordingProblems(dropped), ['dropped records: 3']);
});

test('a window of steps and of a stage is exact', () => {
  const trace = traceOf(recording(4));
  assert.deepEqual(expectedSteps(trace, 5, 3), ['steps 5,6,7,8 instead of 5,6,7']);
  assert.deepEqual(expectedSteps(trace, 4, 4), ['steps 5,6,7,8 instead of 4,5,6,7']);
  assert.deepEqual(stageProblems(trace, 'DECODE'), ['step 5 of mode extend in the window of DECODE']);
  assert.equal(stageProblems(trace, 'EXTEND').length, 3);
});
