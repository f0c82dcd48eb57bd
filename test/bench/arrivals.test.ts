// Arrival times and the generator that keeps to them.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { arrivalTimes } from '#vitrine/bench/serving/load/arrivals.js';
import { generateLoad } from '#vitrine/bench/serving/load/load-generator.js';
import type { Behaviour } from '../support/fake-llm-server.js';
import { runServing } from '../support/serving-run.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const never = new AbortController().signal;

describe('arrival times', () => {
  test('an infinite rate sends everything at once', () => {
    assert.deepEqual([...arrivalTimes(3, Number.POSITIVE_INFINITY, 1)], [0, 0, 0]);
  });

  test('a finite rate is Poisson: the first at 0, gaps with the mean and spread of an exponential', () => {
    const times = arrivalTimes(20_001, 200, 3);
    assert.equal(times[0], 0);
    const gaps = Array.from(times.subarray(1), (time, i) => time - times[i]!);
    assert.ok(gaps.every((gap) => gap >= 0));
    const mean = 1 / 200;
    assert.ok(Math.abs(times.at(-1)! - 100) < 1e-9, 'the load is the one that was asked for');
    const spread = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
    assert.ok(Math.abs(spread / mean - 1) < 0.03, `spread ${spread}`);
  });

  test('depend on the seed alone', () => {
    assert.deepEqual(arrivalTimes(50, 10, 9), arrivalTimes(50, 10, 9));
    assert.notDeepEqual(arrivalTimes(50, 10, 9), arrivalTimes(50, 10, 8));
    // Another rate stretches the same arrivals.
    const slower = arrivalTimes(50, 5, 9).map((time) => time / 2);
    arrivalTimes(50, 10, 9).forEach((time, i) => {
      assert.ok(Math.abs(time - slower[i]!) < 1e-9);
    });
    assert.deepEqual([...arrivalTimes(1, 10, 9)], [0]);
  });
});

describe('load generator', () => {
  test('runs each request once, never more at a time than allowed, in order', async () => {
    let running = 0;
    let most = 0;
    const started: number[] = [];
    await generateLoad({
      arrivals: new Float64Array(20),
      maxConcurrency: 3,
      signal: never,
      send: async (index) => {
        started.push(index);
        running += 1;
        most = Math.max(most, running);
        await sleep(1 + (index % 3));
        running -= 1;
      },
    });
    assert.deepEqual(started, [...started.keys()]);
    assert.equal(started.length, 20);
    assert.equal(most, 3);
  });

  test('waits for arrival times and does not send before them', async () => {
    const arrivals = Float64Array.from([0, 0.01, 0.03, 0.03, 0.05]);
    const seen: { arrivedAt: number; now: number }[] = [];
    const start = await generateLoad({
      arrivals,
      maxConcurrency: Number.POSITIVE_INFINITY,
      signal: never,
      send: async (_, arrivedAt) => {
        seen.push({ arrivedAt, now: Number(process.hrtime.bigint()) / 1e9 });
      },
    });
    seen.forEach(({ arrivedAt, now }, i) => {
      assert.ok(Math.abs(arrivedAt - start - arrivals[i]!) < 1e-6);
      assert.ok(now >= arrivedAt - 1e-6, `request ${i} was early`);
    });
    assert.equal(seen.length, 5);
  });

  test('stops on interrupt: nothing new starts, what runs is waited for', async () => {
    const interrupt = new AbortController();
    const ended: number[] = [];
    await generateLoad({
      arrivals: Float64Array.from([0, 0, 0, 3600]),
      maxConcurrency: 2,
      signal: interrupt.signal,
      send: async (index) => {
        // Both have begun, and neither can have ended.
        if (index === 1) queueMicrotask(() => interrupt.abort());
        await sleep(10);
        ended.push(index);
      },
    });
    assert.deepEqual(ended.sort(), [0, 1]);
  });

  test('an interrupt while it waits for an arrival ends it', async () => {
    const interrupt = new AbortController();
    setTimeout(() => interrupt.abort(), 5);
    const send = async () => {};
    await generateLoad({ arrivals: Float64Array.from([0, 3600]), maxConcurrency: 1, signal: interrupt.signal, send });
  });
});

describe('a client that cannot keep up', () => {
  const FLAGS = ['--dataset-name', 'random-ids', '--num-prompts', '8', '--random-input', '6', '--random-output', '6'];

  /** Holds the thread of client and server while all the other requests are due. */
  const behave = (index: number): Behaviour => {
    const until = performance.now() + (index === 0 ? 200 : 0);
    while (performance.now() < until);
    return 'good';
  };

  test('says so, and its lateness is client queueing', async (context) => {
    const folder = await temporaryDirectory(context);
    const { row, warned } = await runServing([...FLAGS, '--request-rate', '100'], { folder, behave });
    assert.match(warned, /^The client sent requests late \(p99 \d+\.\d ms\): it lacks processor time$/);
    assert.ok((row.p99_client_queue_ms as number) > 20);
    assert.ok((row.achieved_request_rate as number) < 100);
  });

  test('waiting for --max-concurrency is not its fault', async (context) => {
    const folder = await temporaryDirectory(context);
    const flags = [...FLAGS, '--request-rate', '100', '--max-concurrency', '1'];
    const { row, warned } = await runServing(flags, { folder, behave });
    assert.equal(warned, '');
    assert.ok((row.p99_client_queue_ms as number) > 20);
  });
});
