// The front end's spans, from HTTP requests to what the rank gets, written to a file and read by an independent checker.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type FakeServer, type FakeServerOptions, startFakeServer } from '../support/fake-server.js';
import { writeFrontEndTrace } from '../support/front-end-trace.js';
import { parseEvents, post, until } from '../support/http.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import {
  type CheckedEvent,
  type CheckedTrace,
  requestFlows,
  spansOf,
  traceProblems,
} from '../support/trace-checker.js';

interface Setup extends FakeServer {
  /** Starts a profile and waits until the front end records. */
  readonly record: (fields?: object) => Promise<string>;
  /** Ends it and reads what came. */
  readonly finish: (profileId: string) => Promise<CheckedTrace>;
}

async function setUp(t: TestContext, options: FakeServerOptions = {}): Promise<Setup> {
  const dir = await temporaryDirectory(t);
  const server = await startFakeServer(t, options);
  const { url, manager, scheduler } = server;
  const accept = { headers: { accept: 'application/json' } };
  const record = async (fields: object = {}) => {
    const body = { output_dir: dir, with_stack: false, ...fields };
    const answer = await post(`${url}/start_profile`, body, accept);
    assert.equal(answer.status, 200, answer.text);
    await until(() => manager.tracer.recording, 'the front end to record');
    return answer.body.profile_id as string;
  };
  const finish = async (profileId: string) => {
    if (manager.tracer.recording) assert.equal((await post(`${url}/stop_profile`, '')).status, 200);
    await until(() => scheduler.profiler.ends.some((end) => end.profileId === profileId), 'the front end’s last word');
    return writeFrontEndTrace(dir, scheduler.profiler, profileId);
  };
  return { ...server, record, finish };
}

const lives = (trace: CheckedTrace, cat: string) =>
  trace.traceEvents
    .filter((event) => event.ph === 'b' && event.cat === cat)
    .map((begin) => ({
      begin,
      end: trace.traceEvents.find((e) => e.ph === 'e' && e.cat === cat && e.id === begin.id)!,
    }));
const phases = (points: readonly CheckedEvent[]) => points.map(({ ph }) => ph).join('');
const names = (trace: CheckedTrace, cat: string) => new Set(spansOf(trace, cat).map(({ name }) => name));

test('requests of all kinds: spans nest, lives and arrows are whole', async (t) => {
  const { url, record, finish, scheduler } = await setUp(t);
  const id = await record();
  const chat = { model: 'stories', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 };
  const sampling_params = { max_new_tokens: 5, ignore_eos: true };
  const answers = await Promise.all([
    post(`${url}/generate`, { rid: 'whole', text: 'Once upon a time', sampling_params }),
    post(`${url}/generate`, { rid: 'stream', text: 'Once "quoted" \\ ', sampling_params, stream: true }),
    post(`${url}/generate`, {
      rid: 'pair',
      input_ids: [5, 6, 7],
      sampling_params: { ...sampling_params, n: 2 },
      stream: true,
    }),
    post(`${url}/v1/chat/completions`, chat),
  ]);
  for (const { status, text } of answers) assert.equal(status, 200, text);
  const trace = await finish(id);
  assert.deepEqual(traceProblems(trace), []);

  const requests = new Map(lives(trace, 'request').map((life) => [life.begin.args!.request, life]));
  for (const rid of ['whole', 'stream', 'pair_0', 'pair_1']) {
    const args = requests.get(rid)!.begin.args!;
    assert.equal(args['new tokens'], 5, rid);
    assert.ok((args['prompt tokens'] as number) >= 3, rid);
  }
  assert.equal(requests.size, 5);

  // One arrow each: sent, first token, end; its number is the scheduler's id of the request.
  const flows = requestFlows(trace);
  assert.deepEqual(
    new Set([...flows.keys()].map(Number)),
    new Set(scheduler.generated.map(({ rid }) => Number.parseInt(rid, 36))),
  );
  for (const points of flows.values()) assert.equal(phases(points), 'stf');
  for (const { begin, end } of requests.values()) {
    const points = flows.get(begin.id!)!;
    assert.ok(begin.ts <= points[0]!.ts && points.at(-1)!.ts <= end.ts, `arrow of ${begin.args!.request}`);
  }

  const http = lives(trace, 'http').map(({ begin }) => begin.args!);
  const generate = http.filter(({ route }) => route === '/generate');
  assert.equal(generate.length, 3);
  for (const { method, status } of generate) assert.deepEqual([method, status], ['POST', 200]);
  const sent = answers.slice(0, 3).reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  const counted = generate.reduce((sum, args) => sum + (args['bytes out'] as number), 0);
  assert.ok(counted > sent, `${counted} bytes on the connections, ${sent} in the bodies`);

  for (const name of ['POST /generate', 'POST /v1/chat/completions', 'parse body', 'write response', 'write events']) {
    assert.ok(names(trace, 'http').has(name), name);
  }
  for (const name of ['start to encode', 'render chat template', 'send to scheduler', 'detokenize']) {
    assert.ok(names(trace, 'tokenizer').has(name), name);
  }
  const encodings = lives(trace, 'tokenizer').map(({ begin }) => begin);
  assert.deepEqual(new Set(encodings.map(({ name }) => name)), new Set(['encode']));
  assert.equal(encodings.length, 3); // the one of token ids needs none
  const events = spansOf(trace, 'http').filter(({ name }) => name === 'write events');
  const streamed = events.reduce((sum, { args }) => sum + (args!.bytes as number), 0);
  assert.equal(streamed, Buffer.byteLength(answers[1]!.text) + Buffer.byteLength(answers[2]!.text));
});

test('an arrow leaves from the span that sends the request and ends in one of its own', async (t) => {
  const { url, record, finish } = await setUp(t);
  const id = await record();
  await post(`${url}/generate`, { input_ids: [1, 2], sampling_params: { max_new_tokens: 2 } });
  const trace = await finish(id);
  const [points] = requestFlows(trace).values();
  const around = (point: CheckedEvent) =>
    trace.traceEvents
      .filter((e) => e.ph === 'X' && e.tid === point.tid && e.ts <= point.ts && point.ts <= e.ts + e.dur!)
      .sort((a, b) => a.dur! - b.dur!)[0]?.name;
  assert.deepEqual(points!.map(around), ['send to scheduler', 'first token', 'request ends']);
});

test('what began before the recording begins with it; what goes on after it ends with it', async (t) => {
  const { url, record, finish, scheduler, manager } = await setUp(t, { manual: true });
  const old = post(`${url}/generate`, { rid: 'old', input_ids: [1, 2], sampling_params: { max_new_tokens: 3 } });
  await until(() => scheduler.running.size === 1);
  scheduler.step();
  const id = await record({ num_steps: 1 });
  const long = post(`${url}/generate`, {
    rid: 'long',
    input_ids: [1],
    sampling_params: { max_new_tokens: 9 },
    stream: true,
  });
  await until(() => scheduler.running.size === 2);
  scheduler.step();
  await until(() => !manager.tracer.recording, 'the end of the recording');
  const trace = await finish(id);
  assert.deepEqual(traceProblems(trace), []);
  const found = new Map(lives(trace, 'request').map((life) => [life.begin.args!.request, life]));
  assert.deepEqual(new Set(found.keys()), new Set(['old', 'long']));
  assert.equal(found.get('old')!.end.ts, found.get('long')!.end.ts);
  assert.ok(found.get('old')!.begin.ts < found.get('long')!.begin.ts);
  assert.equal(
    found.get('old')!.begin.ts,
    Math.min(...trace.traceEvents.filter((e) => e.cat === 'request').map((e) => e.ts)),
  );
  assert.deepEqual(
    lives(trace, 'http')
      .map(({ begin }) => [begin.args!.route, begin.args!.status])
      .filter(([route]) => route === '/generate'),
    [
      ['/generate', 0],
      ['/generate', 0],
    ],
  );
  const sent = scheduler.profiler.spans.length;
  while (scheduler.running.size > 0) scheduler.step();
  assert.deepEqual([(await old).status, (await long).status], [200, 200]);
  assert.equal(scheduler.profiler.spans.length, sent); // not a word after the last
});

test('clients that go away and requests that fail leave whole lives', async (t) => {
  const refusal = { type: 'abort', message: 'No.', statusCode: 503, errType: 'QUEUE_FULL' } as const;
  const { url, record, finish, scheduler } = await setUp(t, {
    manual: true,
    refuse: ({ inputIds }) => (inputIds.length === 7 ? refusal : null),
  });
  const id = await record();
  const controller = new AbortController();
  const gone = fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ rid: 'gone', input_ids: [1], stream: true }),
    signal: controller.signal,
  }).catch(() => null);
  await until(() => scheduler.running.size === 1);
  controller.abort();
  await gone;
  await until(() => scheduler.aborts.length === 1, 'the abort');
  const ids = [1, 2, 3, 4, 5, 6, 7];
  assert.equal((await post(`${url}/generate`, { rid: 'refused', input_ids: ids })).status, 503);
  assert.equal((await post(`${url}/generate`, '{"text":')).status, 400);
  assert.equal((await post(`${url}/nowhere`, '')).status, 404);
  const trace = await finish(id);
  assert.deepEqual(traceProblems(trace), []);
  assert.deepEqual(
    new Set(lives(trace, 'request').map(({ begin }) => begin.args!.request)),
    new Set(['gone', 'refused']),
  );
  const statuses = lives(trace, 'http').map(({ begin }) => `${begin.args!.route} ${begin.args!.status}`);
  for (const status of ['/generate 0', '/generate 503', '/generate 400', '(no route) 404']) {
    assert.ok(statuses.includes(status), `${status} among ${statuses}`);
  }
});

test('a second profile has all names again, and ids of its own', async (t) => {
  const { url, record, finish } = await setUp(t);
  const body = { input_ids: [1, 2], sampling_params: { max_new_tokens: 2 } };
  const traces: CheckedTrace[] = [];
  for (const rid of ['one', 'two']) {
    const id = await record();
    assert.equal((await post(`${url}/generate`, { rid, ...body })).status, 200);
    traces.push(await finish(id));
  }
  for (const [i, rid] of ['one', 'two'].entries()) {
    assert.deepEqual(traceProblems(traces[i]!), []);
    assert.deepEqual(
      lives(traces[i]!, 'request').map(({ begin }) => begin.args!.request),
      [rid],
    );
    assert.ok(names(traces[i]!, 'tokenizer').has('send to scheduler'));
  }
});

test('JavaScript stacks come with the last word, where they were asked for', async (t) => {
  const { url, record, finish, scheduler } = await setUp(t);
  const id = await record({ with_stack: true });
  await post(`${url}/generate`, { text: 'Once', sampling_params: { max_new_tokens: 50, ignore_eos: true } });
  const trace = await finish(id);
  assert.deepEqual(traceProblems(trace), []);
  assert.ok(spansOf(trace, 'python_function').length > 0);
  const without = await record();
  await finish(without);
  assert.deepEqual(
    scheduler.profiler.ends.map(({ stacks }) => stacks === null),
    [false, true],
  );
});

test('a flood of records goes out in pieces, none lost', async (t) => {
  const { url, record, finish, scheduler } = await setUp(t, { info: { contextLength: 8192 } });
  const id = await record();
  const sampling_params = { max_new_tokens: 3000, ignore_eos: true };
  const { text } = await post(`${url}/generate`, { input_ids: [1], sampling_params, stream: true });
  assert.equal(parseEvents(text).length, 3000);
  const trace = await finish(id);
  assert.deepEqual(traceProblems(trace), []);
  assert.equal(spansOf(trace, 'tokenizer').filter(({ name }) => name === 'detokenize').length, 3000);
  assert.equal(trace.vitrine!.droppedRecords, 0);
  assert.ok(scheduler.profiler.spans.length > 1);
});
