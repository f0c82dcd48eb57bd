// The channel between front end and scheduler inside one process. Messages are handed over as they are, not copied.
import type { Channel, FrontendChannel, FrontendMessage, SchedulerChannel, SchedulerMessage } from './channel.js';
import { Inbox } from './inbox.js';

class LocalEnd<Out, In> implements Channel<Out, In> {
  peer: LocalEnd<In, Out> | null = null;
  readonly #inbox = new Inbox<In>();

  send(message: Out): void {
    if (this.peer !== null) this.peer.#inbox.push(message);
  }

  onMessage(listener: (message: In) => void): void {
    this.#inbox.onMessage(listener);
  }

  onClose(listener: () => void): void {
    this.#inbox.onClose(listener);
  }

  close(): void {
    const peer = this.peer;
    if (peer === null) return;
    this.peer = null;
    peer.peer = null;
    this.#inbox.discard();
    peer.#inbox.end();
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
