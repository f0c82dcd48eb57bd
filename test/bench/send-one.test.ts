// send-one against a small server and our own front end: what is sent and printed, with and without a profile.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { sendOne } from '#vitrine/bench/send-one/send-one.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { SEND_ONE } from '#vitrine/config/programs.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { type Behaviour, FakeLlmServer, GOOD_TEXT, type ProfileBehaviour } from '../support/fake-llm-server.js';
import { startFakeServer } from '../support/fake-server.js';
import { doneReport, profileReport, reportedFile } from '../support/profile-reports.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

interface Given {
  readonly behave?: Behaviour;
  readonly profile?: ProfileBehaviour;
  readonly environment?: Record<string, string>;
}

interface Run {
  /** Standard output. */
  readonly printed: string;
  readonly warned: string[];
  /** The pieces that --stream wrote. */
  readonly pieces: string[];
  readonly error: VitrineError | undefined;
}

async function run(flags: string[], environment: Record<string, string> = {}): Promise<Run> {
  const { options } = parseArguments(SEND_ONE, flags, environment);
  let printed = '';
  const warned: string[] = [];
  const pieces: string[] = [];
  let error: VitrineError | undefined;
  try {
    await sendOne(options, {
      output: {
        print: (line) => {
          printed += `${line}\n`;
        },
        warn: (line) => warned.push(line),
      },
      write: (text) => {
        pieces.push(text);
        printed += text;
      },
      notice: { update: () => {}, end: () => {} },
      interrupt: new AbortController().signal,
      environment,
    });
  } catch (thrown) {
    assert.ok(thrown instanceof VitrineError, String(thrown));
    error = thrown;
  }
  return { printed, warned, pieces, error };
}

async function send(t: TestContext, flags: string[], { behave, profile, environment }: Given = {}) {
  const server = await FakeLlmServer.start(() => behave ?? 'good', {}, profile);
  t.after(() => server.close());
  const { hostname, port } = new URL(server.url);
  return { ...(await run(['--host', hostname, '--port', port, ...flags], environment)), server };
}

const TABLE = [
  '+-------------+--------+------------+-----------------+',
  '| Latency (s) | Tokens | Acc Length | Speed (token/s) |',
  '+-------------+--------+------------+-----------------+',
  '|    0.500    |   6    |   1.000    |      12.00      |',
  '+-------------+--------+------------+-----------------+',
  '',
].join('\n');

test('the request of SGLang, its text and its table', async (t) => {
  const { printed, server, error } = await send(t, []);
  assert.equal(error, undefined);
  assert.equal(printed, `${GOOD_TEXT}\n\n${TABLE}`);
  const { path, body } = server.received[0]!;
  const { text, ...rest } = body;
  assert.equal(path, '/generate');
  assert.match(text as string, /^Human: .*FastAPI server.*\n\nAssistant:$/);
  assert.deepEqual(rest, {
    sampling_params: {
      temperature: 0,
      max_new_tokens: 512,
      frequency_penalty: 0,
      presence_penalty: 0,
      stop: ['Question', 'Assistant:', '<|separator|>', '<|eos|>'],
    },
    return_logprob: false,
    stream: false,
  });
});

test('every flag has its field', async (t) => {
  const flags = [
    ...['--prompt', 'Hello', '--temperature', '0.5', '--max-new-tokens', '9', '--frequency-penalty', '0.1'],
    ...['--presence-penalty', '0.2', '--seed', '7', '--json', '--return-logprob', '--api-key', 'k'],
  ];
  const { server } = await send(t, flags);
  const { body, headers } = server.received[0]!;
  const { stop: _, ...sampling } = body.sampling_params as Record<string, unknown>;
  assert.equal(body.text, 'Hello');
  assert.equal(body.return_logprob, true);
  assert.equal(headers.authorization, 'Bearer k');
  assert.deepEqual(sampling, {
    temperature: 0.5,
    max_new_tokens: 9,
    frequency_penalty: 0.1,
    presence_penalty: 0.2,
    json_schema: '$$ANY$$',
    sampling_seed: 7,
  });
  const { server: other } = await send(t, ['--json']);
  assert.match(other.received[0]!.body.text as string, /France/);
});

test('a batch: the same prompt, or different ones', async (t) => {
  const { server } = await send(t, ['--batch-size', '3', '--prompt', 'x']);
  assert.deepEqual(server.received[0]!.body.text, ['x', 'x', 'x']);
  const { server: other } = await send(t, ['--batch-size', '2', '--different-prompts', '--prompt', 'x']);
  assert.deepEqual(other.received[0]!.body.text, ['Test case 1: x', 'Test case 2: x']);
});

test('--stream prints the text as it comes', async (t) => {
  const { printed, pieces, error } = await send(t, ['--stream']);
  assert.equal(error, undefined);
  assert.equal(pieces.join(''), GOOD_TEXT);
  assert.ok(pieces.filter((piece) => piece !== '').length > 1);
  assert.equal(printed, `${GOOD_TEXT}\n\n${TABLE}`);
});

test('what the server refuses is said', async (t) => {
  const refused = async (behave: Behaviour, flags: string[], pattern: RegExp) => {
    const { error } = await send(t, flags, { behave });
    assert.equal(error?.code, 'BENCH_FAILED', behave);
    assert.match(error.message, pattern);
  };
  await refused('too-many', [], /^The request failed: HTTP 429 Too Many Requests: slow down, please$/);
  await refused('error-event', ['--stream'], /: the prompt is too long$/);
  await refused('abort', ['--stream'], /: aborted: out of memory$/);
  await refused('garbage', ['--stream'], /: malformed answer: <html>/);
  await refused('no-end', ['--stream'], /ended without a finish reason/);
  await refused('cut', ['--stream'], /cut in the middle/);
  assert.throws(() => parseArguments(SEND_ONE, ['--image'], {}), /--image is an SGLang option about multimodal models/);
});

test('nobody there', async () => {
  const server = await FakeLlmServer.start();
  await server.close();
  const { error } = await run(['--host', '127.0.0.1', '--port', new URL(server.url).port]);
  assert.equal(error?.code, 'NOT_READY');
  assert.match(error.message, /^No answer of http:.*\/generate: .*ECONNREFUSED/);
});

test('our own server: a batch, streamed or not; grammars are refused with its words', async (t) => {
  const server = await startFakeServer(t);
  const { hostname, port } = new URL(server.url);
  const at = ['--host', hostname, '--port', port, '--max-new-tokens', '5', '--batch-size', '2', '--different-prompts'];
  const whole = await run(at);
  assert.equal(whole.error, undefined);
  assert.match(whole.printed, /\n\| +\d\.\d{3} +\| +5 +\| +1\.000 +\| +[\d.]+ +\|\n/);
  const textOf = ({ printed }: Run) => printed.slice(0, printed.indexOf('\n\n+--'));
  const streamed = await run([...at, '--stream']);
  assert.equal(streamed.error, undefined);
  assert.equal(textOf(streamed), textOf(whole));
  const { error } = await run([...at, '--json']);
  assert.match(error!.message, /HTTP 400 Bad Request: .*json_schema/);
});

test('--profile: the order, then the request, then the files', async (t) => {
  const directory = await temporaryDirectory(t);
  const order: string[] = [];
  const server = await FakeLlmServer.start(
    () => {
      order.push('/generate');
      return 'good';
    },
    {},
    ({ path }) => {
      order.push(path);
      if (path === '/start_profile') return { body: profileReport({ planned_steps: 3 }) };
      return { body: doneReport({ planned_steps: 3, recorded_steps: 3, files: [reportedFile({ steps: 3 })] }) };
    },
  );
  t.after(() => server.close());
  const { hostname, port } = new URL(server.url);
  const flags = ['--host', hostname, '--port', port, '--profile', '--profile-by-stage', '--profile-prefix', 'one'];
  const { error, printed } = await run(flags, { SGLANG_TORCH_PROFILER_DIR: directory });
  assert.equal(error, undefined);
  assert.deepEqual(order, ['/start_profile', '/generate', '/profile_status']);
  const { output_dir: outputDir, ...body } = server.profileCalls[0]!.body;
  assert.equal(outputDir, `${directory}/${readdirSync(directory)[0]}`);
  assert.deepEqual(body, {
    num_steps: 3,
    activities: ['CPU', 'GPU'],
    profile_by_stage: true,
    merge_profiles: false,
    profile_prefix: 'one',
  });
  assert.match(printed, /^Dump profiling traces to .*\nWaiting for 3 steps .*=True\)\n/);
  assert.match(printed, /\+\n\/profiles\/.*-TP-0\.trace\.json\.gz: 3 steps \(11 to 15\)/);
});

test('by stage, a prefill of fewer steps than planned is no shortage; missing decode steps are', async (t) => {
  const environment = { SGLANG_TORCH_PROFILER_DIR: await temporaryDirectory(t) };
  const warnings = async (decodeSteps: number): Promise<string[]> => {
    const files = [reportedFile({ stage: 'EXTEND', steps: 1 }), reportedFile({ stage: 'DECODE', steps: decodeSteps })];
    const stopped = doneReport({ planned_steps: 6, recorded_steps: 1 + decodeSteps, ended_by: 'stop', files });
    const recording = profileReport({ state: 'recording', planned_steps: 6, recorded_steps: 1 + decodeSteps });
    const profile: ProfileBehaviour = ({ path }) => ({ body: path === '/stop_profile' ? stopped : recording });
    const { warned } = await send(t, ['--profile', '--profile-by-stage'], { profile, environment });
    return warned;
  };
  assert.deepEqual(await warnings(3), []);
  assert.match((await warnings(2))[0]!, /holds 3 of 6 steps: recording was ended by stop/);
});

test('a profile that the answer was too short for is ended', async (t) => {
  const environment = { SGLANG_TORCH_PROFILER_DIR: await temporaryDirectory(t) };
  const recording = profileReport({ state: 'recording', recorded_steps: 1 });
  const stopped = doneReport({ recorded_steps: 1, ended_by: 'stop' });
  const profile: ProfileBehaviour = ({ path }) => ({ body: path === '/stop_profile' ? stopped : recording });
  const { error, warned, server } = await send(t, ['--profile'], { profile, environment });
  assert.equal(error, undefined);
  assert.equal(server.profileCalls.at(-1)!.path, '/stop_profile');
  assert.match(warned[0]!, /holds 1 of 5 steps: recording was ended by stop/);
  const failing = await send(t, ['--profile'], { profile, environment, behave: 'too-many' });
  assert.match(failing.error!.message, /HTTP 429/);
  assert.equal(failing.server.profileCalls.at(-1)!.path, '/stop_profile', 'also when the request failed');
});

test('profile flags without --profile are warned about', async (t) => {
  const { warned } = await send(t, ['--profile-by-stage']);
  assert.match(warned[0]!, /have no effect without --profile/);
});
