// When things happened to one request, in seconds from the start of its run: what every chart over time is drawn from.
import { isSuccess } from '../serving/load/request-record.js';
import type { MeasuredRun } from '../serving/metrics/measured-run.js';
import { outputLength, sharedGaps, timesFrom } from '../serving/metrics/request-figures.js';

export interface RequestTimes {
  /** Of the request in the workload. */
  readonly index: number;
  /** Of the conversation: 0 for the first. */
  readonly turn: number;
  readonly due: number;
  readonly sent: number;
  /** First token; undefined where none came. */
  readonly first: number | undefined;
  readonly end: number;
  readonly promptLen: number;
  /** Generated tokens; 0 for a request that failed. */
  readonly outputLen: number;
  /** Seconds between tokens, from the first token on. */
  readonly gaps: readonly number[];
  /** Why it is no success; '' for one. */
  readonly error: string;
}

/** Of every request that was sent. */
export function timesOf({ records, retokenized, gapTokens, start }: MeasuredRun): RequestTimes[] {
  return records.map((record, i) => {
    const isGood = isSuccess(record);
    return {
      index: record.index,
      turn: record.turn,
      due: record.arrivedAt - start,
      sent: record.sentAt - start,
      first: record.ttft === undefined ? undefined : record.sentAt - start + record.ttft,
      end: record.endedAt - start,
      promptLen: record.promptLen,
      outputLen: isGood ? outputLength(record, retokenized[i]!) : 0,
      gaps: sharedGaps(record.gaps, gapTokens?.[i]),
      error: record.error === '' && record.interrupted ? 'interrupted' : record.error,
    };
  });
}

/** When each chunk of tokens came. */
export function chunkTimes({ first, gaps }: RequestTimes): number[] {
  return first === undefined ? [] : timesFrom(first, gaps);
}
