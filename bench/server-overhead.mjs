// What a token costs more from a streaming server than from the engine alone: node bench/server-overhead.mjs
//
//   [--batches 1,64] [--tokens N] [--rounds N] [--path /generate,/v1/completions]
//
// In one run, in turns: decode steps of a batch in this process, one after the other, with nothing around them (as
// bench-one-batch has them), and the same batch as so many streams from a server in a process of its own, at the same
// lengths. Of a stream counts the time in which all of the batch run. The difference is what scheduling, the pipe,
// detokenization, HTTP and the client cost a token; beside it stands the processor time of the server's JavaScript threads
// and of the client (see stream-client.mjs), because on few processors these three and the engine share them.
import { parseArgs } from 'node:util';
import { StaticBatch } from '../dist/bench/one-batch/static-batch.js';
import { Sample } from '../dist/bench/statistics/statistics.js';
import { resolveOptions } from '../dist/config/resolve-options.js';
import { SCHEDULER_OPTIONS } from '../dist/config/tables/scheduler-options.js';
import { ModelRunner } from '../dist/engine/model-runner.js';
import { prepareModel } from '../dist/model/prepare-model.js';
import { loadAddon } from '../dist/native/load.js';
import { silentLog } from '../dist/util/log.js';
import { STORIES_260K } from './bench-models.mjs';
import { processorMs, startServer } from './bench-server.mjs';
import { post, stream } from './stream-client.mjs';

const PROMPT_TOKENS = 16;
/** Batches of streams before anything is measured: V8 compiles what runs often, and a server runs for long. */
const WARM_UPS = 5;

const { values } = parseArgs({
  options: {
    batches: { type: 'string', default: '1,64' },
    tokens: { type: 'string', default: '400' },
    rounds: { type: 'string', default: '15' },
    path: { type: 'string', default: '/generate,/v1/completions' },
  },
});
const tokens = Number(values.tokens);
const rounds = Number(values.rounds);

const promptsOf = (batch, round) =>
  Array.from({ length: batch }, (_, row) =>
    Array.from({ length: PROMPT_TOKENS }, (_, i) => 3 + ((round * 8191 + row * 131 + i * 7) % 500)),
  );

/** Median milliseconds of a decode step in this process. */
async function inProcess(runner, prompts) {
  const batch = new StaticBatch(
    runner,
    prompts.map(() => PROMPT_TOKENS + tokens),
  );
  await batch.extend(prompts);
  const steps = [];
  for (let i = 1; i < tokens; i++) {
    const begin = performance.now();
    await batch.decode();
    steps.push(performance.now() - begin);
  }
  return new Sample(steps).percentile(50);
}

function bodyOf(path, prompt) {
  if (path === '/generate') {
    const sampling = { temperature: 0, max_new_tokens: tokens, ignore_eos: true };
    return { input_ids: prompt, sampling_params: sampling, stream: true };
  }
  return { prompt, model: 'model', temperature: 0, max_tokens: tokens, ignore_eos: true, stream: true };
}

/** Milliseconds from one token of a stream to its next while all run, and processor time a token. */
async function served(server, path, prompts) {
  const before = processorMs(server.pid);
  const client = process.cpuUsage();
  const streams = await Promise.all(prompts.map((prompt) => stream(server.url, path, bodyOf(path, prompt))));
  const { user, system } = process.cpuUsage(client);
  const after = processorMs(server.pid);
  const all = Math.max(...streams.map(({ times }) => times[0]));
  const end = Math.min(...streams.map(({ times }) => times.at(-1)));
  const events = streams.reduce((sum, { times }) => sum + times.filter((at) => at > all && at <= end).length, 0);
  const made = prompts.length * tokens;
  return {
    step: events > 0 ? ((end - all) * prompts.length) / events : 0,
    frontEnd: (1000 * (after.frontEnd - before.frontEnd)) / made,
    scheduler: (1000 * (after.scheduler - before.scheduler)) / made,
    rest: (1000 * (after.rest - before.rest)) / made,
    client: (user + system) / made,
  };
}

const most = Math.max(...values.batches.split(',').map(Number));
const sizes = { maxRunningRequests: Math.max(2, most), maxTotalTokens: 2 * most * 512 };
const given = { ...STORIES_260K.options, ...sizes, disableRadixCache: true };
const options = resolveOptions(SCHEDULER_OPTIONS, given);
const model = await prepareModel(options, silentLog);
const runner = ModelRunner.create({ addon: loadAddon(), model, options, log: silentLog });
const server = await startServer(given);
try {
  console.log(`${STORIES_260K.title}, ${tokens} tokens a stream, ${rounds} rounds; medians (quartiles)`);
  console.log(
    'path               batch  ms a step: alone    served  added µs a token             µs of processor a token: front end  scheduler  V8, libuv  client',
  );
  for (let i = 0; i < WARM_UPS; i++) {
    for (const path of values.path.split(',')) await served(server, path, promptsOf(most, i));
  }
  for (const path of values.path.split(',')) {
    for (const batch of values.batches.split(',').map(Number)) {
      const results = [];
      for (let round = -1; round < rounds; round++) {
        const prompts = promptsOf(batch, round + 1);
        const order = round % 2 === 0 ? ['alone', 'served'] : ['served', 'alone'];
        const result = {};
        for (const who of order) {
          if (who === 'alone') result.alone = await inProcess(runner, prompts);
          else Object.assign(result, await served(server, path, prompts));
        }
        // Round -1 warms the caches; where the first stream ends before the last begins there is nothing to compare.
        if (round >= 0 && result.step > 0) results.push(result);
      }
      const of = (value) => new Sample(results.map(value));
      const median = (key, digits) =>
        of((result) => result[key])
          .percentile(50)
          .toFixed(digits);
      const added = of(({ alone, step }) => (1000 * (step - alone)) / batch);
      const [low, middle, high] = [25, 50, 75].map((percent) => added.percentile(percent).toFixed(1));
      console.log(
        path.padEnd(18),
        String(batch).padStart(5),
        median('alone', 3).padStart(17),
        median('step', 3).padStart(9),
        `${middle} (${low} to ${high})`.padStart(25),
        median('frontEnd', 1).padStart(44),
        median('scheduler', 1).padStart(10),
        median('rest', 1).padStart(10),
        median('client', 1).padStart(7),
      );
      await post(server.url, '/flush_cache');
    }
  }
} finally {
  runner.close();
  await server.stop();
}
