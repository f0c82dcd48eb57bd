// Makes profile ids: the time, as Python's str(time.time()) writes it (`1769071195.6634595`), each a later one.
import { monotonicToWallNs } from '../../trace/trace-clock.js';
import { monotonicNs } from '../../util/clock.js';

/** Seconds; well above the distance of two doubles of today's size. */
const SMALLEST_STEP = 1e-6;

export class ProfileIdSource {
  #last = 0;

  next(): string {
    const now = Number(monotonicNs() + monotonicToWallNs()) / 1e9;
    this.#last = Math.max(now, this.#last + SMALLEST_STEP);
    const text = String(this.#last);
    return Number.isInteger(this.#last) ? `${text}.0` : text;
  }
}
