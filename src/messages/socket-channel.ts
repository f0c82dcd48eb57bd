// A channel over a duplex byte stream: the pipe between the front-end process and a rank process.
import type { Duplex } from 'node:stream';
import type { Channel } from './channel.js';
import { encodeFrame, FrameDecoder } from './codec.js';
import { Inbox } from './inbox.js';

export class SocketChannel<Out, In> implements Channel<Out, In> {
  readonly #socket: Duplex;
  readonly #decoder = new FrameDecoder();
  readonly #inbox = new Inbox<In>();
  #closed = false;
  #corked = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => this.#peerGone()); // a broken pipe is a closed one
    socket.on('end', () => this.#peerGone());
    socket.on('close', () => this.#peerGone());
  }

  send(message: Out): void {
    if (this.#closed || !this.#socket.writable) return;
    const frame = encodeFrame(message);
    if (!this.#corked) {
      // What is sent in one turn of the event loop goes out in one write.
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(frame);
  }

  onMessage(listener: (message: In) => void): void {
    this.#inbox.onMessage(listener);
  }

  onClose(listener: () => void): void {
    this.#inbox.onClose(listener);
  }

  /** What was sent before still goes out. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.discard();
    this.#socket.end();
    this.#socket.resume(); // a stream whose data nobody reads would never end
  }

  #onData(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      for (const message of this.#decoder.push(chunk)) this.#inbox.push(message as In);
    } catch {
      this.#peerGone();
      this.#socket.destroy(); // nothing after a bad frame can be trusted
    }
  }

  #peerGone(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.end();
    if (!this.#socket.destroyed) this.#socket.end();
  }
}
