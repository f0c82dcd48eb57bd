// The event parser: the same payloads however the bytes are cut.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SseParser } from '#vitrine/bench/http/sse-parser.js';
import { Random } from '#vitrine/bench/random.js';

function parse(chunks: readonly Buffer[]): string[] {
  const payloads: string[] = [];
  const parser = new SseParser((payload) => payloads.push(payload.toString()));
  for (const chunk of chunks) parser.push(chunk);
  parser.end();
  return payloads;
}

const STREAM = Buffer.from(
  [
    ': a comment\n\n',
    'data: {"text":"naïve 石の上にも三年 👩‍👩‍👧"}\n\n',
    'event: token\r\nid: 3\r\ndata: {"text":"\\r\\n"}\r\n\r\n',
    'data:{"tight":true}\n',
    'data: {"no":"blank line before"}\n\n',
    'data:\n\n',
    'database: no\n\n',
    'data:  two spaces\n\n',
    'data: [DONE]\n\n',
    'data: unfinished',
  ].join(''),
);
const PAYLOADS = [
  '{"text":"naïve 石の上にも三年 👩‍👩‍👧"}',
  '{"text":"\\r\\n"}',
  '{"tight":true}',
  '{"no":"blank line before"}',
  ' two spaces',
  '[DONE]',
  'unfinished',
];

test('payloads of data lines', () => assert.deepEqual(parse([STREAM]), PAYLOADS));

test('a cut at every byte', () => {
  for (let at = 0; at <= STREAM.length; at++) {
    assert.deepEqual(parse([STREAM.subarray(0, at), STREAM.subarray(at)]), PAYLOADS, `cut at ${at}`);
  }
});

test('byte by byte, with empty chunks between', () => {
  const bytes = [...STREAM].flatMap((byte) => [Buffer.from([byte]), Buffer.alloc(0)]);
  assert.deepEqual(parse(bytes), PAYLOADS);
});

test('random cuts', () => {
  const random = new Random(5, 'cuts');
  for (let round = 0; round < 300; round++) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < STREAM.length; ) {
      const length = random.integer(1, 40);
      chunks.push(STREAM.subarray(at, at + length));
      at += length;
    }
    assert.deepEqual(parse(chunks), PAYLOADS);
  }
});

test('nothing after the last line end is no payload', () => {
  assert.deepEqual(parse([Buffer.from('data: a\n\n')]), ['a']);
  assert.deepEqual(parse([]), []);
});
