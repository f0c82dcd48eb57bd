// A small server that speaks the dialects of the benches, well or badly, on a port of its own.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Behaviour =
  | 'good'
  | 'too-many' // 429
  | 'unauthorized' // 401
  | 'error-event' // an error inside a stream that began well
  | 'abort' // the engine gave the request up
  | 'cut' // the connection dies in the middle
  | 'no-end' // the stream closes cleanly without saying why
  | 'garbage' // not JSON
  | 'slow' // does not end by itself
  | 'silent-first' // the first token has no text yet
  | 'no-usage'; // completion tokens are never named

export interface Received {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

/** A request of a profiling route. */
export interface ProfileCall {
  readonly method: string;
  /** `/start_profile`, `/stop_profile`, `/profile_status`. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

export interface ProfileAnswer {
  readonly status?: number;
  /** Text is sent as it is, as SGLang does; anything else as JSON. */
  readonly body: string | object;
}

/** How the profiling routes answer; without it the server has none. */
export type ProfileBehaviour = (call: ProfileCall) => ProfileAnswer | Promise<ProfileAnswer>;

const GENERATION_PATHS = [
  '/generate',
  '/v1/completions',
  '/v1/chat/completions',
  '/v2/models/ensemble/generate_stream',
  '/v1/models/model:predict',
];

const PROFILE_PATHS = ['/start_profile', '/stop_profile', '/profile_status'];

const WORDS = ['Once', ' upon', ' a', ' tïme', ' 石', '.'];

export class FakeLlmServer {
  readonly url: string;
  readonly received: Received[] = [];
  readonly profileCalls: ProfileCall[] = [];
  /** Largest number of generation requests at the same time. */
  mostAtOnce = 0;
  #running = 0;
  #flushes = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** `behave`: how generation request number i (from 0) is treated. */
  static async start(
    behave: (index: number) => Behaviour = () => 'good',
    info: object = {},
    profile?: ProfileBehaviour,
  ): Promise<FakeLlmServer> {
    let fake: FakeLlmServer;
    const server = createServer((request, response) => void fake.#answer(request, response, behave, info, profile));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    fake = new FakeLlmServer(server);
    return fake;
  }

  get flushes(): number {
    return this.#flushes;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    behave: (index: number) => Behaviour,
    info: object,
    profile: ProfileBehaviour | undefined,
  ): Promise<void> {
    const { pathname: path, searchParams: query } = new URL(request.url!, this.url);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (path === '/v1/models') return sendJson(response, 200, { data: [{ id: 'fake-model' }] });
    if (path === '/get_server_info') return sendJson(response, 200, { version: 'fake', ...info });
    if (profile !== undefined && PROFILE_PATHS.includes(path)) {
      const text = Buffer.concat(chunks).toString();
      const { method, headers } = request;
      const call = { method: method!, path, query, headers, body: text === '' ? {} : JSON.parse(text) };
      this.profileCalls.push(call);
      const { status = 200, body } = await profile(call);
      if (typeof body !== 'string') return sendJson(response, status, body);
      response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
      return;
    }
    if (path === '/flush_cache') {
      this.#flushes += 1;
      return sendJson(response, 200, {});
    }
    if (!GENERATION_PATHS.includes(path)) return sendJson(response, 404, {});
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
    const index = this.received.length;
    this.received.push({ path, headers: request.headers, body });
    this.#running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#running);
    try {
      await generate(path, body, behave(index), response);
    } finally {
      this.#running -= 1;
    }
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

/** Of the 7 prompt tokens that every answer reports. */
const CACHED_TOKENS = 4;

const usageOf = (count: number): object => ({
  prompt_tokens: 7,
  completion_tokens: count,
  prompt_tokens_details: { cached_tokens: CACHED_TOKENS },
});

type Dialect = (words: readonly string[], count: number, finish: string | null) => object;

/** One event: `words` are the new texts, `count` all tokens so far. */
function dialectOf(path: string, withUsage: boolean): Dialect {
  const usage = (count: number, finish: string | null) =>
    withUsage && finish !== null ? { usage: usageOf(count) } : {};
  if (path === '/generate') {
    let text = '';
    return (words, count, finish) => {
      text += words.join('');
      const tokens = withUsage ? { completion_tokens: count, cached_tokens: CACHED_TOKENS } : {};
      const reason = finish === null ? null : { type: finish, message: 'out of memory' };
      const latency = finish === null ? {} : { e2e_latency: 0.5 };
      return { text, meta_info: { id: 'x', prompt_tokens: 7, ...tokens, finish_reason: reason, ...latency } };
    };
  }
  if (path.startsWith('/v2/')) return (words) => ({ model_name: 'ensemble', text_output: words.join('') });
  if (path !== '/v1/chat/completions') {
    return (words, count, finish) => ({
      choices: [{ index: 0, text: words.join(''), finish_reason: finish }],
      ...usage(count, finish),
    });
  }
  return (words, count, finish) => ({
    choices: [
      {
        index: 0,
        delta: { content: words.join('') },
        message: { content: words.join('') },
        finish_reason: finish,
      },
    ],
    ...usage(count, finish),
  });
}

async function generate(
  path: string,
  body: Record<string, unknown>,
  behaviour: Behaviour,
  response: ServerResponse,
): Promise<void> {
  if (behaviour === 'too-many') return sendJson(response, 429, { error: { message: 'slow down,\nplease' } });
  if (behaviour === 'unauthorized') return sendJson(response, 401, { object: 'error', message: 'bad key' });
  const event = dialectOf(path, behaviour !== 'no-usage');
  if (body.stream !== true) return sendJson(response, 200, event(WORDS, WORDS.length, 'length'));

  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = async (payload: string): Promise<void> => {
    // In two pieces, cut inside a character where there is one.
    const bytes = Buffer.from(`data: ${payload}\n\n`);
    const cut = Math.max(1, bytes.findIndex((byte) => byte >= 0x80) + 1);
    response.write(bytes.subarray(0, cut));
    await sleep(1);
    response.write(bytes.subarray(cut));
  };
  for (const [i, word] of WORDS.entries()) {
    if (i === 2) {
      if (behaviour === 'error-event') {
        await send(JSON.stringify({ error: { message: 'the prompt is too long' } }));
        break;
      }
      if (behaviour === 'abort') {
        await send(JSON.stringify(event([], i, 'abort')));
        break;
      }
      if (behaviour === 'cut') {
        await sleep(5);
        response.destroy();
        return;
      }
      if (behaviour === 'no-end') {
        response.end();
        return;
      }
      if (behaviour === 'garbage') {
        await send('<html>oops</html>');
        break;
      }
      if (behaviour === 'slow') await new Promise((resolve) => response.once('close', resolve));
    }
    const text = behaviour === 'silent-first' && i === 0 ? [] : [word];
    await send(JSON.stringify(event(text, i + 1, null)));
    await sleep(2);
  }
  if (!['error-event', 'abort', 'garbage'].includes(behaviour)) {
    if (path.startsWith('/v2/')) {
      response.end();
      return;
    }
    await send(JSON.stringify(event([], WORDS.length, 'length')));
    if (path !== '/generate' && behaviour !== 'no-usage') {
      await send(JSON.stringify({ choices: [], usage: usageOf(WORDS.length) }));
    }
  }
  response.end('data: [DONE]\n\n');
}

/** What a good answer says. */
export const GOOD_TEXT = WORDS.join('');
export const GOOD_TOKENS = WORDS.length;
