// What a bench says of requests that failed: how often each message came, for people and for its result row.
import { sum } from '../statistics/statistics.js';

const MOST_KINDS = 10;

/** Message → requests that failed with it, most frequent first. `errors`: one of each failed request. */
export function countFailures(errors: Iterable<string>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const error of errors) counts.set(error, (counts.get(error) ?? 0) + 1);
  return new Map([...counts].sort((a, b) => b[1] - a[1]));
}

/** Lines for people; none where nothing failed. `requests`: failed or not. */
export function renderFailures(counts: ReadonlyMap<string, number>, requests: number): string[] {
  if (counts.size === 0) return [];
  const lines = [...counts].slice(0, MOST_KINDS).map(([message, times]) => `  ${times} × ${message}`);
  const rest = counts.size > lines.length ? [`  … and ${counts.size - lines.length} other messages`] : [];
  return [`${sum([...counts.values()])} of ${requests} requests failed:`, ...lines, ...rest];
}
