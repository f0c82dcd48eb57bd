// Notices a step that does not end. No timer runs while no step does.

export class Watchdog {
  #timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly seconds: number,
    private readonly onHang: () => void,
  ) {}

  /** A step begins, or the one after it. */
  restart(): void {
    if (this.#timer !== null) {
      this.#timer.refresh();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.onHang();
    }, this.seconds * 1000);
  }

  /** Nothing is running. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
