// A server for bench-one-batch-server that answers batches with events that a test has written, and keeps what was asked.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

export interface BatchCall {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: Record<string, unknown>;
}

/** An event, or milliseconds to wait before the next. */
export type ScriptStep = object | number;

export interface BatchScript {
  /** Of a generation request, by its body; a number alone is an HTTP status. */
  readonly answer?: (call: BatchCall) => readonly ScriptStep[] | number;
  /** Over the answer of /server_info; null: there is none. */
  readonly info?: object | null;
  /** Texts of /metrics, one for each scrape; the last one stays. Without it the route is 404. */
  readonly metrics?: readonly string[];
  /** Statuses of the first flushes; later ones succeed. */
  readonly flushes?: readonly number[];
  /** Of /start_profile, /stop_profile and /profile_status. */
  readonly profile?: (path: string) => object;
}

const GENERATION = ['/generate', '/v1/completions'];

export class BatchServer {
  readonly calls: BatchCall[] = [];
  readonly url: string;

  private constructor(url: string) {
    this.url = url;
  }

  static async start(test: TestContext, script: BatchScript = {}): Promise<BatchServer> {
    let fake: BatchServer;
    let scrapes = 0;
    let flushes = 0;
    const server = createServer(async (request, response) => {
      const path = new URL(request.url!, 'http://fake').pathname;
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
      const call = { path, authorization: request.headers.authorization, body };
      const json = (status: number, value: object) => response.writeHead(status).end(JSON.stringify(value));
      if (path === '/v1/models') return json(200, { data: [{ id: 'served' }] });
      if (path === '/server_info' && script.info !== null) return json(200, { ...INFO, ...script.info });
      if (path === '/metrics') {
        const { metrics } = script;
        if (metrics === undefined) return json(404, {});
        scrapes += 1;
        return response.end(metrics[Math.min(scrapes, metrics.length) - 1]);
      }
      fake.calls.push(call);
      if (path === '/flush_cache' || path === '/reset_prefix_cache') {
        flushes += 1;
        return json(script.flushes?.[flushes - 1] ?? 200, {});
      }
      if (path.endsWith('_profile') || path === '/profile_status') return json(200, script.profile!(path));
      if (!GENERATION.includes(path)) return json(404, {});
      const answer = script.answer?.(call) ?? goodAnswer(call);
      return typeof answer === 'number' ? json(answer, { error: { message: 'no' } }) : play(answer, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    test.after(() => {
      server.closeAllConnections();
      server.close();
    });
    fake = new BatchServer(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return fake;
  }

  get paths(): string[] {
    return this.calls.map(({ path }) => path);
  }

  get generations(): BatchCall[] {
    return this.calls.filter(({ path }) => GENERATION.includes(path));
  }
}

const INFO = {
  page_size: 1,
  dp_size: 1,
  context_length: 4096,
  internal_states: [
    {
      memory_usage: { token_capacity: 20_000 },
      effective_max_running_requests_per_dp: 16,
      last_gen_throughput: 123.456,
    },
  ],
};

/** An event of /generate. */
export function nativeEvent(index: number, tokens: number, meta: object = {}): object {
  return { index, text: 'x', meta_info: { completion_tokens: tokens, finish_reason: null, ...meta } };
}

/** The last one of a sequence. */
export function nativeEnd(index: number, tokens: number, meta: object = {}): object {
  return nativeEvent(index, tokens, { finish_reason: { type: 'length', length: tokens }, ...meta });
}

async function play(steps: readonly ScriptStep[], response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const step of steps) {
    if (typeof step === 'number') await sleep(step);
    else response.write(`data: ${JSON.stringify(step)}\n\n`);
  }
  response.end('data: [DONE]\n\n');
}

/** Every sequence: its first token, then its last. */
function goodAnswer({ path, body }: BatchCall): object[] {
  if (path === '/generate') {
    const count = (body.input_ids as unknown[]).length;
    const tokens = (body.sampling_params as { max_new_tokens: number }).max_new_tokens;
    const indexes = Array.from({ length: count }, (_, i) => i);
    return [...indexes.map((i) => nativeEvent(i, 1)), ...indexes.map((i) => nativeEnd(i, tokens))];
  }
  const count = (body.prompt as unknown[]).length;
  const choices = Array.from({ length: count }, (_, index) => ({ index, text: 'x' }));
  const usage = { prompt_tokens: 7 * count, completion_tokens: (body.max_tokens as number) * count };
  return [
    { choices: choices.map((choice) => ({ ...choice, finish_reason: null })) },
    { choices: choices.map((choice) => ({ ...choice, finish_reason: 'length' })) },
    { choices: [], usage },
  ];
}
