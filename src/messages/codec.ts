// Frames on a byte stream: a 4-byte little-endian length, a byte that says what follows, then so many bytes of it:
// JSON for messages, raw bytes for buffers such as a ForwardBatch.
import { VitrineError } from '../util/errors.js';

const HEAD_BYTES = 5;
const KIND_JSON = 0;
const KIND_BYTES = 1;
/** A prompt of a million tokens is some 7 MB of JSON; anything near this is a broken stream. */
export const MAX_FRAME_BYTES = 1 << 30;

/** A message that is an ArrayBuffer travels as its bytes and arrives as an ArrayBuffer; any other as JSON. */
export function encodeFrame(message: unknown): Buffer {
  if (message instanceof ArrayBuffer) return frameOf(KIND_BYTES, Buffer.from(message));
  const json = JSON.stringify(message);
  const size = Buffer.byteLength(json);
  const frame = emptyFrame(KIND_JSON, size);
  frame.write(json, HEAD_BYTES);
  return frame;
}

function frameOf(kind: number, payload: Buffer): Buffer {
  const frame = emptyFrame(kind, payload.length);
  payload.copy(frame, HEAD_BYTES);
  return frame;
}

function emptyFrame(kind: number, size: number): Buffer {
  if (size > MAX_FRAME_BYTES) throw tooLarge(size);
  const frame = Buffer.allocUnsafe(HEAD_BYTES + size);
  frame.writeUInt32LE(size, 0);
  frame[4] = kind;
  return frame;
}

function tooLarge(size: number): VitrineError {
  return new VitrineError('INTERNAL', `A frame of ${size} bytes exceeds the limit of ${MAX_FRAME_BYTES}`);
}

/** Cuts a byte stream into messages, whatever the sizes in which it arrives. After an error it cannot go on. */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Size of the payload whose head has been read; -1 between frames. */
  #size = -1;
  #kind = KIND_JSON;

  /** Messages that are complete with `chunk`. Throws on a frame that cannot be. */
  push(chunk: Buffer): unknown[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    const messages: unknown[] = [];
    for (;;) {
      if (this.#size < 0) {
        if (this.#buffered < HEAD_BYTES) return messages;
        this.#readHead();
      }
      if (this.#buffered < this.#size) return messages;
      const payload = this.#take(this.#size);
      this.#size = -1;
      messages.push(this.#kind === KIND_JSON ? JSON.parse(payload.toString('utf8')) : new Uint8Array(payload).buffer);
    }
  }

  #readHead(): void {
    const head = this.#take(HEAD_BYTES);
    const size = head.readUInt32LE(0);
    const kind = head[4]!;
    if (size > MAX_FRAME_BYTES) throw tooLarge(size);
    if (kind !== KIND_JSON && kind !== KIND_BYTES) {
      throw new VitrineError('INTERNAL', `A frame of kind ${kind}; expected ${KIND_JSON} or ${KIND_BYTES}`);
    }
    this.#size = size;
    this.#kind = kind;
  }

  /** The next `count` buffered bytes. Joins chunks only when a frame is complete, so long frames cost one copy. */
  #take(count: number): Buffer {
    if (this.#chunks.length > 1 && this.#chunks[0]!.length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    this.#buffered -= count;
    const first = this.#chunks[0];
    if (first === undefined) return Buffer.alloc(0);
    if (first.length === count) {
      this.#chunks.shift();
      return first;
    }
    this.#chunks[0] = first.subarray(count);
    return first.subarray(0, count);
  }
}
