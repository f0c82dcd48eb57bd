// How running streams feel a long prompt that comes in: node bench/prefill-interference.mjs
//
//   [--running N] [--prompt N] [--rounds N] [--model 160m|1b] [--stretch F]
//
// A round: so many streams run; then a prompt comes in. Of the gaps between their tokens, those from its arrival to its first
// token are set beside the median of those before it (the undisturbed step), of the same streams. Prints p50, p99 and the
// largest over that median for each round's gaps pooled, how long the prompt took, and the same for a server whose chunks
// are bounded by --chunked-prefill-size alone (--mixed-step-stretch 0), in turns with the first.
import { parseArgs } from 'node:util';
import { Sample } from '../dist/bench/statistics/statistics.js';
import { DUMMY_160M, modelNamed } from './bench-models.mjs';
import { startServer } from './bench-server.mjs';
import { stream } from './stream-client.mjs';

const { values } = parseArgs({
  options: {
    running: { type: 'string', default: '8' },
    prompt: { type: 'string', default: '2048' },
    rounds: { type: 'string', default: '3' },
    model: { type: 'string', default: '160m' },
    stretch: { type: 'string' },
  },
});
const running = Number(values.running);

const LLAMA_1B = {
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128256,
};
const CONTEXT = { max_position_embeddings: 4096 };
const { modelPath, loadFormat, dtype, jsonModelOverrideArgs } = DUMMY_160M.options;
const shape = modelNamed(values.model, { '160m': jsonModelOverrideArgs, '1b': LLAMA_1B });
const given = {
  ...{ modelPath, loadFormat, dtype, skipTokenizerInit: true, disableRadixCache: true, maxTotalTokens: 16384 },
  jsonModelOverrideArgs: { ...shape, ...CONTEXT },
};

const tokens = (count, seed) => Array.from({ length: count }, (_, i) => 3 + ((seed * 7919 + i * 104729) % 31990));

function generate(url, inputIds, count, signal, onFirst) {
  const sampling = { temperature: 0, max_new_tokens: count, ignore_eos: true };
  return stream(url, '/generate', { input_ids: inputIds, sampling_params: sampling, stream: true }, onFirst, signal);
}

async function round({ url }, seed) {
  const stop = new AbortController();
  let started = 0;
  const allRun = deferred();
  const streams = Array.from({ length: running }, (_, i) =>
    generate(url, tokens(32, seed * 100 + i), 1900, stop.signal, () => {
      started += 1;
      if (started === running) allRun.resolve();
    }),
  );
  await allRun.promise;
  await new Promise((resolve) => setTimeout(resolve, 1500)); // what a step costs is learned, and measured
  const arrival = performance.now();
  let firstToken = 0;
  await generate(url, tokens(Number(values.prompt), seed * 100 + 99), 2, stop.signal, () => {
    firstToken = performance.now();
  });
  stop.abort();
  const gaps = { before: [], during: [] };
  for (const { times } of await Promise.all(streams)) {
    for (let i = 1; i < times.length; i++) {
      if (times[i - 1] > arrival - 1000 && times[i] <= arrival) gaps.before.push(times[i] - times[i - 1]);
      else if (times[i] > arrival && times[i - 1] < firstToken) gaps.during.push(times[i] - times[i - 1]);
    }
  }
  return { ...gaps, ttft: firstToken - arrival };
}

function deferred() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

const servers = {
  'bounded by time': await startServer({
    ...given,
    ...(values.stretch && { mixedStepStretch: Number(values.stretch) }),
  }),
  'by tokens alone': await startServer({ ...given, mixedStepStretch: 0 }),
};
try {
  const results = Object.fromEntries(Object.keys(servers).map((name) => [name, []]));
  for (let i = 0; i < Number(values.rounds); i++) {
    const names = i % 2 === 0 ? Object.keys(servers) : Object.keys(servers).reverse();
    for (const name of names) results[name].push(await round(servers[name], i + 1));
  }
  console.log(`${values.model}: ${running} streams, then a prompt of ${values.prompt} tokens; ${values.rounds} rounds`);
  for (const [name, rounds] of Object.entries(results)) {
    const before = new Sample(rounds.flatMap((each) => each.before));
    const during = new Sample(rounds.flatMap((each) => each.during));
    const undisturbed = before.percentile(50);
    const over = (value) => (value / undisturbed).toFixed(2);
    const ttft = new Sample(rounds.map((each) => each.ttft)).percentile(50);
    console.log(
      `  chunks ${name}: undisturbed p50 ${undisturbed.toFixed(1)} ms, p99 ${over(before.percentile(99))} times that; during the prompt ` +
        `p50 ${over(during.percentile(50))}, p99 ${over(during.percentile(99))}, max ${over(during.max)} times; TTFT ${ttft.toFixed(0)} ms`,
    );
  }
} finally {
  await Promise.all(Object.values(servers).map((server) => server.stop()));
}
