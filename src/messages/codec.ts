// Frames on a byte stream: a 4-byte little-endian length, a byte that says what follows, then so many bytes of it:
// JSON for messages, raw bytes for buffers such as a ForwardBatch, both for a message with a buffer as its `payload`.
import { VitrineError } from '../util/errors.js';

const HEAD_BYTES = 5;
const KIND_JSON = 0;
const KIND_BYTES = 1;
/** A 4-byte length, so many bytes of JSON, then the bytes of the message's `payload`. */
const KIND_PAYLOAD = 2;
/** A prompt of a million tokens is some 7 MB of JSON; anything near this is a broken stream. */
export const MAX_FRAME_BYTES = 1 << 30;

/**
 * A message that is an ArrayBuffer, or has one as its `payload`, travels as bytes and arrives as an ArrayBuffer; any other
 * as JSON.
 */
export function encodeFrame(message: unknown): Buffer {
  if (message instanceof ArrayBuffer) return frameOf(KIND_BYTES, Buffer.from(message));
  const payload = (message as { payload?: unknown } | null)?.payload;
  if (payload instanceof ArrayBuffer) {
    return payloadFrame(JSON.stringify({ ...(message as object), payload: undefined }), payload);
  }
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

function payloadFrame(json: string, payload: ArrayBuffer): Buffer {
  const jsonBytes = Buffer.byteLength(json);
  const frame = emptyFrame(KIND_PAYLOAD, 4 + jsonBytes + payload.byteLength);
  frame.writeUInt32LE(jsonBytes, HEAD_BYTES);
  frame.write(json, HEAD_BYTES + 4);
  frame.set(new Uint8Array(payload), HEAD_BYTES + 4 + jsonBytes);
  return frame;
}

function messageOf(kind: number, bytes: Buffer): unknown {
  if (kind === KIND_JSON) return JSON.parse(bytes.toString('utf8'));
  if (kind === KIND_BYTES) return new Uint8Array(bytes).buffer;
  const jsonEnd = 4 + bytes.readUInt32LE(0);
  const message = JSON.parse(bytes.toString('utf8', 4, jsonEnd)) as object;
  return { ...message, payload: new Uint8Array(bytes.subarray(jsonEnd)).buffer };
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
      messages.push(messageOf(this.#kind, payload));
    }
  }

  #readHead(): void {
    const head = this.#take(HEAD_BYTES);
    const size = head.readUInt32LE(0);
    const kind = head[4]!;
    if (size > MAX_FRAME_BYTES) throw tooLarge(size);
    if (kind > KIND_PAYLOAD) {
      throw new VitrineError('INTERNAL', `A frame of kind ${kind}; expected ${KIND_JSON} to ${KIND_PAYLOAD}`);
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
