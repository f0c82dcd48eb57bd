// Says on a terminal that the client itself is at work, where that takes long: building a workload, counting tokens.
import { monotonicSeconds } from '../../util/clock.js';
import { streamNotice } from './wait-notice.js';

const FIRST_AFTER_SECONDS = 1;
const UPDATE_MS = 250;

export interface BusyTerminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/**
 * The result of `work`; after a second a line with the seconds so far, taken away at the end. `stream`: undefined or no
 * terminal shows nothing.
 */
export async function withBusyNotice<T>(
  what: string,
  stream: BusyTerminal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (stream?.isTTY !== true) return work();
  const started = monotonicSeconds();
  const notice = streamNotice(stream);
  const timer = setInterval(() => {
    const seconds = monotonicSeconds() - started;
    if (seconds >= FIRST_AFTER_SECONDS) notice.update(`${what}… ${Math.floor(seconds)} s`);
  }, UPDATE_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    notice.end();
  }
}
