// The profiler program against a small server: ours, which reports, and one like SGLang's, which does not.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { runProfiler } from '#vitrine/bench/profile/profiler.js';
import { streamNotice } from '#vitrine/bench/terminal/wait-notice.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { PROFILER } from '#vitrine/config/programs.js';
import { VitrineError } from '#vitrine/util/errors.js';
import { FakeLlmServer, type ProfileBehaviour } from '../support/fake-llm-server.js';
import { doneReport, PROFILE_ID, profileReport, reportedFile } from '../support/profile-reports.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

interface Given {
  readonly info?: object;
  readonly environment?: Record<string, string>;
  /** Called with each notice of the wait; `abort` is Ctrl-C. */
  readonly onNotice?: (text: string, abort: () => void) => void;
}

interface Run {
  readonly printed: string[];
  readonly warned: string[];
  readonly notices: string[];
  readonly server: FakeLlmServer;
  /** --output-dir. */
  readonly directory: string;
  /** The directory of the profile. */
  readonly made: string;
  readonly error: VitrineError | undefined;
}

async function profile(t: TestContext, flags: string[], behave: ProfileBehaviour, given: Given = {}): Promise<Run> {
  const directory = await temporaryDirectory(t);
  const server = await FakeLlmServer.start(undefined, given.info, behave);
  t.after(() => server.close());
  const fixed = ['--url', `${server.url}/`, '--output-dir', directory];
  const { options } = parseArguments(PROFILER, [...fixed, ...flags], given.environment ?? {});
  const printed: string[] = [];
  const warned: string[] = [];
  const notices: string[] = [];
  const interrupt = new AbortController();
  let error: VitrineError | undefined;
  try {
    await runProfiler(options, {
      output: { print: (line) => printed.push(line), warn: (line) => warned.push(line) },
      notice: {
        update: (text) => {
          notices.push(text);
          given.onNotice?.(text, () => interrupt.abort());
        },
        end: () => {},
      },
      interrupt: interrupt.signal,
      environment: given.environment ?? {},
    });
  } catch (thrown) {
    assert.ok(thrown instanceof VitrineError, String(thrown));
    error = thrown;
  }
  const [name] = readdirSync(directory);
  return { printed, warned, notices, server, directory, made: join(directory, name ?? ''), error };
}

/** A server that takes the order and then says `later`, one after the other, the last for ever. */
function reporting(first: object, later: readonly object[]): ProfileBehaviour {
  let asked = 0;
  return ({ path }) => {
    if (path === '/start_profile') return { body: first };
    asked += 1;
    return { body: later[Math.min(asked, later.length) - 1]! };
  };
}

describe('a server that reports', () => {
  test('the order, the words of SGLang, the wait, the files', async (t) => {
    const states = [profileReport(), profileReport({ state: 'recording', recorded_steps: 3 })];
    const files = [
      reportedFile(),
      reportedFile({ path: '/profiles/m.json', kind: 'memory', steps: 1, last_step: 11, text_bytes: 20_000 }),
      reportedFile({ path: '/profiles/none.gz', steps: 0, first_step: null, last_step: null, dropped_records: 4 }),
    ];
    const mergeIn = (state: 'waiting' | 'running') => doneReport({ files, merge: { state, files: [], error: null } });
    const skipped = [{ path: '/profiles/b.gz', reason: 'its compressed data is cut off' }];
    const merge = { state: 'done' as const, files: [{ path: '/profiles/merged.gz', events: 9, skipped }], error: null };
    const later = [
      ...states,
      profileReport({ state: 'flushing', recorded_steps: 5 }),
      ...[mergeIn('waiting'), mergeIn('running'), doneReport({ files, merge })],
    ];
    const run = await profile(t, [], reporting(profileReport(), later), { info: { tp_size: 1 } });
    assert.equal(run.error, undefined);
    const { printed, server, made, notices } = run;
    assert.match(made, /\/\d{10}\.\d+$/);
    assert.deepEqual(printed, [
      `Dump profiling traces to ${made}`,
      'Waiting for 5 steps and the trace to be flushed.... (profile_by_stage=False)',
      `/profiles/${PROFILE_ID}-TP-0.trace.json.gz: 5 steps (11 to 15), 678 events, 13 kB (3.5 MB of text)`,
      '/profiles/m.json: step 11, 13 kB (20 kB of text)',
      '/profiles/none.gz: no step, 678 events, 13 kB (3.5 MB of text), 4 records dropped',
      '/profiles/merged.gz: merged, 9 events',
    ]);
    assert.deepEqual(run.warned, ['/profiles/merged.gz is without /profiles/b.gz: its compressed data is cut off']);
    const [start, ...polls] = server.profileCalls;
    assert.deepEqual(
      [start!.method, start!.path, start!.headers.accept],
      ['POST', '/start_profile', 'application/json'],
    );
    assert.deepEqual(start!.body, {
      output_dir: made,
      num_steps: 5,
      activities: ['CPU', 'GPU'],
      profile_by_stage: false,
      merge_profiles: false,
    });
    assert.equal(polls.length, later.length);
    assert.ok(polls.every(({ method, query }) => method === 'GET' && query.get('profile_id') === PROFILE_ID));
    assert.deepEqual(JSON.parse(readFileSync(join(made, 'server_args.json'), 'utf8')), { version: 'fake', tp_size: 1 });
    assert.match(notices[0]!, /armed, 0 of 5 steps recorded; it begins with a forward step to come/);
    assert.match(notices[2]!, /recording, 3 of 5 steps recorded/);
    assert.match(notices.at(-2)!, /waiting for the files of all ranks/);
    assert.match(notices.at(-1)!, /merging the files of the ranks/);
  });

  test('every flag has its field', async (t) => {
    const flags = [
      ...[
        '--num-steps',
        '7',
        '--profile-by-stage',
        '--profile-prefix',
        'mine',
        '--no-cpu',
        '--mem',
        '--merge-profiles',
      ],
      ...['--start-in', '3', '--profile-stages', 'decode', '--no-with-stack', '--no-record-shapes'],
      ...['--max-seconds', '2.5', '--max-bytes', '1000'],
    ];
    const run = await profile(t, flags, reporting(doneReport(), []));
    assert.equal(run.error, undefined);
    assert.match(run.printed[1]!, /^Waiting for 7 steps .*\(profile_by_stage=True\)$/);
    assert.deepEqual(run.server.profileCalls[0]!.body, {
      output_dir: run.made,
      num_steps: 7,
      activities: ['GPU', 'MEM'],
      profile_by_stage: true,
      merge_profiles: true,
      profile_prefix: 'mine',
      start_in: 3,
      profile_stages: ['decode'],
      with_stack: false,
      record_shapes: false,
      max_seconds: 2.5,
      max_bytes: 1000,
    });
    const other = await profile(
      t,
      ['--activities', 'CUDA_PROFILER', '--start-step', '20'],
      reporting(doneReport(), []),
    );
    const { activities, start_step: startStep } = other.server.profileCalls[0]!.body;
    assert.deepEqual([activities, startStep], [['CUDA_PROFILER'], 20]);
  });

  test('--no-wait returns with the order taken', async (t) => {
    const run = await profile(t, ['--no-wait'], reporting(profileReport(), []));
    assert.equal(run.error, undefined);
    assert.equal(run.server.profileCalls.length, 1);
    assert.equal(run.printed.length, 2);
  });

  test('keys: --api-key, VITRINE_API_KEY, OPENAI_API_KEY, API_KEY', async (t) => {
    const sent = async (flags: string[], environment: Record<string, string>) => {
      const run = await profile(t, flags, reporting(doneReport(), []), { environment });
      return run.server.profileCalls[0]!.headers.authorization;
    };
    const all = { OPENAI_API_KEY: 'o', API_KEY: 'raw' };
    assert.equal(await sent(['--api-key', 'k'], { ...all, VITRINE_API_KEY: 'v' }), 'Bearer k');
    assert.equal(await sent([], { ...all, VITRINE_API_KEY: 'v' }), 'Bearer v');
    assert.equal(await sent([], all), 'Bearer o');
    assert.equal(await sent([], { API_KEY: 'raw' }), 'raw');
    assert.equal(await sent([], {}), undefined);
  });

  test('fewer steps than asked for are said, with the reason', async (t) => {
    const run = await profile(t, [], reporting(doneReport({ recorded_steps: 2, ended_by: 'max_seconds' }), []));
    assert.equal(run.error, undefined);
    assert.match(run.warned[0]!, /holds 2 of 5 steps: recording was ended by max_seconds/);
  });

  test('a profile that failed, and a merge that failed', async (t) => {
    const error = { code: 'TRACE_NOT_WRITTEN', message: 'no space left on the device', param: null };
    const failed = await profile(t, [], reporting(profileReport(), [profileReport({ state: 'failed', error })]));
    assert.equal(failed.error?.code, 'BENCH_FAILED');
    assert.match(failed.error.message, new RegExp(`Profile ${PROFILE_ID} failed: no space left on the device`));
    const merge = { state: 'failed' as const, files: [], error: 'rank 3 wrote nothing' };
    const unmerged = await profile(t, [], reporting(doneReport({ merge }), []));
    assert.match(unmerged.error!.message, /merging its files failed: rank 3 wrote nothing/);
    assert.equal(unmerged.printed.length, 3, 'the files that are there are printed');
  });

  test('Ctrl-C ends the wait, not the profile, and says how to end it', async (t) => {
    const run = await profile(t, [], reporting(profileReport(), [profileReport()]), {
      onNotice: (_, abort) => abort(),
    });
    assert.equal(run.error?.code, 'ABORTED');
    assert.match(run.error.message, /still armed, 0 of 5 steps recorded/);
    assert.ok(run.error.message.includes(`curl -X POST ${run.server.url}/stop_profile`));
    assert.ok(run.server.profileCalls.every(({ path }) => path !== '/stop_profile'));
  });

  test('so does the time limit', async (t) => {
    const run = await profile(t, ['--wait-timeout', '0'], reporting(profileReport(), []));
    assert.equal(run.error?.code, 'BENCH_FAILED');
    assert.match(run.error.message, /^Waited 0 s \(--wait-timeout\): profile .* is still armed/);
  });

  test('a server that goes away while it is waited for', async (t) => {
    let closed = false;
    const directory = await temporaryDirectory(t);
    const server = await FakeLlmServer.start(undefined, {}, () => ({ body: profileReport() }));
    t.after(() => closed || server.close());
    const { options } = parseArguments(PROFILER, ['--url', server.url, '--output-dir', directory], {});
    const run = runProfiler(options, {
      output: { print: () => {}, warn: () => {} },
      notice: {
        update: () => {
          if (!closed) void server.close();
          closed = true;
        },
        end: () => {},
      },
      interrupt: new AbortController().signal,
      environment: {},
    });
    await assert.rejects(run, { code: 'NOT_READY' });
  });
});

describe('a server like SGLang’s', () => {
  const TRACE = gzipSync('{"traceEvents":[{"ph":"i","name":"a","ts":1},{"ph":"i","name":"b","ts":2}]}');
  const sentence: ProfileBehaviour = () => ({ body: 'Start profiling.\n' });

  test('the wait ends when the file is whole', async (t) => {
    let directory = '';
    let looks = 0;
    const behave: ProfileBehaviour = ({ body }) => {
      directory = body.output_dir as string;
      writeFileSync(join(directory, 'other.txt'), 'no trace');
      return { body: 'Start profiling.\n' };
    };
    const run = await profile(t, [], behave, {
      onNotice: () => {
        looks += 1;
        // Half a file that does not grow, for several looks; then all of it.
        if (looks === 1) writeFileSync(join(directory, '1.5-TP-0.trace.json.gz'), TRACE.subarray(0, 40));
        if (looks === 5) writeFileSync(join(directory, '1.5-TP-0.trace.json.gz'), TRACE);
      },
    });
    assert.equal(run.error, undefined);
    assert.ok(looks >= 5, `it looked ${looks} times`);
    assert.deepEqual(run.printed.slice(2), [`${join(run.made, '1.5-TP-0.trace.json.gz')}: 2 events, 1 kB`]);
    assert.match(run.notices[0]!, /^0 of 1 trace files are in/);
  });

  test('a file a rank and stage is waited for, and the merged one', async (t) => {
    const expected = (flags: string[], info: object) =>
      profile(t, [...flags, '--wait-timeout', '0'], sentence, { info }).then(
        ({ error }) => /: 0 of (\d+) trace files/.exec(error!.message)?.[1],
      );
    assert.equal(await expected([], {}), '1');
    assert.equal(await expected(['--profile-by-stage'], { tp_size: 2 }), '4');
    assert.equal(await expected(['--merge-profiles'], { tp_size: 2, pp_size: 2, dp_size: 2 }), '9');
    assert.equal(await expected([], { tp_size: 4, dp_size: 4, enable_dp_attention: true }), '4');
    const oneStage = ['--profile-by-stage', '--profile-stages', 'decode'];
    assert.equal(await expected(oneStage, {}), '1');
  });

  test('Ctrl-C says what is there and how to end the profile', async (t) => {
    const run = await profile(t, [], sentence, { onNotice: (_, abort) => abort() });
    assert.equal(run.error?.code, 'ABORTED');
    assert.match(run.error.message, /^Interrupted: 0 of 1 trace files .* may still be recording: `curl -X POST/);
  });
});

describe('what goes wrong', () => {
  test('a refusal, with the reason of the server', async (t) => {
    const refused = (status: number, body: string | object) => profile(t, [], () => ({ status, body }));
    const { error } = await refused(400, { object: 'error', message: 'num_steps: expected a number', code: 400 });
    assert.equal(error?.code, 'BENCH_FAILED');
    assert.match(error.message, /POST .*\/start_profile: HTTP 400 Bad Request: num_steps: expected a number$/);
    const bare = await refused(500, 'Internal Server Error');
    assert.match(bare.error!.message, /HTTP 500 .*: Internal Server Error \(the reason is in the log of the server\)$/);
    const key = await refused(401, { error: 'Unauthorized' });
    assert.equal(key.error?.code, 'UNAUTHORIZED');
    assert.match(key.error.message, /--api-key/);
  });

  test('nobody there: no directory is left', async (t) => {
    const directory = await temporaryDirectory(t);
    const server = await FakeLlmServer.start();
    await server.close();
    const flags = ['--url', server.url, '--output-dir', join(directory, 'new')];
    const { options } = parseArguments(PROFILER, flags, {});
    const deps = {
      output: { print: () => {}, warn: () => {} },
      notice: streamNotice({ write: () => {} }),
      interrupt: new AbortController().signal,
      environment: {},
    };
    await assert.rejects(runProfiler(options, deps), (error: VitrineError) => {
      assert.equal(error.code, 'NOT_READY');
      assert.match(error.message, /^No answer of http.*ECONNREFUSED/);
      return true;
    });
    assert.equal(existsSync(join(directory, 'new')), false);
  });

  test('a directory that cannot be made', async (t) => {
    const run = await profile(t, ['--output-dir', '/dev/null/x'], reporting(doneReport(), []));
    assert.equal(run.error?.code, 'INVALID_OPTION');
    assert.match(run.error.message, /^--output-dir \/dev\/null\/x: /);
    assert.equal(run.server.profileCalls.length, 0);
  });

  test('flags that make no sense are refused before anything is asked', async (t) => {
    const refused = async (flags: string[], pattern: RegExp) => {
      const run = await profile(t, flags, reporting(doneReport(), []));
      assert.equal(run.error?.code, 'INVALID_OPTION', flags.join(' '));
      assert.match(run.error.message, pattern);
      assert.equal(run.server.profileCalls.length, 0);
    };
    await refused(['--rpd'], /^--rpd: RPD is a profiler of ROCm/);
    await refused(['--no-cpu', '--no-gpu'], /expected at least one of --cpu, --gpu and --mem/);
    await refused(['--start-step', '3', '--start-in', '4'], /expected one of --start-step and --start-in, got both/);
    await refused(['--profile-stages', 'decode'], /expected together with --profile-by-stage/);
    await refused(['--url', 'localhost:30000'], /--url: expected an http/);
    assert.equal((await profile(t, ['--no-rpd'], reporting(doneReport(), []))).error, undefined);
  });
});

test('the notice of a wait: a line that changes on a terminal, else few lines', () => {
  const written = (isTTY: boolean) => {
    const texts: string[] = [];
    const notice = streamNotice({ isTTY, write: (text) => texts.push(text) });
    for (const text of ['a', 'a', 'b']) notice.update(text);
    notice.end();
    return texts;
  };
  assert.deepEqual(written(true), ['\r\x1b[Ka', '\r\x1b[Kb', '\r\x1b[K']);
  assert.equal(written(false)[0], 'a\n');
  assert.ok(written(false).length < 3, 'not every look makes a line');
});
