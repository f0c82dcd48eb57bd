// merge-traces and trace-summary as programs: values without flags, output, exit codes.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace } from '../support/trace-checker.js';
import { writeTraceFile } from '../support/trace-files.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const KINETO = fileURLToPath(new URL('../fixtures/traces/kineto.json', import.meta.url));

function vitrine(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const event = { ph: 'X', cat: 'cpu_op', name: 'gemm', pid: 1, tid: 1, ts: 1, dur: 1 };

test('merge-traces takes a directory or files, and names what it leaves out', async (t) => {
  const directory = await temporaryDirectory(t);
  const first = writeTraceFile(directory, '1.5-TP-0.trace.json.gz', { traceEvents: [event] });
  const second = writeTraceFile(directory, '1.5-TP-1.trace.json.gz', { traceEvents: [event, event] });
  writeTraceFile(directory, '1.5-TP-2.trace.json.gz', '{"traceEvents":[');
  const whole = vitrine('merge-traces', directory);
  assert.equal(whole.status, 0, whole.stderr);
  const merged = join(directory, 'merged-1.5.trace.json.gz');
  assert.match(whole.stdout, /merged-1\.5\.trace\.json\.gz: 3 events of 2 files/);
  assert.match(whole.stdout, /\[TP01\] .*1\.5-TP-1\.trace\.json\.gz: 2 events/);
  assert.match(whole.stderr, /left out .*1\.5-TP-2\.trace\.json\.gz: it is cut off after 0 events/);
  assert.equal(readTrace(merged).traceEvents.length, 3);

  const output = join(directory, '-odd name.json.gz');
  const some = vitrine('merge_traces', first, `--output=${output}`, '--profile_id', 'x', '--', second);
  assert.equal(some.status, 0, some.stderr);
  assert.equal(readTrace(output).traceEvents.length, 3);
});

test('merge-traces fails with a reason and exit code', async (t) => {
  const directory = await temporaryDirectory(t);
  const none = vitrine('merge-traces', directory);
  assert.equal(none.status, 1);
  assert.match(none.stderr, /no trace file of a rank.*TRACE_INVALID/);
  const usage = vitrine('merge-traces');
  assert.equal(usage.status, 2);
  assert.match(usage.stderr, /--inputs is required/);
  const hostile = vitrine('merge-traces', KINETO, '--profile-id', '../../x');
  assert.equal(hostile.status, 1);
  assert.match(hostile.stderr, /profile_id/);
  assert.equal(existsSync(join(directory, '../../merged-x.trace.json.gz')), false);
});

test('trace-summary prints tables, or JSON', () => {
  const text = vitrine('trace-summary', KINETO, '--top', '1');
  assert.equal(text.status, 0, text.stderr);
  assert.match(text.stdout, /Top ops by self time\n.*\n {2}aten::mm/);
  assert.match(text.stdout, /… 4 more ops/);
  const json = vitrine('trace-summary', '--json', '--file', KINETO);
  assert.equal(JSON.parse(json.stdout).steps[0].count, 2);
});

test('trace-summary refuses what it cannot read', async (t) => {
  const directory = await temporaryDirectory(t);
  const missing = vitrine('trace-summary', join(directory, 'none.json'));
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /does not exist/);
  const two = vitrine('trace-summary', KINETO, KINETO);
  assert.equal(two.status, 2);
  assert.match(two.stderr, /there can be only one file/);
  assert.equal(vitrine('trace-summary', KINETO, '--top', '0').status, 2);
});
