// Frames on a byte stream: a 4-byte little-endian length, then that many bytes of JSON.
import { VitrineError } from '../util/errors.js';

const LENGTH_BYTES = 4;
/** A prompt of a million tokens is some 7 MB of JSON; anything near this is a broken stream. */
export const MAX_FRAME_BYTES = 1 << 30;

export function encodeFrame(message: unknown): Buffer {
  const json = JSON.stringify(message);
  const size = Buffer.byteLength(json);
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + size);
  frame.writeUInt32LE(size, 0);
  frame.write(json, LENGTH_BYTES);
  return frame;
}

/** Cuts a byte stream into messages, whatever the sizes in which it arrives. */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #buffered = 0;
  #wanted = LENGTH_BYTES;
  #inBody = false;

  /** Messages that are complete with `chunk`. Throws on a frame that cannot be. */
  push(chunk: Buffer): unknown[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    const messages: unknown[] = [];
    while (this.#buffered >= this.#wanted) {
      const bytes = this.#take(this.#wanted);
      if (this.#inBody) {
        messages.push(JSON.parse(bytes.toString('utf8')));
        this.#wanted = LENGTH_BYTES;
      } else {
        this.#wanted = bytes.readUInt32LE(0);
        if (this.#wanted > MAX_FRAME_BYTES) {
          throw new VitrineError(
            'INTERNAL',
            `A frame of ${this.#wanted} bytes exceeds the limit of ${MAX_FRAME_BYTES}`,
          );
        }
      }
      this.#inBody = !this.#inBody;
    }
    return messages;
  }

  #take(count: number): Buffer {
    if (this.#chunks.length > 1 && this.#chunks[0]!.length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    const first = this.#chunks[0]!;
    this.#buffered -= count;
    if (first.length === count) {
      this.#chunks.shift();
      return first;
    }
    this.#chunks[0] = first.subarray(count);
    return first.subarray(0, count);
  }
}
