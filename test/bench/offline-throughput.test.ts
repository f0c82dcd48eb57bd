// bench-offline-throughput: figures of answers that are known, then a real engine with requests that it refuses, profiles
// and interruptions.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  benchOfflineThroughput,
  type OfflineEngine,
  type OfflineThroughputResult,
} from '#vitrine/bench/offline-throughput/offline-throughput.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_OFFLINE_THROUGHPUT } from '#vitrine/config/programs.js';
import type { ProfileStatus } from '#vitrine/frontend/profiler/profile-status.js';
import type { EngineRequest } from '#vitrine/runtime/engine-request.js';
import type { GenerationResult } from '#vitrine/runtime/generation.js';
import { Engine, type EngineLaunchOptions } from '#vitrine/runtime/local-engine.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { createFakeAddon } from '../support/fake-engine.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, spansOf } from '../support/trace-checker.js';

const MODEL = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));

interface Run extends OfflineThroughputResult {
  readonly printed: string;
  readonly warned: string;
  readonly error: VitrineError | undefined;
}

async function run(
  flags: readonly string[],
  given: {
    readonly launch?: (options: EngineLaunchOptions) => Promise<OfflineEngine>;
    readonly interrupt?: AbortSignal;
    readonly environment?: Record<string, string>;
    readonly onPrint?: (line: string) => void;
  } = {},
): Promise<Run> {
  const fixed = ['--model-path', MODEL, '--max-total-tokens', '8192', '--cpu-threads', '1'];
  const data = ['--dataset-name', 'random', '--num-prompts', '6', '--random-input', '20', '--random-output', '5'];
  const printed: string[] = [];
  const warned: string[] = [];
  try {
    const argv = [...fixed, ...data, ...flags];
    const { options } = parseArguments(BENCH_OFFLINE_THROUGHPUT, argv, given.environment ?? {});
    const result = await benchOfflineThroughput(options, {
      launch: given.launch ?? ((launch) => Engine.launch(launch)),
      output: {
        print: (line) => {
          printed.push(line);
          given.onPrint?.(line);
        },
        warn: (line) => warned.push(line),
      },
      terminal: process.stderr,
      environment: {},
      addon: createFakeAddon,
      interrupt: given.interrupt ?? new AbortController().signal,
    });
    return { ...result, printed: printed.join('\n'), warned: warned.join('\n'), error: undefined };
  } catch (thrown) {
    assert.ok(thrown instanceof VitrineError, String(thrown));
    return { row: {}, failed: 0, printed: printed.join('\n'), warned: warned.join('\n'), error: thrown };
  }
}

const NO_WORK = { steps: 0, seconds: 0, flops: 0, float8Flops: 0, bytes: 0 };
const STATE = {
  stepWork: { extend: NO_WORK, decode: NO_WORK, mixed: NO_WORK },
  ...{ runningRequests: 0, queuedRequests: 0, usedTokens: 0, cachedTokens: 0, totalTokens: 0, forwardSteps: 0 },
  ...{ promptTokensTotal: 0, cachedTokensTotal: 0, generatedTokensTotal: 0, abortedTotal: 0, profile: null },
};

/** An engine whose answer to request i (without those of the warm-up) is `answer(i)`; states come one by one. */
function scripted(answer: (i: number, request: EngineRequest) => Partial<GenerationResult> | Error) {
  const requests: EngineRequest[] = [];
  const launched: EngineLaunchOptions[] = [];
  let states = 0;
  let closed = false;
  const engine: OfflineEngine = {
    info: { contextLength: 512 } as Engine['info'],
    generate: (request) => {
      requests.push(request);
      const given = answer(requests.length - 1, request);
      const result = {
        ...{ index: 0, text: '', tokenIds: [], finishReason: { type: 'length', length: 1 }, promptTokens: 20 },
        ...{ completionTokens: 5, cachedTokens: 0, inputLogprobs: null, outputLogprobs: null },
        ...given,
      } as GenerationResult;
      return { all: async () => (given instanceof Error ? Promise.reject(given) : [result]) };
    },
    state: async () => {
      states += 1;
      return { ...STATE, lastGenThroughput: 77.5, retractionsTotal: states === 1 ? 4 : 7 };
    },
    flushCache: async () => true,
    startProfile: () => Promise.reject(new Error('no profile')),
    stopProfile: () => Promise.reject(new Error('no profile')),
    profileStatus: async () => null,
    close: async () => {
      closed = true;
    },
  };
  const launch = async (options: EngineLaunchOptions) => {
    launched.push(options);
    return engine;
  };
  return { launch, requests, launched, isClosed: () => closed };
}

describe('known answers', () => {
  test('a profile that fails takes no result with it', async (t) => {
    const file = join(await temporaryDirectory(t), 'result.jsonl');
    const engine = scripted(() => ({}));
    const launch = async (options: EngineLaunchOptions): Promise<OfflineEngine> => ({
      ...(await engine.launch(options)),
      startProfile: async () => ({ profileId: 'p', outputDir: '/traces' }) as ProfileStatus,
      profileStatus: () => Promise.reject(new VitrineError('TRACE_NOT_WRITTEN', 'the disk is full')),
    });
    const flags = ['--skip-warmup', '--profile', '--profile-output-dir', '/traces', '--result-filename', file];
    const { error } = await run(flags, { launch });
    assert.equal(error!.code, 'TRACE_NOT_WRITTEN');
    assert.equal(JSON.parse(await readFile(file, 'utf8')).successful_requests, 6);
  });

  test('SGLang’s block and keys, then ours', async (t) => {
    const file = join(await temporaryDirectory(t), 'sub', 'result.jsonl');
    const engine = scripted((i) => ({ completionTokens: i + 1, cachedTokens: i === 0 ? 15 : 0 }));
    const flags = ['--skip-warmup', '--random-range-ratio', '1', '--tokenize-prompt', '--result-filename', file];
    const { row, printed, failed } = await run(flags, { launch: engine.launch });
    assert.equal(failed, 0);
    const keys = Object.keys(row);
    assert.deepEqual(keys.slice(0, 10), [
      ...['backend', 'successful_requests', 'total_latency', 'total_input_tokens', 'total_output_tokens'],
      ...['request_throughput', 'input_throughput', 'output_throughput', 'total_throughput', 'last_gen_throughput'],
    ]);
    assert.deepEqual([row.successful_requests, row.total_input_tokens, row.total_output_tokens], [6, 120, 21]);
    const seconds = row.total_latency as number;
    assert.equal(row.request_throughput, 6 / seconds);
    assert.equal(row.total_throughput, 141 / seconds);
    assert.deepEqual([row.last_gen_throughput, row.retractions], [77.5, 3]);
    assert.deepEqual([row.cached_input_tokens, row.cache_hit_rate], [15, 15 / 120]);
    assert.ok((row.median_e2e_latency_ms as number) <= seconds * 1000);
    const lines = printed.slice(printed.indexOf('======')).split('\n');
    assert.equal(lines[0], '====== Offline Throughput Benchmark Result =======');
    assert.equal(lines[1], `${'Backend:'.padEnd(40)} engine    `);
    assert.equal(lines[2], `${'Successful requests:'.padEnd(40)} 6         `);
    assert.deepEqual(
      lines.slice(3, 11).map((line) => line.slice(0, 40).trim()),
      [
        ...['Benchmark duration (s):', 'Total input tokens:', 'Total generated tokens:'],
        ...['Last generation throughput (tok/s):', 'Request throughput (req/s):', 'Input token throughput (tok/s):'],
        ...['Output token throughput (tok/s):', 'Total token throughput (tok/s):'],
      ],
    );
    assert.equal(lines[11], '='.repeat(50));
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), row);
    assert.ok(engine.isClosed());
  });

  test('what each request is made of', async () => {
    const engine = scripted(() => ({}));
    const body = ['--extra-request-body', '{"temperature": 0.5, "top_p": 0.9, "sampling_seed": 3}'];
    const flags = ['--skip-warmup', '--return-logprob', '--logprob-start-len', '2', '--disable-ignore-eos', ...body];
    await run(flags, { launch: engine.launch });
    const { prompt, samplingParams, logprobs } = engine.requests[0]!;
    assert.equal(typeof prompt, 'string');
    const { maxNewTokens, ...rest } = samplingParams!;
    assert.ok(maxNewTokens! >= 1 && maxNewTokens! <= 5);
    assert.deepEqual(rest, { temperature: 0.5, ignoreEos: false, topP: 0.9, seed: 3 });
    assert.deepEqual(logprobs, { startLen: 2 });
    const plain = scripted(() => ({}));
    await run(['--skip-warmup', '--extra-request-body', '{"max_new_tokens": 9}'], { launch: plain.launch });
    assert.deepEqual(plain.requests[0]!.samplingParams, { maxNewTokens: 9, temperature: 0, ignoreEos: true });
    assert.equal(plain.requests[0]!.logprobs, undefined);
  });

  test('the warm-up is of random ids; the engine gets the flags of the model', async () => {
    const engine = scripted(() => ({}));
    const flags = ['--num-prompts', '20', '--page-size', '8', '--tokenizer-path', MODEL, '--disable-radix-cache'];
    await run(flags, { launch: engine.launch });
    assert.equal(engine.requests.length, 16 + 20);
    const { inputIds, samplingParams } = engine.requests[0]!;
    assert.equal(inputIds!.length, 256);
    assert.equal(samplingParams!.maxNewTokens, 16);
    const { modelPath, pageSize, tokenizerPath, disableRadixCache, logLevel } = engine.launched[0]!;
    assert.deepEqual(
      [modelPath, pageSize, tokenizerPath, disableRadixCache, logLevel],
      [MODEL, 8, MODEL, true, 'warn'],
    );
  });

  test('failures are grouped and counted', async () => {
    const engine = scripted((i) => (i % 3 === 0 ? {} : new VitrineError('QUEUE_FULL', i % 3 === 1 ? 'full' : 'odd')));
    const { row, failed, warned } = await run(['--skip-warmup', '--num-prompts', '7'], { launch: engine.launch });
    assert.equal(failed, 4);
    assert.deepEqual([row.successful_requests, row.failed], [3, 4]);
    assert.deepEqual(row.errors_by_message, { full: 2, odd: 2 });
    assert.equal(warned, '4 of 7 requests failed:\n  2 × full\n  2 × odd');
    const broken = scripted(() => new VitrineError('ENGINE_FAILED', 'dead'));
    const { error } = await run([], { launch: broken.launch });
    assert.equal(error!.message, 'The warm-up failed: dead');
    assert.ok(broken.isClosed());
  });

  test('an interruption reports what had ended', async () => {
    const interrupt = new AbortController();
    const abort = { finishReason: { type: 'abort', message: '', statusCode: 499, errType: '' } } as const;
    const engine = scripted((i) => {
      if (i === 2) interrupt.abort();
      return i < 2 ? {} : abort;
    });
    const flags = ['--skip-warmup', '--do-not-exit'];
    const { row, failed, printed } = await run(flags, { launch: engine.launch, interrupt: interrupt.signal });
    assert.equal(failed, 0);
    assert.deepEqual([row.successful_requests, row.interrupted, row.total_output_tokens], [2, 4, 10]);
    assert.match(printed, /^Interrupted requests: +4 +$/m);
    const none = scripted(() => abort);
    const { error } = await run(flags, { launch: none.launch, interrupt: interrupt.signal });
    assert.equal(error!.code, 'ABORTED');
  });

  test('--do-not-exit keeps the model until it is told to go', async () => {
    const interrupt = new AbortController();
    const engine = scripted(() => ({}));
    const { row, printed } = await run(['--skip-warmup', '--do-not-exit'], {
      launch: engine.launch,
      interrupt: interrupt.signal,
      onPrint: (line) => {
        if (!line.includes('Staying until')) return;
        void sleep(30).then(() => {
          assert.equal(engine.isClosed(), false);
          interrupt.abort();
        });
      },
    });
    assert.equal(row.successful_requests, 6);
    assert.match(printed, /Staying until Ctrl-C/);
    assert.ok(engine.isClosed());
  });
});

describe('a real engine', () => {
  test('generates what was asked for, and refuses what cannot fit', async () => {
    const flags = ['--num-prompts', '12', '--random-input', '16', '--random-range-ratio', '1'];
    const { row, failed } = await run([...flags, '--seed', '5']);
    assert.equal(failed, 0);
    assert.deepEqual([row.successful_requests, row.seed], [12, 5]);
    assert.equal(row.total_output_tokens, 12 * 5);
    const long = await run(['--num-prompts', '8', '--random-input', '900', '--skip-warmup']);
    const { failed: refused } = long;
    assert.ok(refused > 0 && refused < 8);
    assert.match(long.warned, / × .*context length/);
    assert.equal(long.row.successful_requests, 8 - refused);
  });

  test('questions of a file, dressed', async (t) => {
    const file = join(await temporaryDirectory(t), 'sharegpt.json');
    const turns = (question: string) => ({ conversations: [{ value: question }, { value: 'Yes, it is so.' }] });
    await writeFile(file, JSON.stringify([turns('Is it so?'), turns('Is it not so?'), { conversations: [] }]));
    const data = ['--dataset-name', 'sharegpt', '--dataset-path', file, '--sharegpt-output-len', '4'];
    const engine = scripted(() => ({}));
    const { row, warned } = await run([...data, '--prompt-suffix', ' Truly?', '--skip-warmup'], engine);
    assert.equal(row.successful_requests, 2);
    assert.match(warned, /Left out 1 dataset rows: fewer than two turns/);
    assert.match(warned, /The dataset gives \d+ of the 6 requests asked for/);
    assert.ok(engine.requests.every(({ prompt }) => prompt!.endsWith(' Truly?Assistant:')));
    const real = await run([...data, '--return-logprob', '--logprob-start-len', '0']);
    assert.equal(real.row.total_output_tokens, 8);
  });

  test('--profile records the run and names the file', async (t) => {
    const directory = await temporaryDirectory(t);
    const environment = { SGLANG_TORCH_PROFILER_DIR: directory };
    const { printed, error } = await run(['--profile'], { environment });
    assert.equal(error, undefined);
    assert.ok(printed.includes(`Monitoring ${directory} for new trace files...`));
    const path = /^New file detected: (.*\.trace\.json\.gz)$/m.exec(printed)![1]!;
    const steps = (file: string) =>
      spansOf(readTrace(file), 'user_annotation').filter(({ name }) => name.startsWith('step (')).length;
    assert.ok(steps(path) >= 5, 'a prefill and the decode steps');
    const other = join(directory, 'other');
    const few = await run(['--profile', '--profile-steps', '2', '--profile-output-dir', other], { environment });
    assert.equal(steps(/^New file detected: (.*)$/m.exec(few.printed)![1]!), 2);
    assert.ok(few.printed.includes(`New file detected: ${other}/`));
  });
});

test('what makes no sense is refused before a model is loaded', async () => {
  const launch = () => Promise.reject(new Error('launched'));
  const refused = async (flags: readonly string[], pattern: RegExp) => {
    const { error } = await run(flags, { launch });
    assert.equal(error?.code, 'INVALID_OPTION', flags.join(' '));
    assert.match(error.message, pattern);
  };
  await refused(
    ['--backend', 'runtime'],
    /--backend: 'runtime' is a server behind the engine: bench-serving measures a server/,
  );
  await refused(['--profile'], /Please set SGLANG_TORCH_PROFILER_DIR/);
  await refused(
    ['--prompt-suffix', 'x'],
    /--prompt-suffix works with --dataset-name sharegpt and custom, not with random/,
  );
  await refused(['--apply-chat-template'], /--apply-chat-template works with .* not with random/);
  await refused(
    ['--dataset-name', 'sharegpt', '--tokenize-prompt'],
    /--tokenize-prompt works with --dataset-name random/,
  );
  await refused(['--logprob-start-len', '0'], /--logprob-start-len: works with --return-logprob/);
  await refused(['--extra-request-body', '{"temperatur": 1}'], /--extra-request-body: temperatur is not a sampling/);
  await refused(['--extra-request-body', '{"top_p": 2}'], /--extra-request-body: top_p must be a number/);
  await refused(['--extra-request-body', '[1]'], /--extra-request-body: expected a JSON object/);
  await refused(['--dataset-name', 'sharegpt', '--dataset-path', '/nonexistent'], /\/nonexistent/);
  await refused(
    ['--result-filename', `${MODEL}/config.json/rows.jsonl`],
    /--result-filename .*: results cannot be written/,
  );
});

test('flags of a server are accepted, with a warning', () => {
  const argv = ['--model', 'm', '--num-prompt', '10', '--mem-frac=0.8', '--port', '1'];
  const { options, warnings } = parseArguments(BENCH_OFFLINE_THROUGHPUT, argv, {});
  assert.deepEqual([options.modelPath, options.numPrompts, options.memFractionStatic], ['m', 10, 0.8]);
  assert.deepEqual(warnings, ['--port has no effect on bench-offline-throughput']);
});
