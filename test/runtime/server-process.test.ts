// The server as a process: signals, crashes, exit codes.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseEvents, post, until } from '../support/http.js';
import { isAlive, ServerProcess, SLOW_MODEL, storiesServer } from '../support/server-process.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const LONG = { input_ids: [1, 2, 3], sampling_params: { max_new_tokens: 30_000, ignore_eos: true }, stream: true };

/** A streaming request; resolves when the first event is there. */
async function startStream(url: string): Promise<{ rest: Promise<string> }> {
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...LONG }),
  });
  assert.equal(response.status, 200);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value!;
  const rest = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text;
      text = (text + value).slice(-4_000_000); // the end is what matters
    }
  })();
  return { rest };
}

/** The last event before [DONE] of a stream of which the beginning may be missing. */
function lastEvent(text: string): { error?: { message: string } } {
  return parseEvents(text.slice(text.lastIndexOf('data: {'))).at(-1);
}

/** User and system time that a process has used. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

test('SIGTERM and SIGINT end an idle server and its rank with code 0', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const server = storiesServer(t);
    await server.ready();
    const [rank] = server.ranks;
    assert.ok(isAlive(rank!));
    server.kill(signal);
    assert.equal(await server.exited, 'code 0');
    assert.equal(isAlive(rank!), false);
  }
});

test('SIGTERM while requests run: short ones finish, long ones get a final message, exit 0', async (t) => {
  const server = storiesServer(t, [...SLOW_MODEL, '--shutdown-timeout=1.5']);
  const url = await server.ready();
  const long = await startStream(url);
  const short = post(`${url}/generate`, { input_ids: [5], sampling_params: { max_new_tokens: 20, ignore_eos: true } });
  await until(() => server.log.length > 0);
  await sleep(100); // both run
  server.kill('SIGTERM');
  await server.logged('shutting down');
  const refused = await post(`${url}/generate`, { input_ids: [5] });
  assert.equal(refused.status, 503);
  assert.match(refused.body.message, /shutting down/);
  assert.equal((await short).body.output_ids.length, 20);
  assert.match(lastEvent(await long.rest).error!.message, /shutting down/);
  assert.equal(await server.exited, 'code 0');
});

test('a second signal ends the process at once, and the rank with it', async (t) => {
  const server = storiesServer(t, [...SLOW_MODEL, '--shutdown-timeout=600']);
  const url = await server.ready();
  const [rank] = server.ranks;
  const long = await startStream(url);
  long.rest.catch(() => {});
  server.kill('SIGTERM');
  await server.logged('shutting down');
  server.kill('SIGTERM');
  assert.equal(await server.exited, 'code 143');
  await until(() => !isAlive(rank!), 'the rank to end');
});

test('SIGTERM while the model loads ends everything with code 0', async (t) => {
  const server = storiesServer(t, SLOW_MODEL);
  await server.logged('loading');
  server.kill('SIGTERM');
  assert.equal(await server.exited, 'code 0');
});

test('a step that fails: every request gets a coded error, exit 1', async (t) => {
  const server = storiesServer(t, ['--skip-server-warmup'], { VITRINE_FAIL_STEP: '6' });
  const url = await server.ready();
  const body = { input_ids: [1], sampling_params: { max_new_tokens: 50, ignore_eos: true } };
  const replies = await Promise.all([
    post(`${url}/generate`, { ...body, stream: true }),
    post(`${url}/generate`, body),
    post(`${url}/v1/completions`, { prompt: [1], max_tokens: 50, ignore_eos: true }),
  ]);
  assert.match(lastEvent(replies[0]!.text).error!.message, /engine failed/i);
  for (const { status, body: error } of replies.slice(1)) {
    assert.equal(status, 500);
    assert.match(error.message, /engine failed/i);
  }
  assert.equal(await server.exited, 'code 1');
});

test('an engine that fails in the warm-up never reports ready', async (t) => {
  const server = storiesServer(t, [], { VITRINE_FAIL_STEP: '2' });
  assert.equal(await server.exited, 'code 1');
  assert.ok(!server.log.includes('ready to roll'));
  assert.match(server.log, /engine failed/i);
});

test('an idle server and its rank use next to no processor time', async (t) => {
  const server = storiesServer(t);
  const url = await server.ready();
  await post(`${url}/generate`, { input_ids: [1], sampling_params: { max_new_tokens: 5 } });
  const pids = [server.child.pid!, ...server.ranks];
  await sleep(300); // start-up work that was put off
  const before = pids.map(processorSeconds);
  await sleep(1500);
  pids.forEach((pid, i) => {
    const used = processorSeconds(pid) - before[i]!;
    assert.ok(used < 0.5, `process ${pid} used ${used} s of 1.5 s`);
  });
});

/** The processors that each thread of a process may use, by its name; the main thread is `main`. */
function processorsOf(pid: number): Map<string, string> {
  const lists = readdirSync(`/proc/${pid}/task`).map((task): [string, string] => {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
    const name = task === String(pid) ? 'main' : /^Name:\t(.*)$/m.exec(status)![1]!;
    return [name, /^Cpus_allowed_list:\t(.*)$/m.exec(status)![1]!];
  });
  return new Map(lists);
}

test('the engine thread has its processor to itself: the JavaScript thread of the rank stays off it', async (t) => {
  if (availableParallelism() < 2) {
    t.skip('one processor');
    return;
  }
  const server = storiesServer(t, ['--cpu-threads', '1']);
  await server.ready();
  const processors = processorsOf(server.ranks[0]!);
  const own = processors.get('vitrine-engine')!;
  assert.match(own, /^\d+$/);
  const others = processors
    .get('main')!
    .split(',')
    .map((range) => range.split('-').map(Number));
  assert.ok(
    !others.some(([first, last]) => Number(own) >= first! && Number(own) <= (last ?? first!)),
    `${own} is in main`,
  );
  assert.notEqual(processorsOf(server.child.pid!).get('main'), processors.get('main'));
});

test('--log-requests logs a request and its result', async (t) => {
  const server = storiesServer(t, ['--log-requests']);
  const url = await server.ready();
  await post(`${url}/generate`, { text: 'Once', rid: 'my-request', sampling_params: { max_new_tokens: 3 } });
  await server.logged('Finish: my-request (length)');
  assert.ok(server.log.includes('Receive: my-request'));
});

test('a rank that is killed: requests get an error, exit 1', async (t) => {
  const server = storiesServer(t, SLOW_MODEL);
  const url = await server.ready();
  const long = await startStream(url);
  process.kill(server.ranks[0]!, 'SIGKILL');
  assert.match(lastEvent(await long.rest).error!.message, /gone/);
  assert.equal(await server.exited, 'code 1');
});

test('a front end that is killed takes its rank along', async (t) => {
  const server = storiesServer(t);
  await server.ready();
  const [rank] = server.ranks;
  server.kill('SIGKILL');
  assert.equal(await server.exited, 'signal SIGKILL');
  await until(() => !isAlive(rank!), 'the rank to end');
});

test('a port in use: an error that names it, exit 1', async (t) => {
  const first = storiesServer(t);
  const { port } = new URL(await first.ready());
  const second = storiesServer(t, [`--port=${port}`]);
  assert.equal(await second.exited, 'code 1');
  assert.ok(second.log.includes(`Port ${port}`) && second.log.includes('already in use'), second.log);
});

test('a model that cannot be used: an error that says why, exit 1, no rank left', async (t) => {
  const empty = join(await temporaryDirectory(t), 'model');
  await mkdir(empty);
  const server = new ServerProcess(t, [`--model-path=${empty}`]);
  assert.equal(await server.exited, 'code 1');
  assert.ok(server.log.includes('config.json'), server.log);
});

test('a cache that does not fit is refused by the rank and reported by the server', async (t) => {
  const server = storiesServer(t, ['--max-total-tokens=2000000000']);
  assert.equal(await server.exited, 'code 1');
  assert.ok(server.log.includes('--max-total-tokens'), server.log);
});
