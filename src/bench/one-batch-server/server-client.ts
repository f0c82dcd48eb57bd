// What bench-one-batch-server asks of a server around the measured requests: its sizes, an empty cache, its counters.
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicSeconds } from '../../util/clock.js';
import { toError, VitrineError } from '../../util/errors.js';
import { isJsonObject, type JsonObject } from '../../util/read-json.js';
import { bodyMessage } from '../http/error-text.js';
import { HttpClient, type HttpTarget, type TextResponse } from '../http/http-client.js';

const ANSWER_MS = 60_000;
/** A server may need a moment to let go of the request that it has just answered. */
const FLUSH_SECONDS = 10;
const FLUSH_POLL_MS = 100;

/** Counters of /metrics: prompt tokens and those of them that came from the prefix cache, since the server's start. */
export interface CacheCounters {
  readonly cached: number;
  readonly prompt: number;
}

/** What the server says of its last decode steps; -1 where it does not. */
export interface GenerationState {
  /** Tokens per second. */
  readonly lastGenThroughput: number;
  /** Tokens that a verification step of speculative decoding accepts. */
  readonly acceptLength: number;
}

/** Every method rejects with NOT_READY where nobody answers, UNAUTHORIZED and BENCH_FAILED. */
export class ServerClient {
  readonly http: HttpClient;
  readonly #admin: HttpClient;
  readonly #isVllm: boolean;

  /** `admin`: the same server with the headers of its admin routes. */
  constructor(target: HttpTarget, admin: HttpTarget, backend: 'sglang' | 'vllm') {
    this.http = new HttpClient(target);
    this.#admin = new HttpClient(admin);
    this.#isVllm = backend === 'vllm';
  }

  /** The answer of /server_info (formerly /get_server_info). */
  async serverInfo(signal: AbortSignal): Promise<JsonObject> {
    let answer = await this.#fetch(this.http, 'GET', '/server_info', signal);
    if (answer.status === 404) answer = await this.#fetch(this.http, 'GET', '/get_server_info', signal);
    const info: unknown = parseJson(this.#ok('GET', '/server_info', answer).text);
    if (isJsonObject(info)) return info;
    throw new VitrineError('BENCH_FAILED', `GET ${this.http.baseUrl}/server_info: expected JSON about the server`);
  }

  /** Empties the prefix cache. */
  async flushCache(signal: AbortSignal): Promise<void> {
    const path = this.#isVllm ? '/reset_prefix_cache' : '/flush_cache';
    const deadline = monotonicSeconds() + FLUSH_SECONDS;
    for (;;) {
      const answer = await this.#fetch(this.#admin, 'POST', path, signal);
      const refused = answer.status === 400 && monotonicSeconds() < deadline;
      if (!refused) {
        if (answer.status === 404 && this.#isVllm) {
          const message = 'the server has no such route; it needs VLLM_SERVER_DEV_MODE=1 in its environment';
          throw new VitrineError('BENCH_FAILED', `POST ${this.http.baseUrl}${path}: ${message}`);
        }
        this.#ok('POST', path, answer);
        return;
      }
      await sleep(FLUSH_POLL_MS, undefined, { signal }).catch(() => {});
    }
  }

  async generationState(signal: AbortSignal): Promise<GenerationState> {
    if (this.#isVllm) return { lastGenThroughput: -1, acceptLength: -1 };
    const [state] = internalStates(await this.serverInfo(signal));
    const number = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : -1);
    return {
      lastGenThroughput: number(state?.last_gen_throughput),
      acceptLength: number(state?.avg_spec_accept_length),
    };
  }

  /** undefined where the server has no metrics. */
  async cacheCounters(signal: AbortSignal): Promise<CacheCounters | undefined> {
    const answer = await this.#fetch(this.http, 'GET', '/metrics', signal).catch(() => undefined);
    if (answer?.status !== 200) return undefined;
    const [cachedName, promptName] = this.#isVllm
      ? ['vllm:prefix_cache_hits_total', 'vllm:prefix_cache_queries_total']
      : ['sglang:cached_tokens_total', 'sglang:prompt_tokens_total'];
    const cached = counter(answer.text, cachedName!);
    const prompt = counter(answer.text, promptName!);
    // SGLang creates a counter with its first event.
    return prompt === undefined ? undefined : { cached: cached ?? 0, prompt };
  }

  /** Closes idle connections. */
  close(): void {
    this.http.close();
    this.#admin.close();
  }

  async #fetch(http: HttpClient, method: 'GET' | 'POST', path: string, signal: AbortSignal): Promise<TextResponse> {
    try {
      return await http.fetchText(method, path, { timeoutMs: ANSWER_MS, signal });
    } catch (thrown) {
      if (signal.aborted) throw new VitrineError('ABORTED', 'Interrupted');
      const message = `No answer of ${http.baseUrl}${path}: ${toError(thrown).message}`;
      throw new VitrineError('NOT_READY', message, { cause: thrown });
    }
  }

  #ok(method: string, path: string, answer: TextResponse): TextResponse {
    const { status, reason, text } = answer;
    if (status >= 200 && status < 300) return answer;
    const where = `${method} ${this.http.baseUrl}${path}: HTTP ${status} ${reason}`.trimEnd();
    if (status === 401 || status === 403) {
      const hint = 'give --api-key (or --admin-api-key), or set OPENAI_API_KEY or API_KEY';
      throw new VitrineError('UNAUTHORIZED', `${where}: ${hint}`);
    }
    throw new VitrineError('BENCH_FAILED', `${where}: ${bodyMessage(text)}`);
  }
}

/** One a replica; a router of a prefill-decode pair gives those of the decode servers. */
export function internalStates(info: JsonObject): readonly JsonObject[] {
  const decode = Array.isArray(info.decode) && isJsonObject(info.decode[0]) ? info.decode[0] : {};
  const states = info.internal_states ?? decode.internal_states;
  return Array.isArray(states) ? states.filter(isJsonObject) : [];
}

/** The sum of a counter over its labels, in Prometheus' text format; undefined where it is not there. */
function counter(text: string, name: string): number | undefined {
  const values = text
    .split('\n')
    .filter((line) => line.startsWith(name) && /^[{ ]/.test(line.slice(name.length)))
    .map((line) =>
      Number(
        line
          .slice(line.lastIndexOf('}') + 1)
          .replace(name, '')
          .trim()
          .split(' ')[0],
      ),
    );
  return values.length === 0 ? undefined : values.reduce((total, value) => total + value, 0);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
