// The channel between front end and scheduler inside one process.
import type { Channel, FrontendChannel, FrontendMessage, SchedulerChannel, SchedulerMessage } from './channel.js';

class LocalEnd<Out, In> implements Channel<Out, In> {
  peer!: LocalEnd<In, Out>;
  #inbox: In[] = [];
  #listener: ((message: In) => void) | null = null;
  #onClose: (() => void) | null = null;
  #delivering = false;
  #closed = false;
  #closeTold = false;

  send(message: Out): void {
    if (!this.#closed) this.peer.#receive(message);
  }

  onMessage(listener: (message: In) => void): void {
    this.#listener = listener;
    this.#schedule();
  }

  onClose(listener: () => void): void {
    this.#onClose = listener;
    this.#schedule();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeTold = true; // whoever closes knows it
    this.peer.#peerClosed();
  }

  #receive(message: In): void {
    this.#inbox.push(message);
    this.#schedule();
  }

  #peerClosed(): void {
    this.#closed = true;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    queueMicrotask(() => {
      this.#delivering = false;
      if (this.#listener !== null) {
        const inbox = this.#inbox;
        this.#inbox = [];
        for (const message of inbox) this.#listener(message);
      }
      if (this.#closed && !this.#closeTold && this.#onClose !== null && this.#inbox.length === 0) {
        this.#closeTold = true;
        this.#onClose();
      }
    });
  }
}

/** Two joined ends. What one side sends, the other hears in a later microtask. */
export function createLocalChannel(): { frontend: FrontendChannel; scheduler: SchedulerChannel } {
  const frontend = new LocalEnd<SchedulerMessage, FrontendMessage>();
  const scheduler = new LocalEnd<FrontendMessage, SchedulerMessage>();
  frontend.peer = scheduler;
  scheduler.peer = frontend;
  return { frontend, scheduler };
}
