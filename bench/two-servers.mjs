// Whether engines that share a machine get in each other's way: node bench/two-servers.mjs [--model stories|160m]
//
//   [--batch N] [--seconds N] [--rounds N] [--cpu-threads N]
//
// In one run, in turns: a server alone, two servers at once, and one beside a process that computes all the time. Each
// server is kept busy with batches of streams, and the tokens that arrive are counted. Two servers share what one had: the
// sum of both over one alone says what sharing costs (1: nothing). A server beside a busy process of the same weight should
// keep what the scheduler of the system leaves it: with two threads on two processors three quarters, by its share of them.
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { Sample } from '../dist/bench/statistics/statistics.js';
import { DUMMY_160M, modelNamed, STORIES_260K } from './bench-models.mjs';
import { startServer } from './bench-server.mjs';
import { stream } from './stream-client.mjs';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: '160m' },
    batch: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '7' },
    'cpu-threads': { type: 'string', default: '0' },
  },
});
const { title, options } = modelNamed(values.model, { stories: STORIES_260K, '160m': DUMMY_160M });
const batch = Number(values.batch);
const TOKENS = 200;

/** Keeps a server busy until `end` (performance.now()); resolves with its tokens per second from `begin` on. */
async function load({ url }, begin, end) {
  let tokens = 0;
  const inputIds = Array.from({ length: batch }, (_, row) =>
    Array.from({ length: 16 }, (_, i) => 3 + row * 31 + i * 7),
  );
  const sampling = { temperature: 0, max_new_tokens: TOKENS, ignore_eos: true };
  while (performance.now() < end) {
    const { times } = await stream(url, '/generate', { input_ids: inputIds, sampling_params: sampling, stream: true });
    tokens += times.filter((at) => at >= begin && at < end).length;
  }
  return (tokens / (end - begin)) * 1000;
}

/** Ends by itself after a while: a program that is killed can stop nobody. */
function busyProcess() {
  const ms = 1000 * Number(values.seconds) + 60_000;
  const child = spawn(process.execPath, ['-e', `const end = Date.now() + ${ms}; while (Date.now() < end);`], {
    stdio: 'ignore',
  });
  return { stop: () => child.kill('SIGKILL') };
}

async function measure(servers, hogs) {
  const busy = Array.from({ length: hogs }, busyProcess);
  const begin = performance.now() + 300; // the first tokens of a batch are its prefill
  const end = begin + Number(values.seconds) * 1000;
  try {
    return await Promise.all(servers.map((server) => load(server, begin, end)));
  } finally {
    for (const process of busy) process.stop();
  }
}

const given = { ...options, skipTokenizerInit: true, cpuThreads: Number(values['cpu-threads']), maxTotalTokens: 8192 };
const servers = await Promise.all([startServer(given), startServer(given)]);
try {
  await measure(servers, 0);
  const rounds = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const parts = [
      async (result) => Object.assign(result, { alone: (await measure([servers[round % 2]], 0))[0] }),
      async (result) => Object.assign(result, { both: await measure(servers, 0) }),
      async (result) => Object.assign(result, { beside: (await measure([servers[round % 2]], 1))[0] }),
    ];
    const result = {};
    for (let i = 0; i < parts.length; i++) await parts[(i + round) % parts.length](result);
    rounds.push(result);
  }
  const report = (label, value, digits) => {
    const sample = new Sample(rounds.map(value));
    const [low, middle, high] = [25, 50, 75].map((percent) => sample.percentile(percent).toFixed(digits));
    console.log(`  ${label.padEnd(52)} ${middle} (${low} to ${high})`);
  };
  console.log(`${title}, batch ${batch}, ${rounds.length} rounds of ${values.seconds} s; medians (quartiles)`);
  report('one alone, tok/s', ({ alone }) => alone, 0);
  report('two at once, sum / one alone', ({ alone, both }) => (both[0] + both[1]) / alone, 2);
  report('two at once, the slower / the faster', ({ both }) => Math.min(...both) / Math.max(...both), 2);
  report('one beside a busy process / one alone', ({ alone, beside }) => beside / alone, 2);
} finally {
  await Promise.all(servers.map((server) => server.stop()));
}
