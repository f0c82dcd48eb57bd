// Figures of one request.
import type { RequestRecord } from '../load/request-record.js';

/** Generated tokens of a successful request: the server's count, else that of its text. */
export function outputLength(record: RequestRecord, retokenized: number): number {
  return record.completionTokens ?? retokenized;
}

/** TPOT in seconds; undefined for fewer than two tokens. */
export function timePerOutputToken(record: RequestRecord, tokens: number): number | undefined {
  if (tokens <= 1 || record.ttft === undefined) return undefined;
  return (record.endedAt - record.sentAt - record.ttft) / (tokens - 1);
}

/** When each chunk of tokens came, on the clock of `sentAt`. */
export function chunkTimes({ sentAt, ttft, gaps }: RequestRecord): number[] {
  return ttft === undefined ? [] : timesFrom(sentAt + ttft, gaps);
}

/** The first time, then one after each gap. */
export function timesFrom(first: number, gaps: readonly number[]): number[] {
  const times = [first];
  let last = first;
  for (const gap of gaps) {
    last += gap;
    times.push(last);
  }
  return times;
}

/** Inter-token latencies: the recorded gaps, each shared among its chunk's tokens where these were counted. */
export function sharedGaps(gaps: readonly number[], tokens: readonly number[] | undefined): readonly number[] {
  if (tokens === undefined) return gaps;
  const shared: number[] = [];
  for (const [i, gap] of gaps.entries()) {
    const count = Math.max(1, tokens[i] ?? 1);
    for (let token = 0; token < count; token++) shared.push(gap / count);
  }
  return shared;
}

/**
 * When each of `tokens` tokens came. A chunk may hold several, or an unknown number: then they are shared evenly among the
 * chunks, in whole tokens.
 */
export function tokenTimes(record: RequestRecord, tokens: number): Float64Array {
  const chunks = chunkTimes(record);
  if (chunks.length === 0) return new Float64Array(0);
  if (chunks.length === tokens) return new Float64Array(chunks);
  return Float64Array.from({ length: tokens }, (_, token) => chunks[Math.floor((token * chunks.length) / tokens)]!);
}

export interface RequestLatencies {
  readonly e2e: readonly number[];
  readonly ttft: readonly number[];
  readonly tpot: readonly number[];
}

/** Seconds, of successful requests; those without a token have no TTFT, those with fewer than two no TPOT. */
export function latenciesOf(records: readonly RequestRecord[], lengths: readonly number[]): RequestLatencies {
  return {
    e2e: records.map((record) => record.endedAt - record.sentAt),
    ttft: records.flatMap(({ ttft }) => ttft ?? []),
    tpot: records.flatMap((record, i) => timePerOutputToken(record, lengths[i]!) ?? []),
  };
}
