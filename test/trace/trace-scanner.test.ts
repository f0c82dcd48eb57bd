import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TraceDamage, TraceScanner } from '#vitrine/trace/read/trace-scanner.js';

const FIELDS = ['ph', 'pid', 'name', 'args.correlation', 'args.x'] as const;

interface Scanned {
  readonly members: Record<string, unknown>;
  readonly events: unknown[];
  readonly fields: (string | undefined)[][];
}

/** Scans `bytes` cut at the given offsets. */
function scan(bytes: Buffer, cuts: readonly number[]): Scanned {
  const members: Record<string, unknown> = Object.create(null);
  const events: unknown[] = [];
  const fields: (string | undefined)[][] = [];
  const scanner = new TraceScanner(
    {
      event: (f) => {
        events.push(JSON.parse(f.buffer.toString('utf8', f.start, f.end)));
        fields.push(FIELDS.map((_, i) => (f.has(i) ? f.raw(i) : undefined)));
      },
      member: (key, text) => {
        members[key] = JSON.parse(text);
      },
    },
    FIELDS,
  );
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    // A copy: the scanner may not rely on what comes after a chunk in memory.
    scanner.push(Buffer.from(bytes.subarray(from, cut)));
    from = cut;
  }
  scanner.end();
  return { members, events, fields };
}

/** The same by JSON.parse; undefined where it is no trace. */
function expected(bytes: Buffer): Scanned | undefined {
  let root: unknown;
  try {
    root = JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
  if (typeof root !== 'object' || root === null) return undefined;
  const { traceEvents, ...members } = (Array.isArray(root) ? { traceEvents: root } : root) as Record<string, unknown>;
  if (!Array.isArray(traceEvents)) return undefined;
  if (!traceEvents.every((e) => typeof e === 'object' && e !== null && !Array.isArray(e))) return undefined;
  return { members, events: traceEvents, fields: [] };
}

function check(text: string | Buffer, cuts: readonly number[], what: string): void {
  const bytes = Buffer.from(text as string);
  const wanted = expected(bytes);
  if (wanted === undefined) {
    assert.throws(() => scan(bytes, cuts), TraceDamage, what);
    return;
  }
  const found = scan(bytes, cuts);
  assert.deepEqual(found.events, wanted.events, what);
  assert.deepEqual({ ...found.members }, { ...wanted.members }, what);
  wanted.events.forEach((event, i) => {
    const e = event as Record<string, unknown>;
    const args = (typeof e.args === 'object' && e.args !== null && !Array.isArray(e.args) ? e.args : {}) as Record<
      string,
      unknown
    >;
    const values = [e.ph, e.pid, e.name, args.correlation, args.x];
    assert.deepEqual(
      found.fields[i]!.map((raw) => (raw === undefined ? undefined : JSON.parse(raw))),
      values,
      what,
    );
  });
}

const SAMPLES = [
  '{"schemaVersion":1,"traceEvents":[{"ph":"X","pid":1,"name":"a","args":{"correlation":5,"x":[1,{"x":2}]}},{"ph":"i"}],"z":{"a":[]}}',
  ' \n\t{ "traceEvents" : [ ] , "a" : "]}[{" }\r\n ',
  '[{"ph":"X","name":"\\u0041\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00"},{"pid":"Spans","args":null}]',
  '{"a":-0.5e-10,"b":[true,false,null,0,-1,1E5,0.0],"traceEvents":[{"args":{},"p\\u0069d":7,"args":{"\\u0078":3}}]}',
  '{"traceEvents":[{"name":"é😀\u2028","x":{"y":{"z":[[[[]]]]}},"pid":-12.5e3}],"ключ":"значение","":0}',
  '{"baseTimeNanoseconds": 1767189312000000000, "traceEvents": [{"a" : 12345678901234567890 , "pid" : 4294967296}]}',
  '[]',
  '{"traceEvents":[{}]}',
  '{"traceEvents":[{"pid":1,"pid":2,"name":{"pid":3},"args":[{"x":1}]}]}',
];

test('every sample, cut once at every byte', () => {
  for (const sample of SAMPLES) {
    const length = Buffer.byteLength(sample);
    for (let cut = 0; cut <= length; cut++) check(sample, [cut], `${sample} cut at ${cut}`);
  }
});

test('every sample in pieces of one, two and three bytes', () => {
  for (const sample of SAMPLES) {
    for (const step of [1, 2, 3]) {
      const cuts = Array.from({ length: Math.ceil(Buffer.byteLength(sample) / step) }, (_, i) => i * step);
      check(sample, cuts, `${sample} in steps of ${step}`);
    }
  }
});

test('every sample cut off anywhere is damage', () => {
  for (const sample of SAMPLES) {
    const bytes = Buffer.from(sample.trim());
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(
        () => scan(bytes.subarray(0, length), [length >> 1]),
        TraceDamage,
        `${sample} after ${length} bytes`,
      );
    }
  }
});

/** Small, fast, seeded (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('fuzz: mutated samples are taken and refused exactly as by JSON.parse', () => {
  const next = random(12345);
  const below = (n: number) => Math.floor(next() * n);
  const alphabet = Buffer.from('{}[],:"\\ \n0123456789.-+eEtrufalsn/bx\u0001');
  let valid = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(SAMPLES[below(SAMPLES.length)]!);
    let mutated = bytes;
    for (let edits = below(3) + 1; edits > 0; edits--) {
      const at = below(mutated.length + 1);
      const letter = alphabet.subarray(below(alphabet.length)).subarray(0, 1);
      const kind = below(4);
      const rest = mutated.subarray(kind === 0 ? at : at + 1);
      const middle = kind === 1 ? Buffer.alloc(0) : kind === 3 ? mutated.subarray(at, at + 1 + below(6)) : letter;
      mutated = Buffer.concat([mutated.subarray(0, at), middle, rest]);
    }
    if (expected(mutated)) valid++;
    const cuts = Array.from({ length: below(4) }, () => below(mutated.length + 1)).sort((a, b) => a - b);
    // A second traceEvents and __proto__ keys are our own rules.
    if ((mutated.toString().match(/traceEvents/g) ?? []).length > 1) continue;
    check(mutated, cuts, `round ${round}: ${mutated.toString()} cut at ${cuts}`);
  }
  assert.ok(valid > 1000, `only ${valid} mutations were still traces`);
});

test('bytes that are no UTF-8 become U+FFFD in their event alone', () => {
  const bytes = Buffer.concat([
    Buffer.from('{"traceEvents":[{"name":"ok é"},{"name":"'),
    Buffer.of(0xff, 0xc3),
    Buffer.from('","pid":5}],"a":1}'),
  ]);
  for (let cut = 0; cut < bytes.length; cut++) {
    const { events, fields } = scan(bytes, [cut]);
    assert.deepEqual(events, [{ name: 'ok é' }, { name: '\ufffd\ufffd', pid: 5 }]);
    assert.equal(fields[1]![1], '5');
  }
});

test('damage is told in words with a place', () => {
  const message = (text: string) => {
    try {
      scan(Buffer.from(text), []);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  assert.match(message(''), /empty/);
  assert.match(message('  '), /cut off after 0 events/);
  assert.match(message('{"traceEvents":[{},{}'), /cut off after 2 events/);
  assert.match(message('{"a":1}'), /no list of traceEvents/);
  assert.match(message('{"traceEvents":{}}'), /traceEvents that are no list, at byte 15/);
  assert.match(message('{"traceEvents":[1]}'), /an event that is no object, at byte 16/);
  assert.match(message('hello'), /not JSON: neither \{ nor \[ at the start, at byte 0/);
  assert.match(message('{"traceEvents":[{"a":01}]}'), /at byte 22/);
  assert.match(message(`{"traceEvents":[],"a":${'['.repeat(5000)}${']'.repeat(5000)}}`), /more than 256 levels/);
});
