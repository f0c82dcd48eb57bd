// Serves random requests, records some steps meanwhile, and checks answers and trace. Prints one JSON object.
//   node --import tsx scripts/gpu/serving.mjs --device cuda --model DIR [--layers N] [--requests N]
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launchServer } from '../../dist/index.js';
import { summariseTrace } from '../../dist/trace/summary/trace-summary.js';
import { readTrace, recordingProblems, stepsOf } from '../../test/support/trace-checker.js';
import { describeDevice } from './device-trace.mjs';

const NEW_TOKENS = 48;
const CONCURRENCY = 16;
const RECORDED_STEPS = 20;
const LEAST_VOCAB = 500; // every model has so many tokens

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    model: { type: 'string' },
    layers: { type: 'string' },
    requests: { type: 'string', default: '64' },
  },
});

/** A generator of pseudo-random integers, the same in every run (Numerical Recipes’ constants). */
function randomIntegers(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

async function post(url, path, body) {
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Also waits until nothing runs any more: it is refused before. */
async function flushCache(url) {
  while (!(await fetch(`${url}/flush_cache`, { method: 'POST' })).ok)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

/** `feed` gives it steps where the requests have ended before it had enough. */
async function finishedProfile(url, feed) {
  for (;;) {
    const status = await (await fetch(`${url}/profile_status`)).json();
    if (status.state === 'done') return status;
    if (status.state === 'failed') throw new Error(`the profile failed: ${JSON.stringify(status)}`);
    if (status.state === 'flushing') await new Promise((resolve) => setTimeout(resolve, 100));
    else await feed();
  }
}

const folder = mkdtempSync(join(tmpdir(), 'vitrine-serving-'));
const layers = options.layers === undefined ? {} : { num_hidden_layers: Number(options.layers) };
const server = await launchServer({
  ...{ modelPath: options.model, device: options.device, port: 0, logLevel: 'warn' },
  ...{ loadFormat: 'dummy', randomSeed: 1, jsonModelOverrideArgs: layers, skipTokenizerInit: true },
});
const problems = [];
try {
  const random = randomIntegers(7);
  const info = await (await fetch(`${server.url}/server_info`)).json();
  const longest = Math.min(800, Math.floor(info.context_length / 3));
  const prompts = Array.from({ length: Number(options.requests) }, () =>
    Array.from({ length: 1 + random(longest) }, () => 1 + random(LEAST_VOCAB - 1)),
  );
  const generate = async (input_ids) => {
    const sampling_params = { max_new_tokens: NEW_TOKENS, ignore_eos: true, temperature: 0 };
    const { output_ids } = await post(server.url, '/generate', { input_ids, sampling_params });
    if (output_ids.length !== NEW_TOKENS) problems.push(`${output_ids.length} tokens instead of ${NEW_TOKENS}`);
    return output_ids.join(' ');
  };
  // A prefix from the cache would leave fewer rows to multiply, and on a GPU another product might be chosen for them.
  const generateAfresh = async () => {
    await flushCache(server.url);
    return generate(prompts[0]);
  };
  const [first, again] = [await generateAfresh(), await generateAfresh()];
  if (first !== again) problems.push('the same request alone gave other tokens the second time');

  const started = performance.now();
  let next = 0;
  let profile = null;
  const client = async () => {
    while (next < prompts.length) {
      const prompt = prompts[next++];
      if (next === CONCURRENCY + 1) {
        profile = post(server.url, '/start_profile', {
          output_dir: folder,
          num_steps: RECORDED_STEPS,
          with_stack: false,
        });
      }
      await generate(prompt);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, client));
  const seconds = (performance.now() - started) / 1000;
  await profile;
  const status = await finishedProfile(server.url, () => generate(prompts[0]));

  const { path } = status.files.find(({ kind }) => kind === 'trace');
  const trace = readTrace(path);
  const steps = stepsOf(trace).length;
  problems.push(...recordingProblems(trace));
  if (steps !== RECORDED_STEPS) problems.push(`${steps} steps in the trace instead of ${RECORDED_STEPS}`);
  let device = null;
  if (options.device === 'cuda') {
    const { gpu } = await summariseTrace(path, 1);
    const { share: busyShare = null, stepGaps: idleBetweenSteps = null } = gpu ?? {};
    device = { ...describeDevice(trace.traceEvents, steps), busyShare, idleBetweenSteps };
    problems.push(...device.problems);
  }
  const tokensPerSecond = (prompts.length * NEW_TOKENS) / seconds;
  const files = readdirSync(folder);
  console.log(JSON.stringify({ problems, requests: prompts.length, seconds, tokensPerSecond, steps, device, files }));
} finally {
  await server.shutdown();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = problems.length === 0 ? 0 : 1;
