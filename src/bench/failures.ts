// Requests that failed, grouped by message.

const MOST_KINDS = 10;

/** Message → how many there are of it, the most frequent first. */
export function countFailures(messages: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const message of messages) counts.set(message, (counts.get(message) ?? 0) + 1);
  return Object.fromEntries([...counts].sort((a, b) => b[1] - a[1]));
}

/** Lines for people; none where nothing failed. `requests`: all there were. */
export function renderFailures(messages: readonly string[], requests: number): string[] {
  if (messages.length === 0) return [];
  const kinds = Object.entries(countFailures(messages));
  const lines = kinds.slice(0, MOST_KINDS).map(([message, times]) => `  ${times} × ${message}`);
  const rest = kinds.length > MOST_KINDS ? [`  … and ${kinds.length - MOST_KINDS} other messages`] : [];
  return [`${messages.length} of ${requests} requests failed:`, ...lines, ...rest];
}
