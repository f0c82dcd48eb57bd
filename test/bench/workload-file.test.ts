// Saved workloads: the same bytes for the same seed, the same requests at the same times when they are sent again.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { BenchRequest } from '#vitrine/bench/datasets/bench-request.js';
import { loadWorkload } from '#vitrine/bench/datasets/load-workload.js';
import { readWorkload, saveWorkload } from '#vitrine/bench/datasets/workload-file.js';
import { arrivalTimes, scheduleWorkload } from '#vitrine/bench/serving/load/arrivals.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_SERVING } from '#vitrine/config/programs.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { readRows, runServing } from '../support/serving-run.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));

const RANDOM = ['--dataset-name', 'random', '--num-prompts', '6', '--random-input', '9', '--random-output', '6'];

describe('the file', () => {
  const REQUESTS: BenchRequest[] = [
    { prompt: 'text', promptLen: 1, outputLen: 2 },
    { prompt: [3, 4], promptLen: 2, outputLen: 3, routingKey: 'k', lora: 'l' },
    {
      prompt: [{ role: 'user', content: 'hi' }],
      promptLen: 1,
      outputLen: 1,
      body: { seed: 3 },
      followUps: [{ text: 'more', tokens: 1, outputLen: 9 }],
    },
  ];

  test('holds everything of a request, and when it came', async (context) => {
    const path = join(await temporaryDirectory(context), 'w.jsonl');
    const times = Float64Array.from([0, 1 / 3, 2]);
    await saveWorkload(path, { requests: REQUESTS, skipped: {} }, times, { seed: 7, 'dataset-name': 'x' });
    const { requests, skipped } = await readWorkload(path);
    assert.deepEqual(
      requests,
      REQUESTS.map((request, i) => ({ ...request, timestamp: times[i] })),
    );
    assert.deepEqual(skipped, {});
    const [header] = await readRows(path);
    const flags = { seed: 7, 'dataset-name': 'x' };
    assert.deepEqual(header, { format: 'vitrine-workload', version: 1, seed: 7, flags });
  });

  test('odd rows are counted, other files refused', async (context) => {
    const path = join(await temporaryDirectory(context), 'w.jsonl');
    const header = { format: 'vitrine-workload', version: 1 };
    const good = { at: 0, prompt: 'x', prompt_len: 1, output_len: 1 };
    const odd = [
      { ...good, at: 'now' },
      { ...good, at: -1 },
      { ...good, prompt: 3 },
      { ...good, prompt: [] },
      { ...good, prompt: [1, 'x'] },
      { ...good, output_len: 1.5 },
      { ...good, follow_ups: [{ text: 'x' }] },
      { ...good, body: [] },
      { ...good, routing_key: 1 },
      { ...good, lora: 1 },
      7,
    ];
    const write = (...rows: unknown[]) => writeFile(path, rows.map((row) => JSON.stringify(row)).join('\n'));
    await write(header, ...odd, good);
    const { requests, skipped } = await readWorkload(path);
    assert.equal(requests.length, 1);
    assert.deepEqual(skipped, {
      'prompt is neither text nor token ids nor messages': 3,
      'at is no time': 2,
      'prompt_len or output_len is no number of tokens': 1,
      'follow_ups is not a list of {text, tokens, output_len}': 1,
      'body is not an object': 1,
      'routing_key is not text': 1,
      'lora is not text': 1,
      'row is not an object': 1,
    });
    const refused = (message: RegExp) => assert.rejects(readWorkload(path), { code: 'INVALID_OPTION', message });
    await write(good);
    await refused(/w\.jsonl: expected a file of --save-workload, but its first line is no header$/);
    await write({ ...header, version: 2 }, good);
    await refused(/it has version number 2 and this program reads 1$/);
    await writeFile(path, '');
    await refused(/but it is empty$/);
    const nowhere = join(path, 'below-a-file');
    await assert.rejects(saveWorkload(nowhere, { requests: [], skipped: {} }, new Float64Array(), {}), {
      code: 'INVALID_OPTION',
      message: /^--save-workload .*below-a-file: ENOTDIR/,
    });
  });
});

describe('arrival times', () => {
  const at = (timestamp: number) => ({ prompt: 'x', promptLen: 1, outputLen: 1, timestamp });
  const timed = { requests: [at(5), at(4), at(6.5)], skipped: {} };
  const untimed = { requests: [{ prompt: 'x', promptLen: 1, outputLen: 1 }, at(1)], skipped: {} };
  const INF = Number.POSITIVE_INFINITY;

  test('are those of the dataset unless a finite rate is asked for', () => {
    const trace = scheduleWorkload(timed, { requestRate: INF, useTraceTimestamps: false, seed: 1 });
    assert.deepEqual([[...trace.arrivals], trace.rate], [[0, 1, 2.5], 'trace']);
    assert.deepEqual(trace.requests, [at(4), at(5), at(6.5)]);
    const drawn = scheduleWorkload(timed, { requestRate: 10, useTraceTimestamps: false, seed: 1 });
    assert.deepEqual([drawn.arrivals, drawn.rate], [arrivalTimes(3, 10, 1), 10]);
    assert.deepEqual(drawn.requests, timed.requests);
    const insisted = scheduleWorkload(timed, { requestRate: 10, useTraceTimestamps: true, seed: 1 });
    assert.deepEqual([[...insisted.arrivals], insisted.rate], [[0, 1, 2.5], 'trace']);
  });

  test('a dataset without them is sent by the rate, and refused where they are insisted on', () => {
    const plain = scheduleWorkload(untimed, { requestRate: INF, useTraceTimestamps: false, seed: 1 });
    assert.deepEqual([[...plain.arrivals], plain.rate], [[0, 0], INF]);
    assert.throws(() => scheduleWorkload(untimed, { requestRate: INF, useTraceTimestamps: true, seed: 1 }), {
      code: 'INVALID_OPTION',
      message: /^--use-trace-timestamps needs a dataset whose requests have timestamps/,
    });
  });
});

describe('save and send again', () => {
  test('the same requests, with the same bodies, in the same order, at the same times', async (context) => {
    const folder = await temporaryDirectory(context);
    const [path, again] = [join(folder, 'w.jsonl'), join(folder, 'again.jsonl')];
    // One at a time, so that the server sees them in the order they were sent.
    const load = ['--request-rate', '100', '--max-concurrency', '1'];
    const first = await runServing([...RANDOM, ...load, '--save-workload', path], { folder });
    const replay = ['--dataset-name', 'workload', '--dataset-path', path, '--max-concurrency', '1'];
    const second = await runServing([...replay, '--save-workload', again], { folder });
    const bodies = (run: typeof first) => run.server.received.map(({ body }) => body);
    assert.equal(bodies(first).length, 6);
    assert.deepEqual(bodies(second), bodies(first));
    assert.deepEqual((await readRows(again)).slice(1), (await readRows(path)).slice(1), 'and times');
    assert.deepEqual([first.row.request_rate, second.row.request_rate], [100, 'trace']);
    assert.equal(second.warned, '');
    const times = (await readRows(path)).slice(1).map(({ at }) => at);
    assert.deepEqual(times, [...arrivalTimes(6, 100, 1)]);

    const faster = join(folder, 'faster.jsonl');
    await runServing([...replay, '--request-rate', '500', '--seed', '3', '--save-workload', faster], { folder });
    const redrawn = (await readRows(faster)).slice(1).map(({ at }) => at);
    assert.deepEqual(redrawn, [...arrivalTimes(6, 500, 3)]);
  });

  test('the seed decides every byte', async (context) => {
    const folder = await temporaryDirectory(context);
    let saved = 0;
    const bytes = async (seed: string) => {
      saved += 1;
      const path = join(folder, `${saved}.jsonl`);
      const lora = ['--lora-name', 'a', 'b'];
      await runServing([...RANDOM, ...lora, '--request-rate', '500', '--seed', seed, '--save-workload', path], {
        folder,
      });
      return readFile(path, 'utf8');
    };
    const first = await bytes('1');
    assert.equal(await bytes('1'), first);
    assert.notEqual((await bytes('2')).split('\n')[1], first.split('\n')[1]);
  });
});

describe('workloads do not depend on the machine or the version of Node', () => {
  let tokenizer: Tokenizer;
  before(async () => {
    tokenizer = await Tokenizer.load(fixture('models/tiny-qwen3'));
  });

  const CASES: Readonly<Record<string, { flags: readonly string[]; hash: string }>> = {
    sharegpt: { flags: ['--dataset-path', fixture('datasets/sharegpt_small.json')], hash: '6151b62cdf4e8fa1' },
    custom: {
      flags: ['--dataset-path', fixture('datasets/custom_edge.jsonl'), '--prompt-suffix', ' x '],
      hash: '04821d11a6f8dfcc',
    },
    openai: { flags: ['--dataset-path', fixture('datasets/openai_edge.jsonl')], hash: '11bc9f2d84b50cb7' },
    random: { flags: ['--random-range-ratio', '0.25'], hash: 'a36349887ba22e3a' },
    'random-ids': { flags: ['--random-range-ratio', '0.25'], hash: '8205d88aa1dad13d' },
    'generated-shared-prefix': {
      flags: ['--gsp-num-groups', '3', '--gsp-range-ratio', '0.5', '--gsp-num-turns', '2', '--gsp-send-routing-key'],
      hash: 'ab0296e8fbb613d0',
    },
    mooncake: {
      flags: ['--dataset-path', fixture('datasets/mooncake_edge.jsonl'), '--mooncake-num-rounds', '2'],
      hash: '0ac35093bc283187',
    },
  };

  for (const [name, { flags, hash }] of Object.entries(CASES)) {
    test(name, async () => {
      const common = ['--dataset-name', name, '--num-prompts', '20', '--seed', '7'];
      const { options } = parseArguments(BENCH_SERVING, [...common, ...flags], {});
      const workload = await loadWorkload(options, tokenizer, fixture('models/tiny-qwen3'));
      const { requests } = workload;
      assert.equal(createHash('sha256').update(JSON.stringify(requests)).digest('hex').slice(0, 16), hash);
    });
  }

  test('arrival times', () => {
    const bytes = Buffer.from(arrivalTimes(1000, 200, 7).buffer);
    assert.equal(createHash('sha256').update(bytes).digest('hex').slice(0, 16), 'a4c0854f75946f5d');
  });
});
