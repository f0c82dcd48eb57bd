// What a prefix in the cache saves of the time to the first token: node bench/prefix-cache.mjs
//
//   [--prefix N] [--question N] [--requests N] [--rounds N]
//
// Two servers in one run, in turns, one of them with --disable-radix-cache: so many requests with the same prefix and a
// question of their own each, one after the other, so that a time to first token is that of a prompt and not of a queue; and
// all at once, where the queue counts. Between rounds the cache is flushed and the prefix is another one; the first
// request of a round pays for it and is left out. Prints medians and the ratio of the two.
import { parseArgs } from 'node:util';
import { Sample } from '../dist/bench/statistics/statistics.js';
import { DUMMY_160M } from './bench-models.mjs';
import { startServer } from './bench-server.mjs';
import { post, stream } from './stream-client.mjs';

const { values } = parseArgs({
  options: {
    prefix: { type: 'string', default: '1024' },
    question: { type: 'string', default: '16' },
    requests: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '3' },
  },
});
const requests = Number(values.requests);

/** Token ids that no other seed gives. */
const tokens = (count, seed) => Array.from({ length: count }, (_, i) => 3 + ((seed * 7919 + i * 104729) % 31990));

async function timeToFirstToken(url, inputIds) {
  const begin = performance.now();
  let first = 0;
  const body = { input_ids: inputIds, sampling_params: { temperature: 0, max_new_tokens: 2, ignore_eos: true } };
  await stream(url, '/generate', { ...body, stream: true }, () => {
    first = performance.now() - begin;
  });
  return first;
}

async function round(server, seed) {
  const prefix = tokens(Number(values.prefix), seed);
  const prompt = (i) => [...prefix, ...tokens(Number(values.question), seed * 1000 + i + 1)];
  await post(server.url, '/flush_cache');
  await timeToFirstToken(server.url, prompt(0));
  const inTurn = [];
  for (let i = 1; i <= requests; i++) inTurn.push(await timeToFirstToken(server.url, prompt(i)));
  const together = Array.from({ length: requests }, (_, i) => timeToFirstToken(server.url, prompt(requests + i + 1)));
  return {
    inTurn: new Sample(inTurn).percentile(50),
    together: new Sample(await Promise.all(together)).percentile(50),
  };
}

const given = { ...DUMMY_160M.options, skipTokenizerInit: true, maxTotalTokens: 65536 };
const servers = {
  cached: await startServer(given),
  computed: await startServer({ ...given, disableRadixCache: true }),
};
try {
  const results = [];
  for (let i = 0; i < Number(values.rounds); i++) {
    const order = i % 2 === 0 ? ['cached', 'computed'] : ['computed', 'cached'];
    const result = {};
    for (const name of order) result[name] = await round(servers[name], 1 + i);
    results.push(result);
  }
  console.log(
    `${DUMMY_160M.title}: ${requests} requests, ${values.prefix} + ${values.question} tokens, ${values.rounds} rounds`,
  );
  for (const [key, label] of [
    ['inTurn', 'one after the other'],
    ['together', 'all at once'],
  ]) {
    const median = (value) => new Sample(results.map(value)).percentile(50);
    const ratios = new Sample(results.map(({ cached, computed }) => computed[key] / cached[key]));
    const [low, middle, high] = [0, 50, 100].map((percent) => ratios.percentile(percent).toFixed(1));
    console.log(
      `  ${label.padEnd(20)} TTFT without cache ${median(({ computed }) => computed[key]).toFixed(1)} ms, ` +
        `with ${median(({ cached }) => cached[key]).toFixed(1)} ms: ${middle} times (${low} to ${high})`,
    );
  }
} finally {
  await Promise.all(Object.values(servers).map((server) => server.stop()));
}
