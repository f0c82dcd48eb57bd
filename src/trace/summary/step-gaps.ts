// What happened between steps: idle time of the engine, split by who kept it waiting, as far as the trace tells.

import type { Interval } from '../read/trace-loader.js';
import { subtract, totalOf, unionOf } from './interval-set.js';

/** In the order of blame: time that fits several goes to the first. */
export const GAP_CAUSES = [
  'scheduler',
  'tokenizer',
  'http',
  'nothing to do',
  'requests waiting',
  'not in the trace',
] as const;
export type GapCause = (typeof GAP_CAUSES)[number];

/** The steps of one engine thread, and who else was at work. All in ns. */
export interface StepTrack {
  readonly steps: readonly Interval[];
  /** Spans of the same process. */
  readonly scheduler: readonly Interval[];
}

export interface GapAnalysis {
  /** Lengths of the gaps. */
  readonly gaps: readonly number[];
  readonly byCause: ReadonlyMap<GapCause, number>;
  /** From the first step's begin to the last one's end, over all tracks. */
  readonly span: number;
}

/**
 * Gaps are between steps that follow each other on one track. What no span explains is "nothing to do" while no request
 * was alive, "requests waiting" while one was, and "not in the trace" where the trace has no requests.
 */
export function analyseGaps(
  tracks: readonly StepTrack[],
  others: {
    readonly tokenizer: readonly Interval[];
    readonly http: readonly Interval[];
    readonly requests: readonly Interval[];
  },
): GapAnalysis {
  const tokenizer = unionOf(others.tokenizer);
  const http = unionOf(others.http);
  const requests = unionOf(others.requests);
  const byCause = new Map<GapCause, number>(GAP_CAUSES.map((cause) => [cause, 0]));
  const blame = (cause: GapCause, ns: number) => byCause.set(cause, byCause.get(cause)! + ns);
  const gaps: number[] = [];
  let span = 0;
  for (const { steps, scheduler } of tracks) {
    const busy = unionOf(steps);
    if (busy.length === 0) continue;
    const whole = { begin: busy[0]!.begin, end: busy.at(-1)!.end };
    span += whole.end - whole.begin;
    let left = subtract([whole], busy);
    gaps.push(...left.map(({ begin, end }) => end - begin));
    const take = (cause: GapCause, union: readonly Interval[]) => {
      const rest = subtract(left, union);
      blame(cause, totalOf(left) - totalOf(rest));
      left = rest;
    };
    take('scheduler', unionOf(scheduler));
    take('tokenizer', tokenizer);
    take('http', http);
    if (requests.length === 0) {
      blame('not in the trace', totalOf(left));
    } else {
      take('requests waiting', requests);
      blame('nothing to do', totalOf(left));
    }
  }
  return { gaps, byCause, span };
}
