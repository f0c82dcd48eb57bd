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

/** When each token came, on the clock of `sentAt`: the first, then one after each gap. */
export function tokenTimes(record: RequestRecord): number[] {
  if (record.ttft === undefined) return [];
  const times = [record.sentAt + record.ttft];
  for (const gap of record.gaps) times.push(times.at(-1)! + gap);
  return times;
}

/** Inter-token latencies: the recorded gaps, each shared among its chunk's tokens where these were counted. */
export function sharedGaps(gaps: readonly number[], tokens: readonly number[] | undefined): readonly number[] {
  if (tokens === undefined) return gaps;
  return gaps.flatMap((gap, i) => {
    const count = Math.max(1, tokens[i] ?? 1);
    return Array.from({ length: count }, () => gap / count);
  });
}
