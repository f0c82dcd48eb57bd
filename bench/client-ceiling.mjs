// What the load client of the benchmarks can take in: streamed events per second, and the processor time of one event.
//
//   node bench/client-ceiling.mjs [--streams 1,64,2000] [--tokens N] [--events N] [--python /usr/bin/python3]
//
// A server that does nothing but write prepared events runs in a process of its own. Each event carries one token and is an
// HTTP chunk and a write of its own; with many streams nearly every read of the client brings a single event. Where the
// client's share of a processor ("busy") is well below 100 %, the server or the machine was the limit and not the client.
// The column "parse" is the part that is ours: the same events handed to the recorder one by one, without a socket.
// With --python, a Python that has aiohttp reads the same streams the way a Python client must: line by line, json.loads.
import { fork, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { HttpClient } from '../dist/bench/http/http-client.js';
import { payloadSettings } from '../dist/bench/serving/backends/payload-settings.js';
import { selectBackend } from '../dist/bench/serving/backends/select-backend.js';
import { AnswerRecorder } from '../dist/bench/serving/load/answer-recorder.js';
import { RequestSender } from '../dist/bench/serving/load/send-request.js';
import { parseArguments } from '../dist/config/parse.js';
import { BENCH_SERVING } from '../dist/config/programs.js';

const BACKENDS = ['sglang', 'sglang-oai', 'sglang-oai-chat'];
const DONE = 'data: [DONE]\n\n';

/** The events of one answer of `tokens` tokens of five characters, with the fields that SGLang's server sends. */
function eventsOf(path, tokens) {
  const events = [];
  let text = '';
  for (let i = 1; i <= tokens; i++) {
    const word = ` w${String(i % 1000).padStart(3, '0')}`;
    text += word;
    const reason = i === tokens ? 'length' : null;
    const id = 'cmpl-0123456789abcdef0123456789abcdef';
    const head = { id, object: 'chunk', created: 1769071195, model: 'model' };
    if (path === '/generate') {
      const meta = { id, finish_reason: reason && { type: reason, length: tokens }, prompt_tokens: 128 };
      const more = { weight_version: 'default', total_retractions: 0, completion_tokens: i, cached_tokens: 0 };
      const ids = Array.from({ length: i }, (_, j) => 1000 + j);
      events.push({ text, output_ids: ids, meta_info: { ...meta, ...more } });
    } else if (path === '/v1/completions') {
      events.push({ ...head, choices: [{ index: 0, text: word, logprobs: null, finish_reason: reason }], usage: null });
    } else {
      const delta = { role: null, content: word, reasoning_content: null, tool_calls: null };
      events.push({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: reason }], usage: null });
    }
  }
  return [...events.map((event) => `data: ${JSON.stringify(event)}\n\n`), DONE];
}

function serve(tokens) {
  const head = Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n');
  const frame = (text) => Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
  const answers = new Map();
  for (const name of BACKENDS) {
    const { path } = selectBackend(name);
    answers.set(path, [head, ...eventsOf(path, tokens).map(frame), Buffer.from('0\r\n\r\n')]);
  }
  const running = new Set();
  let isTurning = false;
  // One event for each stream, then the next for each: what a server with continuous batching does.
  const turn = () => {
    for (const stream of running) {
      if (stream.socket.writableNeedDrain) continue;
      stream.socket.write(stream.pieces[stream.next++]);
      if (stream.next === stream.pieces.length) running.delete(stream);
    }
    isTurning = running.size > 0;
    if (isTurning) setImmediate(turn);
  };
  const server = createServer({ noDelay: true }, (socket) => {
    let received = '';
    socket.on('error', () => {}).setEncoding('latin1');
    socket.on('data', (text) => {
      received += text;
      const end = received.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
      if (end < 0 || received.length < end + 4 + length) return;
      running.add({ socket, pieces: answers.get(received.split(' ', 2)[1]), next: 0 });
      received = received.slice(end + 4 + length);
      if (!isTurning) setImmediate(turn);
      isTurning = true;
    });
  });
  server.listen(0, '127.0.0.1', 4096, () => process.send(`http://127.0.0.1:${server.address().port}`));
}

const settingsOf = () => payloadSettings(parseArguments(BENCH_SERVING, [], {}).options, 'model');
const REQUEST = { prompt: 'Hello', promptLen: 1, outputLen: 1 };

/** Runs `count` tasks, `width` at a time. */
async function pool(count, width, task) {
  let next = 0;
  const worker = async () => {
    while (next++ < count) await task();
  };
  await Promise.all(Array.from({ length: width }, worker));
}

async function measure(url, name, { streams, requests, tokens }) {
  const client = new HttpClient({ baseUrl: url, headers: {} });
  const settings = { payload: settingsOf(), timeoutSeconds: 600 };
  const sender = new RequestSender(client, selectBackend(name), settings, new AbortController().signal);
  const task = async () => {
    const { error, gaps } = await sender.send(REQUEST, 0, 0);
    if (error !== '' || gaps.length !== tokens - 1) throw new Error(`${name}: ${error || `${gaps.length} gaps`}`);
  };
  await pool(Math.min(requests, streams), streams, task);
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  await pool(requests, streams, task);
  const wall = Number(process.hrtime.bigint() - start) / 1e9;
  const { user, system } = process.cpuUsage(cpu);
  client.close();
  return { wall, cpu: (user + system) / 1e6 };
}

/** Microseconds that the recorder takes for an event, a chunk of its own. */
function parseCost(name, tokens) {
  const backend = selectBackend(name);
  const chunks = eventsOf(backend.path, tokens).map((text) => Buffer.from(text));
  const { countsTokens, namesEnd } = backend;
  const record = () => {
    const times = { index: 0, turn: 0, promptLen: 1, requestedLen: 1, arrivedAt: 0, sentAt: 0 };
    const recorder = new AnswerRecorder({ ...times, reader: backend.reader(), countsTokens, namesEnd, stream: true });
    recorder.head(200, 'OK', 'text/event-stream');
    for (const [i, chunk] of chunks.entries()) recorder.chunk(chunk, i);
    const { error, gaps } = recorder.finish(undefined, false, tokens);
    if (error !== '' || gaps.length !== tokens - 1) throw new Error(`${name}: ${error || `${gaps.length} gaps`}`);
  };
  const repeats = Math.ceil(60000 / tokens);
  const costs = [];
  for (let round = 0; round < 7; round++) {
    const start = process.cpuUsage();
    for (let i = 0; i < repeats; i++) record();
    const { user, system } = process.cpuUsage(start);
    costs.push((user + system) / (repeats * chunks.length));
  }
  return costs.sort((a, b) => a - b)[3];
}

const PYTHON_CLIENT = `
import asyncio, json, resource, sys, time
import aiohttp
url, dialect, streams, requests, tokens = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])

async def one():
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=10 * 2**20) as session:
        start = time.perf_counter()
        ttft, last, seen, gaps, texts = 0.0, start, 0, [], []
        async with session.post(url, json={"stream": True}) as response:
            async for line in response.content:
                line = line.strip()
                if not line:
                    continue
                payload = line.decode()[6:]
                if payload == "[DONE]":
                    continue
                event = json.loads(payload)
                if dialect == "sglang":
                    text, count = event["text"], event["meta_info"]["completion_tokens"]
                elif dialect == "sglang-oai":
                    text, count = event["choices"][0]["text"], seen + 1
                else:
                    text, count = event["choices"][0]["delta"]["content"], seen + 1
                if not text:
                    continue
                now = time.perf_counter()
                if ttft == 0.0:
                    ttft = now - start
                elif count > seen:
                    gaps.extend([(now - last) / (count - seen)] * (count - seen))
                last, seen = now, count
                texts = [text] if dialect == "sglang" else texts + [text] if len(texts) < 1 else texts
        assert len(gaps) == tokens - 1, len(gaps)

async def pool(count):
    left = iter(range(count))
    async def worker():
        for _ in left:
            await one()
    await asyncio.gather(*(worker() for _ in range(streams)))

def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

async def main():
    await pool(min(requests, streams))
    before, start = cpu(), time.perf_counter()
    await pool(requests)
    print(json.dumps({"wall": time.perf_counter() - start, "cpu": cpu() - before}))

asyncio.run(main())
`;

function measurePython(python, url, name, { streams, requests, tokens }) {
  const args = [url + selectBackend(name).path, name, streams, requests, tokens].map(String);
  const { status, stdout, stderr } = spawnSync(python, ['-c', PYTHON_CLIENT, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${python}: ${stderr.trim().split('\n').at(-1)}`);
  return JSON.parse(stdout);
}

async function main() {
  const { values } = parseArgs({
    options: {
      streams: { type: 'string', default: '1,64,2000' },
      tokens: { type: 'string', default: '200' },
      events: { type: 'string', default: '200000' },
      python: { type: 'string' },
    },
  });
  const tokens = Number(values.tokens);
  const server = fork(new URL(import.meta.url), ['--serve', String(tokens)]);
  const url = await new Promise((resolve) => server.once('message', resolve));
  try {
    console.log(`${tokens} tokens a stream, one an event`);
    console.log('backend          client   streams    events/s   µs CPU/event   busy   parse µs/event');
    for (const name of BACKENDS) {
      const parse = parseCost(name, tokens).toFixed(2);
      for (const streams of values.streams.split(',').map(Number)) {
        const requests = Math.max(streams, Math.ceil(Number(values.events) / tokens));
        const plan = { streams, requests, tokens };
        const rows = [['vitrine', await measure(url, name, plan), parse]];
        if (values.python !== undefined) rows.push(['aiohttp', measurePython(values.python, url, name, plan), '']);
        for (const [client, { wall, cpu }, cost] of rows) {
          const events = requests * tokens;
          const figures = [
            Math.round(events / wall)
              .toString()
              .padStart(11),
            ((cpu * 1e6) / events).toFixed(2).padStart(14),
          ];
          const busy = `${Math.round((cpu / wall) * 100)} %`.padStart(6);
          console.log(name.padEnd(16), client, String(streams).padStart(8), ...figures, busy, cost.padStart(16));
        }
      }
    }
  } finally {
    server.kill();
  }
}

if (process.argv[2] === '--serve') serve(Number(process.argv[3]));
else await main();
