// The records of single requests, whatever the server does to its answer: each case has the record worked out by hand.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { HttpClient } from '#vitrine/bench/http/http-client.js';
import type { Backend, PayloadSettings } from '#vitrine/bench/serving/backends/backend.js';
import { type BackendName, selectBackend } from '#vitrine/bench/serving/backends/select-backend.js';
import type { RequestRecord } from '#vitrine/bench/serving/load/request-record.js';
import { RequestSender } from '#vitrine/bench/serving/load/send-request.js';
import { monotonicSeconds } from '#vitrine/util/clock.js';
import { chunked, head, ScriptedServer, type Step, unfinished, whole } from '../support/scripted-server.js';

const PAYLOAD: PayloadSettings = {
  model: 'm',
  stream: true,
  ignoreEos: true,
  temperature: undefined,
  topP: undefined,
  returnLogprob: false,
  logprobStartLen: -1,
  topLogprobsNum: undefined,
  tokenIdsLogprob: undefined,
  returnRoutedExperts: false,
  extraBody: {},
};
const REQUEST = { prompt: 'Hello', promptLen: 1, outputLen: 3 };

interface Given {
  readonly stream?: boolean;
  readonly timeoutSeconds?: number;
  readonly interrupt?: AbortController;
}

const senderFor = (server: ScriptedServer, backend: Backend, given: Given = {}) => {
  const client = new HttpClient({ baseUrl: server.url, headers: {} });
  const settings = {
    payload: { ...PAYLOAD, stream: given.stream ?? true },
    timeoutSeconds: given.timeoutSeconds ?? 30,
  };
  const sender = new RequestSender(client, backend, settings, (given.interrupt ?? new AbortController()).signal);
  return { client, send: () => sender.send(REQUEST, 0, monotonicSeconds()) };
};

/** The record of one request whose answer is the script. */
async function answered(name: BackendName, script: readonly Step[], given: Given = {}): Promise<RequestRecord> {
  const server = await ScriptedServer.start(() => script);
  const { client, send } = senderFor(server, selectBackend(name), given);
  try {
    return await send();
  } finally {
    client.close();
    await server.close();
  }
}

/** What a record says, but for the times. */
const gist = ({ error, interrupted, text, completionTokens, promptTokens, gaps, ttft }: RequestRecord) => ({
  error,
  interrupted,
  text,
  completionTokens,
  promptTokens,
  gaps: gaps.length,
  hasTtft: ttft !== undefined,
});

const GOOD = {
  error: '',
  interrupted: false,
  text: 'tïme 石!',
  completionTokens: 3,
  promptTokens: 7,
  gaps: 2,
  hasTtft: true,
};

/** Good streams of three tokens, `tïme`, ` 石` and `!`. */
const STREAMS: Readonly<Record<'sglang' | 'sglang-oai' | 'sglang-oai-chat', readonly string[]>> = {
  sglang: [
    'data: {"text":"tïme","output_ids":[1],"meta_info":{"prompt_tokens":7,"completion_tokens":1,"finish_reason":null}}\n\n',
    'data: {"text":"tïme 石","output_ids":[1,2],"meta_info":{"prompt_tokens":7,"completion_tokens":2,"finish_reason":null}}\n\n',
    'data: {"text":"tïme 石!","output_ids":[1,2,3],"meta_info":{"prompt_tokens":7,"completion_tokens":3,"finish_reason":{"type":"length","length":3}}}\n\n',
    'data: [DONE]\n\n',
  ],
  'sglang-oai': [
    'data: {"choices":[{"index":0,"text":"tïme","finish_reason":null}]}\n\n',
    'data: {"choices":[{"index":0,"text":" 石","finish_reason":null}]}\n\n',
    'data: {"choices":[{"index":0,"text":"!","finish_reason":"length"}]}\n\n',
    'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n',
    'data: [DONE]\n\n',
  ],
  'sglang-oai-chat': [
    'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    'data: {"choices":[{"index":0,"delta":{"content":"tïme"},"finish_reason":null}]}\n\n',
    'data: {"choices":[{"index":0,"delta":{"content":" 石"},"finish_reason":null}]}\n\n',
    'data: {"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"length"}]}\n\n',
    'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n',
    'data: [DONE]\n\n',
  ],
};

const bytesOf = (text: string): Buffer[] => [...Buffer.from(text)].map((byte) => Buffer.from([byte]));

for (const [name, events] of Object.entries(STREAMS) as [keyof typeof STREAMS, readonly string[]][]) {
  const text = events.join('');
  describe(`the chunks of a good stream (${name})`, () => {
    const good = async (script: readonly Step[]) => assert.deepEqual(gist(await answered(name, script)), GOOD);

    test('one event a chunk', () => good(chunked(events)));
    test('all events in one chunk', () => good(chunked([text])));
    test('one byte at a time', () => good(chunked(bytesOf(text))));
    test('CRLF, one byte at a time', () => good(chunked(bytesOf(text.replaceAll('\n', '\r\n')))));
    test('in packets that care for nothing, head included', () => good(bytesOf(chunked([text]).join(''))));
    test('comments, names, ids and delays between events', () =>
      good(chunked(events.flatMap((event) => [': ping\n\n', 'event: message\nid: 4\nretry: 10\n', event]))));
    test('without blank lines', () => good(chunked([text.replaceAll('\n\n', '\n')])));
    test('without a length: ended by closing', () => good([head({ headers: ['connection: close'] }), text, 'close']));
    test('without the mark [DONE]', () => good(chunked(events.slice(0, -1))));
    test('without a line end after it', () => good(chunked([text.trimEnd()])));
    test('without a content type', () => good(chunked([text], { type: '' })));
    test('with a parameter in the content type', () =>
      good(chunked([text], { type: 'text/event-stream; charset=utf-8' })));
  });

  describe(`a stream that is not good (${name})`, () => {
    const fails = async (script: readonly Step[], error: RegExp, given: Given = {}) => {
      const record = await answered(name, script, given);
      assert.match(record.error, error);
      assert.equal(record.interrupted, false);
      return record;
    };
    const [first, second] = events.filter((event) => event.includes('tïme') || event.includes('石'));
    const begun = [first!, second!];

    test('cut after an event, in one, and in a character', async () => {
      const after = await fails(
        [...unfinished(begun), 'reset'],
        /^the connection was cut in the middle of the answer$/,
      );
      assert.equal(after.text, 'tïme 石');
      assert.equal(after.gaps.length, 1);
      const within = await fails([...unfinished([first!, second!.slice(0, 20)]), 'reset'], /cut in the middle/);
      assert.equal(within.text, 'tïme');
      const bytes = Buffer.from(second!);
      const middle = bytes.subarray(0, bytes.indexOf(Buffer.from('石')) + 1);
      assert.equal((await fails([...unfinished([first!, middle]), 'reset'], /cut in the middle/)).text, 'tïme');
      assert.equal((await fails([...unfinished([first!, middle]), 'close'], /cut in the middle/)).text, 'tïme');
    });

    test('closed in order, but too soon', async () => {
      await fails(chunked(begun), /^the stream ended without a finish reason$/);
      await fails(
        [head({ headers: ['connection: close'] }), first!, second!.slice(0, 20), 'close'],
        /^malformed answer: \{/,
      );
      await fails(chunked([]), /^no event in the stream \(content-type: text\/event-stream\):/);
      await fails([head({ headers: ['connection: close'] }).slice(0, 20), 'close'], /./);
      await fails(['close'], /socket hang up/);
      await fails(['reset'], /ECONNRESET/);
    });

    test('a stall before the head, before the first event and between events', async () => {
      const given = { timeoutSeconds: 0.2 };
      const late = /^no complete answer within 0\.2 s \(--request-timeout-sec\)$/;
      for (const script of [[], unfinished([]), unfinished([first!])]) {
        const record = await fails([...script, 'stall'], late, given);
        assert.ok(record.endedAt - record.sentAt >= 0.19, 'a failure ends when it is known');
        assert.equal(record.text, script.length > 1 ? 'tïme' : '');
      }
    });

    test('a stall that the user ends is no failure', async () => {
      const interrupt = new AbortController();
      setTimeout(() => interrupt.abort(), 500); // long after the first event
      const record = await answered(name, [...unfinished([first!]), 'stall'], { interrupt });
      assert.equal(record.interrupted, true);
      assert.equal(record.text, 'tïme');
    });

    test('garbage', async () => {
      const event = (payload: string) => chunked([first!, `data: ${payload}\n\n`, second!]);
      await fails(event('<html>oops</html>'), /^malformed answer: <html>oops<\/html>$/);
      await fails(event('{"a":'), /^malformed answer: \{"a":$/);
      await fails(event('[1]'), /^malformed answer: \[1\]$/);
      await fails(event('null'), /^malformed answer: null$/);
      await fails(event('{}'), /^unexpected answer \(no (meta_info|choices) in the answer\): \{\}$/);
      await fails(
        chunked([Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0xfe, 0x0a, 0x0a])]),
        /^malformed answer: /,
      );
      await fails(['SSH-2.0-OpenSSH_9.2\r\n'], /Parse Error/);
    });

    test('a page that is no stream, with status 200', async () => {
      const page = '<html>\n<body>It works!</body></html>';
      await fails(
        whole(page, { type: 'text/html' }),
        /^no event in the stream \(content-type: text\/html\): <html> <body>It works!/,
      );
      await fails(
        whole(`{"detail":"x"}`, { type: 'application/json' }),
        /^unexpected answer \(no .*\): \{"detail":"x"\}$/,
      );
    });

    test('statuses: the reason of the server, whatever its shape, on one line', async () => {
      const json = { type: 'application/json' };
      const status = { status: '429 Too Many Requests' };
      await fails(
        whole('{"error":{"message":"slow\\ndown"}}', { ...status, ...json }),
        /^HTTP 429 Too Many Requests: slow down$/,
      );
      await fails(
        whole('{"object":"error","message":"slow"}', { ...status, ...json }),
        /^HTTP 429 Too Many Requests: slow$/,
      );
      await fails(whole('slow  down\n', { ...status, type: 'text/plain' }), /^HTTP 429 Too Many Requests: slow down$/);
      const empty = await fails(whole('', status), /^HTTP 429 Too Many Requests:$/);
      assert.ok(empty.endedAt > empty.sentAt, 'a failure without a byte took time all the same');
      await fails(
        whole('<h1>Bad gateway</h1>', { status: '502 Bad Gateway', type: 'text/html' }),
        /^HTTP 502 Bad Gateway: <h1>/,
      );
      await fails(
        whole('', { status: '307 Temporary Redirect', headers: ['location: /x'] }),
        /^HTTP 307 Temporary Redirect:$/,
      );
      const long = await fails(whole('x'.repeat(1e6), { status: '500 Oh' }), /^HTTP 500 Oh: x+…$/);
      assert.ok(long.error.length < 400);
    });

    test('an error inside the stream', async () => {
      const event = (payload: string) => chunked([...begun, `data: ${payload}\n\n`, 'data: [DONE]\n\n']);
      const record = await fails(event('{"error":{"message":"out of memory","code":500}}'), /^out of memory$/);
      assert.equal(record.gaps.length, 1);
      await fails(event('{"error":"out of memory"}'), /^out of memory$/);
      await fails(event('{"error":{"code":7}}'), /^\{"code":7\}$/);
    });

    test('a compressed answer, which nobody asked for', async () => {
      const packed = whole(gzipSync(text), { headers: ['content-encoding: gzip'] });
      await fails(packed, /^the answer is compressed \(content-encoding: gzip\), which was not asked for$/);
    });

    test('a huge event', async () => {
      const huge = 'x'.repeat(1 << 20);
      const record = await answered(name, chunked([text.replaceAll('tïme', huge)]));
      assert.equal(record.error, '');
      assert.equal(record.text, `${huge} 石!`);
    });
  });
}

describe('without streaming', () => {
  const WHOLE = {
    sglang:
      '{"text":"tïme 石!","output_ids":[1,2,3],"meta_info":{"prompt_tokens":7,"completion_tokens":3,"finish_reason":{"type":"length"}}}',
    'sglang-oai':
      '{"choices":[{"text":"tïme 石!","finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}',
    'sglang-oai-chat':
      '{"choices":[{"message":{"role":"assistant","content":"tïme 石!"},"finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}',
  };
  const json = { type: 'application/json' };
  for (const [name, body] of Object.entries(WHOLE) as [keyof typeof WHOLE, string][]) {
    test(name, async () => {
      const good = await answered(name, whole(body, json), { stream: false });
      assert.deepEqual(gist(good), { ...GOOD, gaps: 0 });
      assert.equal(good.ttft, good.endedAt - good.sentAt);
      // A server that does not stream though it was asked to.
      assert.deepEqual(gist(await answered(name, whole(body, json))), { ...GOOD, gaps: 0 });
      const cut = [...whole(body, json).map((bytes) => bytes.slice(0, -9)), 'close'] as const;
      assert.match((await answered(name, cut, { stream: false })).error, /cut in the middle/);
      const short = await answered(name, whole(body.slice(0, -9), json), { stream: false });
      assert.match(short.error, /^malformed answer: /);
      // A server that streams though it was asked not to.
      const streamed = await answered(name, chunked(STREAMS[name]), { stream: false });
      assert.match(streamed.error, /^malformed answer: data: /);
    });
  }
});

describe('native answers', () => {
  const event = (text: string, tokens: number, reason: object | null = null): string =>
    `data: ${JSON.stringify({ text, meta_info: { completion_tokens: tokens, finish_reason: reason } })}\n\n`;
  const end = { type: 'stop', matched: 2 };

  test('an abort is a failure with its reason', async () => {
    const abort = { type: 'abort', message: 'KV cache exhausted', status_code: 503 };
    const record = await answered('sglang', chunked([event('a', 1), event('', 1, abort), 'data: [DONE]\n\n']));
    assert.equal(record.error, 'aborted: KV cache exhausted');
    const silent = await answered('sglang', chunked([event('a', 1), event('', 1, { type: 'abort' })]));
    assert.equal(silent.error, 'aborted: no reason given');
  });

  test('a stop string that is taken back out of the text', async () => {
    const record = await answered('sglang', chunked([event('a', 1), event('a sto', 2), event('a', 3, end)]));
    assert.equal(record.text, 'a');
    assert.equal(record.completionTokens, 3);
  });

  test('quotes, backslashes and brackets inside texts', async () => {
    const text = 'a"b\\"c\\\\"]},{[\n"';
    const record = await answered('sglang', chunked([event(text.slice(0, 4), 1), event(text, 2, end)]));
    assert.equal(record.error, '');
    assert.equal(record.text, text);
  });

  test('fields in another order, with spaces, with others between', async () => {
    const odd =
      'data: { "meta_info" : {"x":[[1,"]"],{"y":{}}], "finish_reason" : {"type":"stop"}, "completion_tokens" : 2 } ,\t"index":0, "text" : "a b" }\n\n';
    const record = await answered('sglang', chunked([odd]));
    assert.deepEqual([record.error, record.text, record.completionTokens], ['', 'a b', 2]);
  });

  test('values of the wrong type', async () => {
    const wrong = async (payload: string) => (await answered('sglang', chunked([`data: ${payload}\n\n`]))).error;
    assert.match(
      await wrong('{"text":"a","meta_info":{"completion_tokens":"3"}}'),
      /^unexpected answer \(completion_tokens is no count\)/,
    );
    assert.match(await wrong('{"text":"a","meta_info":{"completion_tokens":-1}}'), /completion_tokens is no count/);
    assert.match(await wrong('{"text":5,"meta_info":{"completion_tokens":1,"finish_reason":{}}}'), /text is no text/);
    assert.match(await wrong('{"text":"a","meta_info":[]}'), /^malformed answer/);
    assert.match(await wrong('{"text":"a","meta_info":{"completion_tokens":1}} trailing'), /^malformed answer/);
    assert.match(
      await wrong('{"text":"\\x","meta_info":{"completion_tokens":1,"finish_reason":{}}}'),
      /^malformed answer/,
    );
  });

  test('several tokens in a chunk, none in a chunk, and no text at all', async () => {
    const record = await answered(
      'sglang',
      chunked([event('', 1), event('ab', 3), event('ab', 3), event('abc', 5), event('abc', 5, end)]),
    );
    // The first text opens; then two new tokens in one gap; chunks without new tokens add nothing.
    assert.equal(record.gaps.length, 2);
    assert.equal(record.gaps[0], record.gaps[1]);
    assert.ok(record.firstToken! <= record.ttft!);
    const ids = (tokens: number, reason: object | null) =>
      `data: ${JSON.stringify({ output_ids: [1], meta_info: { completion_tokens: tokens, finish_reason: reason } })}\n\n`;
    const blind = await answered('sglang', chunked([ids(1, null), ids(2, end)]));
    assert.deepEqual([blind.error, blind.text, blind.gaps.length, blind.completionTokens], ['', '', 1, 2]);
  });
});

describe('OpenAI answers', () => {
  const event = (text: unknown, more: object = {}, reason: string | null = null): string =>
    `data: ${JSON.stringify({ choices: [{ index: 0, text, finish_reason: reason }], ...more })}\n\n`;
  const usage = (completion: unknown) => ({ usage: { prompt_tokens: 7, completion_tokens: completion } });
  const DONE = 'data: [DONE]\n\n';

  test('an abort is a failure', async () => {
    const record = await answered('vllm', chunked([event('a'), event('', {}, 'abort'), DONE]));
    assert.equal(record.error, 'aborted by the server');
  });

  test('[DONE] alone ends a stream too', async () => {
    assert.equal((await answered('vllm', chunked([event('a'), DONE]))).error, '');
  });

  test('usage in every event, twice, and after the end: the last one counts', async () => {
    const record = await answered(
      'vllm',
      chunked([
        event('a', usage(1)),
        event('b', usage(2)),
        event('', usage(2), 'length'),
        `data: ${JSON.stringify({ choices: [], ...usage(2) })}\n\n`,
        DONE,
        `data: ${JSON.stringify({ choices: [], ...usage(3) })}\n\n`,
      ]),
    );
    assert.deepEqual([record.error, record.completionTokens, record.gaps.length], ['', 3, 1]);
  });

  test('no usage, null usage, usage without counts: the length is left open', async () => {
    const record = await answered(
      'vllm',
      chunked([event('a', { usage: null }), event('', { usage: {} }, 'stop'), DONE]),
    );
    assert.deepEqual([record.error, record.completionTokens, record.promptTokens], ['', undefined, undefined]);
  });

  test('what the cache held', async () => {
    const details = { usage: { prompt_tokens: 7, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 4 } } };
    assert.equal((await answered('vllm', chunked([event('a', details, 'stop'), DONE]))).cachedTokens, 4);
    const none = { usage: { prompt_tokens: 7, completion_tokens: 1, prompt_tokens_details: null } };
    assert.equal((await answered('vllm', chunked([event('a', none, 'stop'), DONE]))).cachedTokens, undefined);
  });

  test('values of the wrong type', async () => {
    const wrong = async (payload: string) => (await answered('vllm', chunked([payload]))).error;
    assert.match(await wrong(event(5)), /^unexpected answer \(text is no text\)/);
    assert.match(await wrong(event('a', usage('3'))), /completion_tokens is no count/);
    assert.match(await wrong('data: {"choices":{}}\n\n'), /no choices in the answer/);
    assert.match(await wrong('data: {"choices":[null]}\n\n'), /^unexpected answer/);
  });

  test('tokens whose text is held back and reasoning are tokens, not text', async () => {
    const held = await answered('vllm', chunked([event(''), event('石', {}, 'stop'), DONE]));
    assert.ok(held.firstToken! <= held.ttft!);
    assert.equal(held.gaps.length, 0);
    const delta = (fields: object, reason: string | null = null) =>
      `data: ${JSON.stringify({ choices: [{ delta: fields, finish_reason: reason }] })}\n\n`;
    const chat = await answered(
      'vllm-chat',
      chunked([
        delta({ role: 'assistant' }),
        delta({ reasoning_content: 'hm' }),
        delta({ content: 'a' }),
        delta({}, 'stop'),
        DONE,
      ]),
    );
    assert.deepEqual([chat.error, chat.text, chat.gaps.length], ['', 'a', 0]);
    assert.ok(chat.firstToken! <= chat.ttft!);
  });
});

describe('servers that promise nothing about the end', () => {
  test('trt: deltas, no counts, no end', async () => {
    const event = (text: string) => `data: ${JSON.stringify({ model_name: 'ensemble', text_output: text })}\n\n`;
    const record = await answered('trt', chunked([event('a'), event(''), event('c')]));
    assert.deepEqual(
      [record.error, record.text, record.gaps.length, record.completionTokens],
      ['', 'ac', 2, undefined],
    );
    const failed = await answered('trt', chunked([event('a'), 'data: {"error":"in ensemble: no"}\n\n']));
    assert.equal(failed.error, 'in ensemble: no');
    assert.match((await answered('trt', chunked(['data: {"text":"a"}\n\n']))).error, /no text_output in the answer/);
    assert.match((await answered('trt', chunked([]))).error, /^no event in the stream/);
  });

  test('truss: as completions', async () => {
    const event = (text: string) => `data: ${JSON.stringify({ choices: [{ text }] })}\n\n`;
    const record = await answered('truss', chunked([event('a'), event('b')]));
    assert.deepEqual([record.error, record.text, record.gaps.length], ['', 'ab', 1]);
  });
});

describe('connections', () => {
  test('one that was closed since the last request is replaced, and so are all of them', async () => {
    const server = await ScriptedServer.start(() => chunked(STREAMS.sglang));
    const { client, send } = senderFor(server, selectBackend('sglang'));
    try {
      const first = await Promise.all([send(), send(), send()]);
      assert.deepEqual(first.map(gist), [GOOD, GOOD, GOOD]);
      assert.equal(server.connections, 3);
      // In the same turn of the event loop: the client cannot know yet.
      server.resetConnections();
      assert.deepEqual(gist(await send()), GOOD);
      assert.equal(server.connections, 4);
      assert.deepEqual(gist(await send()), GOOD);
      assert.equal(server.connections, 4, 'a good connection is used again');
    } finally {
      client.close();
      await server.close();
    }
  });

  test('a server that closes after each answer', async () => {
    const server = await ScriptedServer.start(() => [...chunked(STREAMS.sglang), 'close']);
    const { client, send } = senderFor(server, selectBackend('sglang'));
    try {
      for (let i = 0; i < 5; i++) assert.deepEqual(gist(await send()), GOOD);
    } finally {
      client.close();
      await server.close();
    }
  });

  test('a request that was not answered on a new connection is not sent again', async () => {
    const server = await ScriptedServer.start(() => ['reset']);
    const { client, send } = senderFor(server, selectBackend('sglang'));
    try {
      assert.match((await send()).error, /ECONNRESET/);
      assert.equal(server.heads.length, 1);
    } finally {
      client.close();
      await server.close();
    }
  });
});
