// When things happened to one request, in seconds from the start of its run: what every chart over time is drawn from.
import type { RequestRecord } from '../serving/load/request-record.js';

export interface RequestTimes {
  /** Of the request in the workload. */
  readonly index: number;
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

/** `outputLen`: of a success. `gaps`: those that the figures are made of. */
export function requestTimes(
  record: RequestRecord,
  start: number,
  outputLen: number,
  gaps: readonly number[],
): RequestTimes {
  const error = record.error === '' && record.interrupted ? 'interrupted' : record.error;
  return {
    index: record.index,
    due: record.arrivedAt - start,
    sent: record.sentAt - start,
    first: record.ttft === undefined ? undefined : record.sentAt - start + record.ttft,
    end: record.endedAt - start,
    promptLen: record.promptLen,
    outputLen: error === '' ? outputLen : 0,
    gaps,
    error,
  };
}

/** When each chunk of tokens came. */
export function chunkTimes({ first, gaps }: RequestTimes): number[] {
  if (first === undefined) return [];
  const times = [first];
  for (const gap of gaps) times.push(times.at(-1)! + gap);
  return times;
}
