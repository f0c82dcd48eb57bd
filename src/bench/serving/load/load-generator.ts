// Starts requests at their arrival times, at most so many at once, in the order of arrival.
import { monotonicSeconds } from '../../../util/clock.js';

export interface LoadPlan {
  /** Seconds after the start, ascending. */
  readonly arrivals: Float64Array;
  /** Most requests in flight. */
  readonly maxConcurrency: number;
  /** Nothing is started after it fires. */
  readonly signal: AbortSignal;
  /** Runs request `index`; must not reject. `arrivedAt` is when it should have begun, on the monotonic clock. */
  readonly send: (index: number, arrivedAt: number) => Promise<void>;
}

const LONGEST_SLEEP_MS = 2 ** 31 - 1;

// Timers count whole milliseconds and come about one late. So they wake the client a millisecond early, and the event loop
// turns, reading answers as they come, until the moment is there.
const TIMER_ERROR_MS = 1;

/** Resolves with the start time (monotonic seconds) once every request that was started has ended. */
export function generateLoad(plan: LoadPlan): Promise<number> {
  const { arrivals, maxConcurrency, signal, send } = plan;
  const start = monotonicSeconds();
  let next = 0;
  let inFlight = 0;
  let timer: NodeJS.Timeout | undefined;
  let turn: NodeJS.Immediate | undefined;
  return new Promise((resolve) => {
    const advance = (): void => {
      clearTimeout(timer);
      clearImmediate(turn);
      while (!signal.aborted && next < arrivals.length && inFlight < maxConcurrency) {
        const arrivedAt = start + arrivals[next]!;
        const waitMs = (arrivedAt - monotonicSeconds()) * 1000;
        if (waitMs > TIMER_ERROR_MS) {
          timer = setTimeout(advance, Math.min(waitMs - TIMER_ERROR_MS, LONGEST_SLEEP_MS));
          return;
        }
        if (waitMs > 0) {
          turn = setImmediate(advance);
          return;
        }
        inFlight += 1;
        void send(next, arrivedAt).then(() => {
          inFlight -= 1;
          advance();
        });
        next += 1;
      }
      if (inFlight === 0 && (signal.aborted || next === arrivals.length)) {
        signal.removeEventListener('abort', advance);
        resolve(start);
      }
    };
    signal.addEventListener('abort', advance);
    advance();
  });
}
