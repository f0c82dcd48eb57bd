import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFrame, FrameDecoder, MAX_FRAME_BYTES } from '#vitrine/messages/codec.js';
import { RandomChoices } from '../support/random-choices.js';

const MESSAGES: unknown[] = [
  { kind: 'state', id: 1 },
  { kind: 'generate', rid: 'ü→🙂', inputIds: Array.from({ length: 5000 }, (_, i) => i) },
  Uint8Array.from([1, 2, 3, 4, 255]).buffer,
  new ArrayBuffer(0),
  {},
  [],
  null,
  '',
  Int32Array.from({ length: 3000 }, (_, i) => i * i).buffer,
  { kind: 'with a buffer', names: ['ü→🙂'], payload: Uint8Array.from([0, 9, 255]).buffer },
  { payload: new ArrayBuffer(0) },
];

test('messages survive any cutting of the stream', () => {
  const random = new RandomChoices(5);
  const stream = Buffer.concat(MESSAGES.map(encodeFrame));
  for (let round = 0; round < 100; round++) {
    const decoder = new FrameDecoder();
    const received: unknown[] = [];
    for (let at = 0; at < stream.length; ) {
      const size = random.pick([0, 1, 2, 5, 7, 100, 4000, 65536]);
      received.push(...decoder.push(stream.subarray(at, at + size)));
      at += size;
    }
    assert.deepEqual(received, MESSAGES);
  }
});

test('bytes arrive in a buffer of their own, fit for 32-bit views', () => {
  const decoder = new FrameDecoder();
  const words = Int32Array.from([1, -2, 3]);
  const stream = Buffer.concat([encodeFrame({ a: 1 }), encodeFrame(words.buffer)]);
  const [, bytes] = decoder.push(stream);
  assert.ok(bytes instanceof ArrayBuffer);
  assert.deepEqual(new Int32Array(bytes), words);
  stream.fill(0);
  assert.deepEqual(new Int32Array(bytes), words);
});

function head(size: number, kind: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32LE(size, 0);
  bytes[4] = kind;
  return bytes;
}

test('a frame that cannot be is an error', () => {
  assert.throws(() => new FrameDecoder().push(head(MAX_FRAME_BYTES + 1, 0)), /exceeds the limit/);
  assert.throws(() => new FrameDecoder().push(head(1, 9)), /frame of kind 9/);
  assert.throws(() => new FrameDecoder().push(Buffer.concat([head(3, 0), Buffer.from('{]}')])), SyntaxError);
});
