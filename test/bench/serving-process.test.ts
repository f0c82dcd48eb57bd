// `vitrine bench-serving` as its users run it: exit codes, and Ctrl-C in each of its phases.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Behaviour, FakeLlmServer } from '../support/fake-llm-server.js';
import { program, storiesModel } from '../support/running-server.js';
import { ScriptedServer, type Step, whole } from '../support/scripted-server.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vitrine-serving-process-'));
});
after(() => rm(folder, { recursive: true }));

let runs = 0;

interface Outcome {
  readonly code: number | null;
  readonly printed: string;
  readonly warned: string;
  /** Of the result file; none where nothing was saved. */
  readonly rows: Record<string, unknown>[];
}

/** Sends SIGINT when `ready` resolves. `shell`: commands before the program. */
async function run(url: string, flags: readonly string[], ready?: Promise<unknown>, shell = ''): Promise<Outcome> {
  runs += 1;
  const file = join(folder, `${runs}.jsonl`);
  const target = ['--base-url', url, '--tokenizer', storiesModel, '--output-file', file];
  const load = ['--dataset-name', 'random', '--num-prompts', '6', '--random-input', '6', '--random-output', '6'];
  const words = [program, 'bench-serving', ...target, ...load, ...flags];
  const child = spawn('bash', ['-c', `${shell} exec "$0" "$@"`, process.execPath, ...words]);
  let printed = '';
  let warned = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    printed += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    warned += text;
  });
  void ready?.then(() => child.kill('SIGINT'));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  const text = await readFile(file, 'utf8').catch(() => '');
  const rows = text.split('\n').filter((line) => line !== '');
  return { code, printed, warned, rows: rows.map((row) => JSON.parse(row) as Record<string, unknown>) };
}

async function withFake<T>(behave: (index: number) => Behaviour, use: (fake: FakeLlmServer) => Promise<T>): Promise<T> {
  const fake = await FakeLlmServer.start(behave);
  try {
    return await use(fake);
  } finally {
    await fake.close();
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

test('0 when all requests succeed, 1 when half of them fail, with the table in both cases', async () => {
  const flags = ['--warmup-requests', '0'];
  const good = await withFake(
    () => 'good',
    (fake) => run(fake.url, flags),
  );
  assert.equal(good.code, 0, good.warned);
  assert.equal(good.rows[0]!.completed, 6);
  const half = await withFake(
    (i) => (i % 2 === 0 ? 'good' : 'too-many'),
    (fake) => run(fake.url, flags),
  );
  assert.equal(half.code, 1);
  assert.match(half.printed, /Successful requests: +3 /);
  assert.match(half.warned, /3 of 6 requests failed:\n {2}3 × HTTP 429 Too Many Requests: slow down, please/);
  assert.deepEqual([half.rows[0]!.completed, half.rows[0]!.failed], [3, 3]);
});

test('a server that is no LLM server', async () => {
  const server = await ScriptedServer.start(() => whole('<html>It works!</html>', { type: 'text/html' }));
  try {
    const unnamed = await run(server.url, []);
    assert.equal(unnamed.code, 1);
    assert.match(unnamed.warned, /names no model \(HTTP 200\): is this the address of the server/);
    const named = await run(server.url, ['--model', 'm']);
    assert.equal(named.code, 1);
    assert.match(named.warned, /Warmup failed.*no event in the stream \(content-type: text\/html\): <html>It works!/);
  } finally {
    await server.close();
  }
});

test('too few open files: a warning before, and failures of one kind', async () => {
  await withFake(
    () => 'good',
    async (fake) => {
      const limited = 'ulimit -n 80;';
      const enough = await run(fake.url, ['--num-prompts', '100', '--max-concurrency', '10'], undefined, limited);
      assert.equal(enough.code, 0, enough.warned);
      assert.doesNotMatch(enough.warned, /open files/);
      const { code, warned, rows } = await run(fake.url, ['--num-prompts', '100'], undefined, limited);
      assert.equal(code, 1);
      assert.match(warned, /This process may have 80 open files, and up to 100 connections at once need 164/);
      assert.equal(rows.length, 1, warned);
      const kinds = Object.keys(rows[0]!.errors_by_message as object);
      assert.equal(kinds.length, 1, kinds.join());
      assert.match(kinds[0]!, /EMFILE/);
      assert.ok((rows[0]!.completed as number) > 0);
    },
  );
});

describe('Ctrl-C', () => {
  test('while the server is waited for, also when it accepts and says nothing', async () => {
    const stalled: Step[] = ['stall'];
    const server = await ScriptedServer.start(() => stalled);
    try {
      const { code, warned, rows } = await run(
        server.url,
        [],
        until(() => server.heads.length > 0),
      );
      assert.equal(code, 130);
      assert.match(warned, /Interrupted while waiting for http/);
      assert.deepEqual(rows, []);
    } finally {
      await server.close();
    }
  });

  test('in the warm-up', async () => {
    await withFake(
      () => 'slow',
      async (fake) => {
        const ready = until(() => fake.received.length > 0);
        const { code, printed, warned, rows } = await run(fake.url, [], ready);
        assert.equal(code, 130);
        assert.match(warned, /Interrupted in the warm-up: there is nothing to report/);
        assert.doesNotMatch(printed, /Warmup completed/);
        assert.deepEqual(rows, []);
      },
    );
  });

  test('in the run: what was measured is printed and saved', async () => {
    await withFake(
      (i) => (i < 2 ? 'good' : 'slow'),
      async (fake) => {
        const ready = until(() => fake.received.length === 5);
        const flags = ['--warmup-requests', '0', '--max-concurrency', '3'];
        const { code, printed, warned, rows } = await run(fake.url, flags, ready);
        assert.equal(code, 130);
        assert.match(printed, /Successful requests: +2 /);
        assert.match(warned, /Interrupted: the figures are those of 2 of 6 requests/);
        const { completed, failed, interrupted } = rows[0]!;
        assert.deepEqual([completed, failed, interrupted], [2, 0, 3]);
      },
    );
  });
});
