// Notices a step that does not end. No timer runs while no step does.
import { VitrineError } from '../util/errors.js';

export class Watchdog {
  #timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly seconds: number,
    private readonly onHang: (error: VitrineError) => void,
  ) {}

  /** A step begins. */
  restart(): void {
    if (this.#timer === null) this.#timer = setTimeout(() => this.#expired(), this.seconds * 1000);
    else this.#timer.refresh();
  }

  /** No step is running. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #expired(): void {
    this.#timer = null;
    this.onHang(new VitrineError('ENGINE_FAILED', `A step did not end within ${this.seconds} s (--watchdog-timeout).`));
  }
}
