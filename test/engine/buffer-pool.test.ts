import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferPool } from '#vitrine/engine/buffer-pool.js';

test('a buffer is large enough, by at most a quarter too large, and used again for a similar size', () => {
  const pool = new BufferPool();
  for (const words of [1, 63, 64, 65, 100, 1000, 1023, 1024, 1025, 50_000, 1_000_000]) {
    const buffer = pool.take(words);
    assert.ok(buffer.byteLength >= 4 * words && buffer.byteLength % 4 === 0);
    assert.ok(
      buffer.byteLength <= Math.max(4 * words + 256, 5 * words),
      `${buffer.byteLength} bytes for ${words} words`,
    );
    pool.give(buffer);
    assert.equal(pool.take(words), buffer);
    assert.notEqual(pool.take(words), buffer, 'a buffer in use is not handed out');
  }
});

test('neither very large buffers nor many of a size are kept', () => {
  const pool = new BufferPool();
  const large = pool.take(2 ** 21);
  pool.give(large);
  assert.notEqual(pool.take(2 ** 21), large);
  const given = Array.from({ length: 20 }, () => new ArrayBuffer(1024));
  for (const buffer of given) pool.give(buffer);
  const taken = Array.from({ length: 20 }, () => pool.take(256));
  assert.ok(taken.filter((buffer) => given.includes(buffer)).length <= 4);
});
