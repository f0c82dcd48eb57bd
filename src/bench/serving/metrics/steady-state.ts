// The steady state of a run: the time after its ramp-up and before its drain.
//
// Ramp-up ends when as many conversations have ended as ever ran at once: every place has been filled anew once on
// average, so the burst at the start is over. The drain begins when the last conversation is sent. (A request without
// further turns is a conversation of one.) The rule needs no threshold and holds for closed and open loads alike;
// SGLang's (#30918), the longest time above a share of the peak, keeps the first burst, and under random arrivals picks the
// busiest spell.
import { concatenate, Sample, sum } from '../../statistics/statistics.js';
import { isSuccess, type RequestRecord } from '../load/request-record.js';
import { computeGoodput, type Goodput, type Objectives } from './goodput.js';
import type { MeasuredRun } from './measured-run.js';
import { type InFlight, peakConcurrency } from './peaks.js';
import { chunkTimes, latenciesOf, outputLength, sharedGaps } from './request-figures.js';

/** On the clock of the records. What happens at `end` is inside, at `start` it is not. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

export interface NoSteadyState {
  readonly window: undefined;
  readonly reason: string;
}

export interface SteadyState {
  readonly window: Window;
  /** Requests that were sent in it; latencies but ITL are theirs, throughout their lives. */
  readonly requests: number;
  /** Requests that succeeded in it, whenever they were sent. */
  readonly completed: number;
  readonly requestThroughput: number;
  /** Prompts of the successes that were sent in it. */
  readonly inputThroughput: number;
  /** Tokens that arrived in it. */
  readonly outputTokens: number;
  readonly outputThroughput: number;
  readonly totalThroughput: number;
  /** Mean requests in flight, and of the window's two halves. */
  readonly concurrency: number;
  readonly concurrencyOfHalves: readonly [number, number];
  readonly ttft: Sample;
  readonly tpot: Sample;
  /** Gaps that ended in the window, of all successes. */
  readonly itl: Sample;
  readonly e2e: Sample;
  /** Of the requests that ended in it, as the request throughput. */
  readonly goodput: Goodput | undefined;
}

/** A server that falls behind has no steady state, however long the window. */
const STEADY_GROWTH = 1.25;

export function steadyState(run: MeasuredRun, objectives: Objectives | undefined): SteadyState | NoSteadyState {
  const found = findWindow(run.records);
  return found.window === undefined ? found : figuresOf(run, found.window, objectives);
}

/** Whether more and more requests were in flight. */
export function isGrowing({ concurrencyOfHalves: [first, second] }: SteadyState): boolean {
  return second > STEADY_GROWTH * first;
}

function findWindow(records: readonly RequestRecord[]): { readonly window: Window } | NoSteadyState {
  const conversations = inFlightByConversation(records);
  // Failures that took no time at all were never in flight together.
  const places = Math.max(1, peakConcurrency(conversations));
  const none = (reason: string): NoSteadyState => ({ window: undefined, reason });
  if (conversations.length === 0) return none('no request was sent');
  if (conversations.length <= places) return none(`all ${conversations.length} requests were in flight at once`);
  const start = conversations.map(({ endedAt }) => endedAt).sort((a, b) => a - b)[places - 1]!;
  const sent = conversations.map(({ sentAt }) => sentAt).filter((time) => time > start);
  if (sent.length >= places) return { window: { start, end: sent.reduce((a, b) => Math.max(a, b)) } };
  const fewer = `${sent.length} requests were sent after ${places} had ended, and ${places} ran at once`;
  return none(`${fewer}: at least as many as run at once must follow (about 3 × ${places} in all)`);
}

function inFlightByConversation(records: readonly RequestRecord[]): InFlight[] {
  const conversations = new Map<number, InFlight>();
  for (const { index, sentAt, endedAt } of records) {
    const known = conversations.get(index) ?? { sentAt, endedAt };
    conversations.set(index, {
      sentAt: Math.min(known.sentAt, sentAt),
      endedAt: Math.max(known.endedAt, endedAt),
    });
  }
  return [...conversations.values()];
}

function figuresOf(run: MeasuredRun, window: Window, objectives: Objectives | undefined): SteadyState {
  const { records, retokenized, gapTokens } = run;
  const { start, end } = window;
  const duration = end - start;
  const isInside = (time: number): boolean => time > start && time <= end;
  const positions = [...records.keys()];
  const sent = positions.filter((i) => isInside(records[i]!.sentAt));
  const lengthOf = (i: number): number => outputLength(records[i]!, retokenized[i]!);
  const answered = sent.filter((i) => isSuccess(records[i]!));
  const ofSent = answered.map((i) => records[i]!);
  const { e2e, ttft, tpot } = latenciesOf(ofSent, answered.map(lengthOf));
  const inputThroughput = sum(ofSent.map(({ promptLen }) => promptLen)) / duration;
  let outputTokens = 0;
  const gaps: (readonly number[])[] = [];
  for (const i of positions.filter((position) => isSuccess(records[position]!))) {
    const times = chunkTimes(records[i]!);
    const inside = times.filter(isInside).length;
    // Where a chunk carries several tokens there are fewer times than tokens: each stands for an equal share.
    if (inside > 0) outputTokens += (lengthOf(i) * inside) / times.length;
    const endsInside = (_: number, gap: number): boolean => isInside(times[gap + 1]!);
    gaps.push(sharedGaps(records[i]!.gaps.filter(endsInside), gapTokens?.[i]?.filter(endsInside)));
  }
  const ended = positions.filter((i) => isInside(records[i]!.endedAt));
  const ofEnded = { records: ended.map((i) => records[i]!), retokenized: ended.map((i) => retokenized[i]!) };
  const completed = ofEnded.records.filter(isSuccess).length;
  const middle = (start + end) / 2;
  return {
    window,
    requests: sent.length,
    completed,
    requestThroughput: completed / duration,
    inputThroughput,
    outputTokens,
    outputThroughput: outputTokens / duration,
    totalThroughput: inputThroughput + outputTokens / duration,
    concurrency: meanConcurrency(records, window),
    concurrencyOfHalves: [
      meanConcurrency(records, { start, end: middle }),
      meanConcurrency(records, { start: middle, end }),
    ],
    ttft: new Sample(ttft),
    tpot: new Sample(tpot),
    itl: new Sample(concatenate(gaps)),
    e2e: new Sample(e2e),
    goodput: objectives && computeGoodput(ofEnded, objectives, duration),
  };
}

function meanConcurrency(records: readonly InFlight[], { start, end }: Window): number {
  const overlaps = records.map(({ sentAt, endedAt }) => Math.min(endedAt, end) - Math.max(sentAt, start));
  return sum(overlaps.map((seconds) => Math.max(0, seconds))) / (end - start);
}
