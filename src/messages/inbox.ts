// What has come in over a channel and waits for its listener: kept in order, handed over one by one, the end told last.

export class Inbox<In> {
  #messages: In[] = [];
  #listener: ((message: In) => void) | null = null;
  #onClose: (() => void) | null = null;
  #ended = false;
  #scheduled = false;

  /** Delivery happens in a later microtask, never inside the call. */
  push(message: In): void {
    this.#messages.push(message);
    this.#schedule();
  }

  /** Nothing more will come. The close listener hears it after the last message. */
  end(): void {
    this.#ended = true;
    this.#schedule();
  }

  onMessage(listener: (message: In) => void): void {
    this.#listener = listener;
    this.#schedule();
  }

  onClose(listener: () => void): void {
    this.#onClose = listener;
    this.#schedule();
  }

  /** The owner has closed the channel itself: it wants neither messages nor the news of the end. */
  discard(): void {
    this.#messages = [];
    this.#listener = null;
    this.#onClose = null;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    let next = 0;
    try {
      while (this.#listener !== null && next < this.#messages.length) this.#listener(this.#messages[next++]!);
    } finally {
      this.#messages.splice(0, next);
      if (this.#messages.length > 0 && this.#listener !== null) this.#schedule(); // the listener threw
    }
    if (!this.#ended || this.#messages.length > 0 || this.#onClose === null) return;
    const tell = this.#onClose;
    this.#onClose = null;
    tell();
  }
}
