// A channel over a duplex byte stream: the pipe between the front-end process and a rank process.
import type { Duplex } from 'node:stream';
import type { Channel } from './channel.js';
import { encodeFrame, FrameDecoder } from './codec.js';

export class SocketChannel<Out, In> implements Channel<Out, In> {
  readonly #socket: Duplex;
  readonly #decoder = new FrameDecoder();
  #inbox: In[] = [];
  #listener: ((message: In) => void) | null = null;
  #onClose: (() => void) | null = null;
  #closed = false;
  #corked = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => this.#closedByPeer()); // a broken pipe is a closed one
    socket.on('end', () => this.#closedByPeer());
    socket.on('close', () => this.#closedByPeer());
  }

  send(message: Out): void {
    if (this.#closed || this.#socket.destroyed) return;
    if (!this.#corked) {
      // What is sent in one turn of the event loop goes out in one write.
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(encodeFrame(message));
  }

  onMessage(listener: (message: In) => void): void {
    this.#listener = listener;
    queueMicrotask(() => {
      const inbox = this.#inbox;
      this.#inbox = [];
      for (const message of inbox) this.#listener!(message);
    });
  }

  onClose(listener: () => void): void {
    this.#onClose = listener;
    if (this.#closed) queueMicrotask(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.end();
  }

  #onData(chunk: Buffer): void {
    let messages: unknown[];
    try {
      messages = this.#decoder.push(chunk);
    } catch {
      this.#socket.destroy(); // nothing after a bad frame can be trusted
      return;
    }
    for (const message of messages) {
      if (this.#listener === null || this.#inbox.length > 0) this.#inbox.push(message as In);
      else this.#listener(message as In);
    }
  }

  #closedByPeer(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose?.();
  }
}
