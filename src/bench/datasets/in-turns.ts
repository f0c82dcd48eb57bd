// Long loops over what a dataset is made of, that leave the rest of the process its turn.
import { setImmediate as eventLoop } from 'node:timers/promises';
import { monotonicSeconds } from '../../util/clock.js';
import { VitrineError } from '../../util/errors.js';

const TURN_SECONDS = 0.05;

/**
 * `items`, one by one; every 50 ms the event loop turns, so that Ctrl-C is heard and the notice on the terminal goes on.
 * @throws VitrineError ABORTED once `signal` has fired
 */
export async function* inTurns<T>(items: Iterable<T> | AsyncIterable<T>, signal?: AbortSignal): AsyncGenerator<T> {
  let turnEnds = monotonicSeconds() + TURN_SECONDS;
  for await (const item of items) {
    if (monotonicSeconds() > turnEnds) {
      await eventLoop();
      turnEnds = monotonicSeconds() + TURN_SECONDS;
    }
    if (signal?.aborted) {
      throw new VitrineError('ABORTED', 'Interrupted while the workload was built: there is nothing to report');
    }
    yield item;
  }
}
