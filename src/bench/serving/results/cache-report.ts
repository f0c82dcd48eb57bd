// --cache-report: how many prompt tokens came from the server's prefix cache, by its own count.

import { sum } from '../../statistics/statistics.js';
import { heading, row } from '../../terminal/console-block.js';
import { isSuccess, type RequestRecord } from '../load/request-record.js';

/** Snake case: it is a part of the result row. */
export interface CacheReport {
  readonly total_cached_tokens: number;
  /** Of the requests whose answers told what was cached. */
  readonly total_prompt_tokens: number;
  /** Cached / prompt tokens, 0 to 1. */
  readonly cache_hit_rate: number;
  readonly requests_with_report: number;
  /** Requests with at least one cached token. */
  readonly requests_with_hit: number;
}

/** null where no answer told. */
export function cacheReport(records: readonly RequestRecord[]): CacheReport | null {
  const told = records.filter((record) => isSuccess(record) && record.cachedTokens !== undefined);
  if (told.length === 0) return null;
  const cached = sum(told.map((record) => record.cachedTokens!));
  const prompt = sum(told.map((record) => record.promptTokens ?? record.promptLen));
  return {
    total_cached_tokens: cached,
    total_prompt_tokens: prompt,
    cache_hit_rate: prompt > 0 ? cached / prompt : 0,
    requests_with_report: told.length,
    requests_with_hit: told.filter((record) => record.cachedTokens! > 0).length,
  };
}

/** The section of the console block. */
export function renderCacheReport(records: readonly RequestRecord[]): string[] {
  const report = cacheReport(records);
  const title = heading('Cache Hit Details', '-');
  if (report === null) return [title, 'No answer told what was cached (SGLang: --enable-cache-report)'];
  return [
    title,
    row('Total prompt tokens:', String(report.total_prompt_tokens)),
    row('Total cached tokens:', String(report.total_cached_tokens)),
    row('Cache hit rate (%):', (report.cache_hit_rate * 100).toFixed(2)),
    row('Requests with a hit:', `${report.requests_with_hit} of ${report.requests_with_report}`),
  ];
}
