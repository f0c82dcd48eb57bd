// What recording a profile costs: the same work on one server in alternation, with and without a profile under way.
//
//   node bench/profile-overhead.mjs [--rounds N] [--model stories|160m|both] [--batch N] [--tokens N] [--no-stack]
//
// A round sends some batches of requests, one after the other; the first is not measured. Rounds alternate (off, on, off, on, …), and each pair gives
// one ratio of throughputs and, where tokens are streamed, one of median times between tokens, so that a machine whose speed
// drifts counts little. Prints the medians of the ratios with 95 % intervals (bootstrap). On a machine that others use too,
// these intervals are wide; what is not disturbed is the processor time that the threads beside the engine's took, of which
// the part that recording adds is printed as a share of all processors (Linux).
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launchServer } from '../dist/index.js';
import { DUMMY_160M, STORIES_260K } from './bench-models.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    model: { type: 'string', default: 'both' },
    batch: { type: 'string' },
    tokens: { type: 'string' },
    'no-stack': { type: 'boolean', default: false },
    'no-shapes': { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);

const MODELS = {
  stories: { ...STORIES_260K, target: 0.05, batch: 8, tokens: 400, repeats: 8, stream: false },
  '160m': {
    ...DUMMY_160M,
    options: { ...DUMMY_160M.options, skipTokenizerInit: true },
    target: 0.01,
    batch: 4,
    tokens: 48,
    repeats: 2,
    stream: true,
  },
};

const median = (sorted) => (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
const sort = (list) => [...list].sort((a, b) => a - b);

/** 95 % interval of the median, by resampling with a fixed generator. */
function interval(list) {
  let seed = 1;
  const random = () => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed / 2147483648;
  };
  const medians = Array.from({ length: 2000 }, () =>
    median(sort(Array.from(list, () => list[Math.floor(random() * list.length)]))),
  );
  const sorted = sort(medians);
  return [sorted[50], sorted[1949]];
}

async function call(url, path, body) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status} ${text}`);
  return JSON.parse(text);
}

/** Milliseconds of processor time of this process and its children, the engine's own threads (which poll) left out. */
function processorMs() {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);
  let sum = 0;
  for (const pid of [process.pid, ...children]) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const directory = `/proc/${pid}/task/${task}`;
      if (readFileSync(`${directory}/comm`, 'utf8').startsWith('vitrine-')) continue;
      sum += Number(readFileSync(`${directory}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
    }
  }
  return sum;
}

/** Times between the arrivals of a streamed answer's pieces, in ms: each step of the batch brings one. */
async function stream(url, body) {
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`/generate: HTTP ${response.status} ${await response.text()}`);
  const gaps = [];
  let last = 0;
  for await (const _ of response.body) {
    const now = performance.now();
    if (last > 0) gaps.push(now - last);
    last = now;
  }
  return gaps;
}

async function measure(name) {
  const { title, target, options, repeats, stream: streams, batch: defaultBatch, tokens: defaultTokens } = MODELS[name];
  const batch = Number(values.batch ?? defaultBatch);
  const tokens = Number(values.tokens ?? defaultTokens);
  const directory = mkdtempSync(join(tmpdir(), 'vitrine-overhead-'));
  const server = await launchServer({ ...options, port: 0, logLevel: 'error' });
  let nextId = 0;
  const send = () => {
    const inputIds = Array.from({ length: batch }, () => {
      nextId += 1;
      return Array.from({ length: 16 }, (_, i) => (nextId * 31 + i * 7) % 500);
    });
    const sampling = { temperature: 0, max_new_tokens: tokens, ignore_eos: true };
    return stream(server.url, { input_ids: inputIds, sampling_params: sampling, stream: streams });
  };
  const round = async () => {
    await send(); // not measured: what starting a profile leaves to do
    const processorBegin = processorMs();
    const begin = performance.now();
    const gaps = [];
    for (let i = 0; i < repeats; i++) gaps.push(...(await send()));
    const ms = performance.now() - begin;
    return {
      rate: (repeats * batch * tokens * 1000) / ms,
      gap: streams ? median(sort(gaps)) : Number.NaN,
      processors: (processorMs() - processorBegin) / ms / availableParallelism(),
    };
  };
  try {
    for (let i = 0; i < 3; i++) await round();
    const off = [];
    const on = [];
    let last;
    for (let i = 0; i < rounds; i++) {
      // The order within a pair alternates as well.
      for (const profiled of i % 2 === 0 ? [false, true] : [true, false]) {
        if (profiled) {
          await call(server.url, '/start_profile', {
            output_dir: directory,
            with_stack: !values['no-stack'],
            record_shapes: !values['no-shapes'],
          });
        }
        (profiled ? on : off).push(await round());
        if (profiled) {
          last = await call(server.url, '/stop_profile', {});
          for (const file of last.files) rmSync(file.path);
        }
      }
    }
    const percent = (value) => `${(100 * value).toFixed(2)} %`;
    const report = (label, costs) => {
      const [low, high] = interval(costs);
      console.log(`  ${label}: ${percent(median(sort(costs)))} (95 %: ${percent(low)} to ${percent(high)})`);
    };
    const of = (list, key) => median(sort(list.map((each) => each[key])));
    const [{ events, dropped_records: dropped, steps }] = last.files;
    console.log(`${title}: ${repeats} batches of ${batch} requests of ${tokens} tokens a round, ${rounds} pairs`);
    console.log(
      `  off ${of(off, 'rate').toFixed(0)} tok/s, recording ${of(on, 'rate').toFixed(0)} tok/s; aim < ${percent(target)}`,
    );
    report(
      'cost in throughput         ',
      on.map(({ rate }, i) => 1 - rate / off[i].rate),
    );
    if (streams) {
      report(
        'cost in time between tokens',
        on.map(({ gap }, i) => gap / off[i].gap - 1),
      );
    }
    report(
      'processor time added       ',
      on.map(({ processors }, i) => processors - off[i].processors),
    );
    console.log(`  a trace: ${steps} steps, ${events} events, ${dropped} records dropped`);
  } finally {
    await server.shutdown();
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const name of values.model === 'both' ? Object.keys(MODELS) : [values.model]) await measure(name);
process.exit(0);
