import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AsyncQueue } from '#vitrine/util/queue.js';

test('values come out in the order in which they went in, before and during iteration', async () => {
  const queue = new AsyncQueue<number>();
  queue.push(1);
  queue.push(2);
  const seen: number[] = [];
  const reading = (async () => {
    for await (const value of queue) {
      seen.push(value);
      if (value === 2) {
        setImmediate(() => {
          queue.push(3);
          queue.push(4);
        });
      }
      if (value === 4) queue.end();
    }
  })();
  await reading;
  assert.deepEqual(seen, [1, 2, 3, 4]);
});

test('what was pushed before the end can still be taken, what comes after is dropped', async () => {
  const queue = new AsyncQueue<string>();
  queue.push('last');
  queue.end();
  queue.push('too late');
  const seen: string[] = [];
  for await (const value of queue) seen.push(value);
  assert.deepEqual(seen, ['last']);
});

test('the end wakes a reader that waits', async () => {
  const queue = new AsyncQueue<number>();
  const next = queue[Symbol.asyncIterator]().next();
  queue.end();
  assert.deepEqual(await next, { done: true, value: undefined });
});
