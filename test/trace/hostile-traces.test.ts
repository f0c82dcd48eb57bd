// What strangers' files may hold: merger and summary take it as JSON.parse would, or say why not, in bounded memory.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createGzip, gzipSync } from 'node:zlib';
import { mergeTraces } from '#vitrine/trace/merge/trace-merger.js';
import { summariseTrace } from '#vitrine/trace/summary/trace-summary.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { type CheckedEvent, readTrace } from '../support/trace-checker.js';
import { writeTraceFile } from '../support/trace-files.js';

const span = { ph: 'X', cat: 'cpu_op', name: 'gemm', pid: 1, tid: 1, ts: 1, dur: 1 };
const text = (...events: object[]) => JSON.stringify({ traceEvents: events });

/** Merges the files and reads what came out; the events of file i are those labelled with TP i. */
async function merge(inputs: string[]) {
  const [result] = await mergeTraces({ inputs, profileId: 'p' });
  const trace = readTrace(result!.output);
  const of = (tp: number): CheckedEvent[] =>
    trace.traceEvents.filter((e) => String(e.pid).startsWith(`[TP${String(tp).padStart(2, '0')}]`));
  return { result: result!, trace, of };
}

test('any packaging of the same text: plain, gzip, several members, CRLF, a BOM, zeros after the end', async (t) => {
  const directory = await temporaryDirectory(t);
  const json = JSON.stringify({ traceEvents: [span, { ...span, ts: 5 }] }, undefined, 2);
  const bom = Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), Buffer.from(json)]);
  const packed: Buffer[] = [
    Buffer.from(json),
    gzipSync(json),
    Buffer.concat([gzipSync(json.slice(0, 30)), gzipSync(''), gzipSync(json.slice(30))]),
    gzipSync(json.replaceAll('\n', '\r\n')),
    gzipSync(bom),
    bom,
    Buffer.concat([gzipSync(json), Buffer.alloc(512)]),
    gzipSync(JSON.stringify([span, { ...span, ts: 5 }])),
  ];
  const inputs = packed.map((bytes, tp) => {
    const path = join(directory, `p-TP-${tp}.trace.json${bytes[0] === 0x1f ? '.gz' : ''}`);
    writeFileSync(path, bytes);
    return path;
  });
  const { result, trace } = await merge(inputs);
  assert.deepEqual(result.skipped, []);
  assert.equal(trace.traceEvents.length, 2 * packed.length);
  for (const path of inputs) assert.equal((await summariseTrace(path, 1)).spans, 2, path);
});

test('names of any kind come through as they are', async (t) => {
  const directory = await temporaryDirectory(t);
  const names = [
    'quote " and \\ and /',
    '\u0000\u0001\u001f\u007f',
    '\ud800 alone',
    '</script><!--',
    '{"ph":"X"},',
    '__proto__',
    'constructor',
    '',
    '\u2028\u202e\ufeff',
    'x'.repeat(1 << 20),
  ];
  const events = names.flatMap((name, i) => [
    { ...span, name, cat: name, ts: 10 * i, args: { [name]: name, layer: i } },
    { ph: 'M', name: 'thread_name', pid: 1, tid: name, ts: 0, args: { name } },
  ]);
  const inputs = [0, 1].map((tp) => writeTraceFile(directory, `p-TP-${tp}.trace.json.gz`, text(...events)));
  const { of } = await merge(inputs);
  for (const tp of [0, 1]) {
    assert.deepEqual(
      of(tp).map(({ name, cat, tid, args }) => ({ name, cat, tid, args })),
      events.map((e) => ({ name: e.name, cat: 'cat' in e ? e.cat : undefined, tid: e.tid, args: e.args })),
    );
  }
  const summary = await summariseTrace(inputs[0]!, 20);
  assert.equal(summary.ops.length, names.length);
  assert.ok(summary.ops.every(({ name }) => name.length <= 5000));
  assert.ok(JSON.stringify(summary).length < 100_000);
});

test('process ids and ids of any shape are labelled and kept apart, and cost no memory for their length', async (t) => {
  const directory = await temporaryDirectory(t);
  const pids = ['Spans', '', -1, 0, 1e21, 4294967296, 'x'.repeat(1 << 20), null, true, [1], { a: 1 }, 'a "b"\n'];
  const ids = ['9007199254740993', '18446744073709551615', '"9007199254740993"', '"0xffffffffffffffff"', '-1', '1e3'];
  ids.push('1.5', '""', 'null', `"${'y'.repeat(1 << 20)}"`, '12345678901234567890123456789', '4', '"4"', '4294967296');
  const flows = ids.flatMap((id) =>
    ['s', 'f'].map((ph) => `{"ph":"${ph}","cat":"ac2g","name":"n","pid":1,"tid":1,"ts":1,"bp":"e","id":${id}}`),
  );
  const spans = pids.map((pid) => JSON.stringify({ ...span, pid }));
  const inputs = [0, 1].map((tp) =>
    writeTraceFile(directory, `p-TP-${tp}.trace.json.gz`, `{"traceEvents":[${[...spans, ...flows]}]}`),
  );
  const { trace, of, result } = await merge(inputs);
  assert.deepEqual(result.skipped, []);
  assert.equal(trace.traceEvents.length, 2 * (spans.length + flows.length), 'every process has its rank’s label');
  const byFile = [0, 1].map((tp) => of(tp).filter((e) => e.cat === 'ac2g'));
  for (const events of byFile) {
    for (let i = 0; i < events.length; i += 2) assert.deepEqual(events[i]!.id, events[i + 1]!.id);
    // "4" and 4 are one: viewers compare ids as text.
    assert.equal(new Set(events.map((e) => e.id)).size, ids.length - 1);
  }
  const [first, second] = byFile.map((events) => new Set(events.map((e) => e.id)));
  assert.ok([...first!].every((id) => !second!.has(id)));
});

test('request arrows stay in their rank unless the file says that their ids are shared', async (t) => {
  const directory = await temporaryDirectory(t);
  const arrow = ['s', 't', 'f'].map((ph, i) => ({
    ph,
    cat: 'request',
    name: 'request',
    pid: 1,
    tid: 1,
    ts: i,
    id: 77,
  }));
  const shared = { sharedFlowCategories: ['request'] };
  const inputs = [{}, {}, shared, shared].map((vitrine, tp) =>
    writeTraceFile(directory, `p-TP-${tp}.trace.json.gz`, { traceEvents: arrow, vitrine }),
  );
  const { of } = await merge(inputs);
  const ids = [0, 1, 2, 3].map((tp) => of(tp).map((e) => e.id));
  assert.equal(new Set(ids.slice(0, 2).flat()).size, 2);
  assert.deepEqual(ids[2], [77, 77, 77]);
  assert.deepEqual(ids[3], ids[2]);
});

test('numbers in quotes count as numbers: times, ids, ranks, the base, clock offsets', async (t) => {
  const directory = await temporaryDirectory(t);
  const quoted = { ...span, ts: '5.250', dur: '2', args: { correlation: '9' } };
  const file = (tp: string, base: string) =>
    `{"baseTimeNanoseconds":"${base}","distributedInfo":{"rank":"${tp}","tp_rank":"${tp}"},"traceEvents":[${JSON.stringify(quoted)}]}`;
  const inputs = [
    writeTraceFile(directory, 'a.trace.json.gz', file('3', '1767189312000000000')),
    writeTraceFile(directory, 'b.trace.json.gz', file('4', '1767189312000001500')),
  ];
  const { of, result } = await merge(inputs);
  assert.deepEqual(result.warnings, []);
  assert.deepEqual([of(3)[0]?.ts, of(4)[0]?.ts].map(Number), [5.25, 6.75]);
  assert.deepEqual([of(3)[0]?.args?.correlation, of(4)[0]?.args?.correlation].map(Number), [9, 2 ** 40 + 9]);
  const summary = await summariseTrace(inputs[0]!, 5);
  assert.deepEqual([summary.durationUs, summary.warnings], [2, []]);
});

test('of equal keys the last one counts, as in JSON.parse', async (t) => {
  const directory = await temporaryDirectory(t);
  const event = '{"ph":"i","ph":"X","cat":"c","name":"n","pid":7,"pid":1,"tid":1,"ts":9,"ts":1,"dur":1}';
  const inputs = [0, 1].map((tp) =>
    writeTraceFile(directory, `p-TP-${tp}.trace.json.gz`, `{"a":1,"a":2,"traceEvents":[${event}]}`),
  );
  const { trace, of } = await merge(inputs);
  assert.equal(trace.a, 2);
  assert.deepEqual([of(1)[0]?.pid, of(1)[0]?.ts], ['[TP01] 1', 1]);
  assert.equal((await summariseTrace(inputs[0]!, 1)).spans, 1);
});

test('what a file says of itself cannot lead the output elsewhere, nor stop the others', async (t) => {
  const directory = await temporaryDirectory(t);
  const vitrine = { profileId: '../../elsewhere', stage: '../x', ranks: { tp: -1, dp: 'x' }, hostId: 5, dropped: [1] };
  writeTraceFile(directory, '1.5-TP-0.trace.json.gz', { traceEvents: [span], vitrine });
  writeTraceFile(directory, '1.5-TP-1.trace.json.gz', { traceEvents: [span], vitrine: null, distributedInfo: [] });
  const [result, ...none] = await mergeTraces({ inputs: [directory] });
  assert.deepEqual(none, []);
  assert.equal(result!.output, join(directory, 'merged-1.5.trace.json.gz'));
  assert.deepEqual(
    result!.sources.map(({ label }) => label),
    ['[TP00]', '[TP01]'],
  );
});

test('nesting beyond what readers survive, a pipe: left out with the reason', async (t) => {
  const directory = await temporaryDirectory(t);
  const deep = `{"traceEvents":[{"ph":"X","args":{"a":${'['.repeat(10_000)}${']'.repeat(10_000)}}}]}`;
  const sound = writeTraceFile(directory, 'p-TP-0.trace.json.gz', text(span));
  const nested = writeTraceFile(directory, 'p-TP-1.trace.json.gz', deep);
  const pipe = join(directory, 'p-TP-2.trace.json.gz');
  execFileSync('mkfifo', [pipe]);
  const { result } = await merge([sound, nested, pipe]);
  assert.deepEqual(
    result.skipped.map(({ path }) => path),
    [nested, pipe],
  );
  assert.match(result.skipped[0]!.reason, /more than 256 levels of nesting/);
  assert.match(result.skipped[1]!.reason, /not a file/);
  await assert.rejects(summariseTrace(nested, 1), { code: 'TRACE_INVALID', message: /256 levels/ });
});

test('a small file that unpacks to a huge one is read or refused in bounded memory', async (t) => {
  const directory = await temporaryDirectory(t);
  const bomb = async (name: string, head: string, filler: string, megabytes: number, tail: string) => {
    const path = join(directory, name);
    const gzip = createGzip({ level: 1 });
    const done = new Promise<void>((resolve) => gzip.pipe(createWriteStream(path)).on('close', () => resolve()));
    gzip.write(head);
    const part = filler.repeat(Math.floor((1 << 20) / filler.length));
    for (let i = 0; i < megabytes; i++) if (!gzip.write(part)) await once(gzip, 'drain');
    gzip.end(tail);
    await done;
    return path;
  };
  const spaces = await bomb('p-TP-0.trace.json.gz', `{"traceEvents":[${JSON.stringify(span)}`, ' ', 40, ']}');
  const name = await bomb('p-TP-1.trace.json.gz', '{"traceEvents":[{"ph":"X","name":"', 'x', 66, '"}]}');
  const member = `"${'m'.repeat(1 << 16)}":"${'v'.repeat(1 << 19)}",`;
  const members = await bomb('p-TP-2.trace.json.gz', '{', member, 120, '"traceEvents":[]}');
  const { result } = await merge([spaces, name, members]);
  assert.deepEqual(
    result.sources.map(({ path }) => path),
    [spaces],
  );
  assert.match(result.skipped[0]!.reason, /one value is longer than 64 MiB/);
  assert.match(result.skipped[1]!.reason, /members are longer than 64 MiB/);
});
