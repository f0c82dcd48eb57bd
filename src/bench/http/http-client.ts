// HTTP for thousands of streams in one process: keep-alive connections without a limit on their number.
import * as http from 'node:http';
import * as https from 'node:https';
import { hideCredentials } from '../results/secrets.js';

type Headers = Readonly<Record<string, string>>;

export interface HttpTarget {
  /** Without a slash at the end. */
  readonly baseUrl: string;
  readonly headers: Headers;
}

export interface ResponseListener {
  /** Status and content type; `reason` is the status text. */
  onHead(status: number, reason: string, contentType: string): void;
  onChunk(chunk: Buffer): void;
  /** Once: the answer is complete (undefined) or the connection failed. */
  onEnd(error: Error | undefined): void;
}

export interface TextResponse {
  readonly status: number;
  /** Status text. */
  readonly reason: string;
  readonly text: string;
}

export interface FetchOptions {
  readonly timeoutMs: number;
  /** JSON. */
  readonly body?: object;
  readonly headers?: Headers;
  /** Cuts the connection. */
  readonly signal?: AbortSignal;
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body: Buffer | undefined;
  readonly headers?: Headers | undefined;
  readonly signal: AbortSignal;
  readonly listener: ResponseListener;
}

export class HttpClient {
  readonly #target: HttpTarget;
  readonly #agent: http.Agent | https.Agent;
  readonly #send: typeof http.request;

  constructor(target: HttpTarget) {
    this.#target = target;
    const isSecure = target.baseUrl.startsWith('https:');
    const settings = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 4096 };
    this.#agent = isSecure ? new https.Agent(settings) : new http.Agent(settings);
    this.#send = isSecure ? https.request : http.request;
  }

  /** For messages: without user and password. */
  get baseUrl(): string {
    return hideCredentials(this.#target.baseUrl);
  }

  /** POSTs JSON and reports what comes back; `signal` cuts the connection. */
  post(path: string, body: Buffer, signal: AbortSignal, listener: ResponseListener, headers: Headers = {}): void {
    this.#request({ method: 'POST', path, body, headers, signal, listener });
  }

  /** A small request, read whole. Rejects when there is no connection or no answer in time. */
  fetchText(method: 'GET' | 'POST', path: string, options: FetchOptions): Promise<TextResponse> {
    const { timeoutMs, body, headers, signal: cut } = options;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let head = { status: 0, reason: '' };
      const timeout = AbortSignal.timeout(timeoutMs);
      const signal = cut === undefined ? timeout : AbortSignal.any([timeout, cut]);
      const listener: ResponseListener = {
        onHead: (status, reason) => {
          head = { status, reason };
        },
        onChunk: (chunk) => chunks.push(chunk),
        onEnd: (error) => {
          if (error === undefined) resolve({ ...head, text: Buffer.concat(chunks).toString() });
          else reject(timeout.aborted ? new Error(`no answer within ${timeoutMs / 1000} s`) : error);
        },
      };
      const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      this.#request({ method, path, body: bytes, headers, signal, listener });
    });
  }

  /** Closes all connections; a later request opens a new one. */
  close(): void {
    this.#agent.destroy();
  }

  #request(call: Call): void {
    const { method, path, body, signal, listener } = call;
    let answered = false;
    let ended = false;
    const end = (error?: Error): void => {
      if (ended) return;
      ended = true;
      listener.onEnd(error);
    };
    const headers: Record<string, string | number> = { ...this.#target.headers, ...call.headers };
    if (body !== undefined) {
      headers['content-type'] ??= 'application/json';
      headers['content-length'] = body.length;
    }
    const url = `${this.#target.baseUrl}${path}`;
    const request = this.#send(url, { method, agent: this.#agent, signal, headers }, (response) => {
      answered = true;
      const coding = response.headers['content-encoding'] ?? 'identity';
      if (coding !== 'identity') {
        // Nobody asked for it, and unpacking would hide when the pieces came.
        response.destroy();
        end(new Error(`the answer is compressed (content-encoding: ${coding}), which was not asked for`));
        return;
      }
      listener.onHead(response.statusCode!, response.statusMessage ?? '', response.headers['content-type'] ?? '');
      response.on('data', (chunk: Buffer) => listener.onChunk(chunk));
      response.on('end', () => end());
      response.on('error', (error) => end(describe(error, answered)));
      response.on('close', () => end(new Error(CUT)));
    });
    // Tokens come in packets far smaller than a segment.
    request.setNoDelay(true);
    request.on('error', (error: NodeJS.ErrnoException) => {
      // The server may close idle connections at the moment we reuse them; nothing was processed then. This ends: each
      // try takes one of them out of the agent, and a new connection is not stale.
      const isStale = request.reusedSocket && !answered && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (isStale && !signal.aborted) {
        ended = true;
        this.#request(call);
      } else {
        end(describe(error, answered));
      }
    });
    request.end(body);
  }
}

const CUT = 'the connection was cut in the middle of the answer';

/** `answered`: the head of the answer was there. */
function describe(error: NodeJS.ErrnoException, answered: boolean): Error {
  if (answered && error.code === 'ECONNRESET') return new Error(CUT, { cause: error });
  // Several addresses were tried: the message of the aggregate is empty.
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors[0] as Error;
  // OpenSSL's words have line ends, and paths of its sources.
  const { reason } = error as { readonly reason?: unknown };
  if (error.code === 'EPROTO') return new Error(`no TLS connection (${reason ?? 'EPROTO'})`, { cause: error });
  return error;
}
