// Sends one request to /generate and reads the answer of its first prompt.
import { VitrineError } from '../../util/errors.js';
import { isJsonObject, type JsonObject } from '../../util/read-json.js';
import { bodyMessage, errorText, shorten } from '../http/error-text.js';
import type { HttpClient } from '../http/http-client.js';
import { SseParser } from '../http/sse-parser.js';

export interface NativeAnswer {
  readonly text: string;
  readonly meta: JsonObject;
}

const PATH = '/generate';

/**
 * `onText` gets new text as it comes where the body asks for a stream. Rejects with NOT_READY (nobody answers),
 * BENCH_FAILED (what the server or the connection said) and ABORTED (`signal`).
 */
export function askNative(
  client: HttpClient,
  body: JsonObject,
  signal: AbortSignal,
  onText: (text: string) => void,
): Promise<NativeAnswer> {
  return new Promise((resolve, reject) => {
    const reader = new AnswerReader(onText);
    client.post(PATH, Buffer.from(JSON.stringify(body)), signal, {
      onHead: (status, reason, contentType) => reader.head(status, reason, contentType),
      onChunk: (chunk) => reader.chunk(chunk),
      onEnd: (error) => {
        try {
          if (signal.aborted) throw new VitrineError('ABORTED', 'Interrupted before the answer was complete');
          if (error !== undefined && !reader.hasBegun) {
            throw new VitrineError('NOT_READY', `No answer of ${client.baseUrl}${PATH}: ${error.message}`, {
              cause: error,
            });
          }
          if (error !== undefined) throw failed(error.message);
          resolve(reader.finish());
        } catch (thrown) {
          reject(thrown);
        }
      },
    });
  });
}

const failed = (reason: string) => new VitrineError('BENCH_FAILED', `The request failed: ${reason}`);

class AnswerReader {
  readonly #onText: (text: string) => void;
  readonly #events = new SseParser((payload) => this.#onEvent(payload.toString()));
  readonly #body: Buffer[] = [];
  #status = 0;
  #reason = '';
  #isStream = false;
  #answer: NativeAnswer = { text: '', meta: {} };
  #failure: VitrineError | undefined;

  constructor(onText: (text: string) => void) {
    this.#onText = onText;
  }

  head(status: number, reason: string, contentType: string): void {
    this.#status = status;
    this.#reason = reason;
    this.#isStream = status === 200 && contentType.startsWith('text/event-stream');
  }

  chunk(chunk: Buffer): void {
    if (this.#isStream) this.#events.push(chunk);
    else this.#body.push(chunk);
  }

  get hasBegun(): boolean {
    return this.#status !== 0;
  }

  finish(): NativeAnswer {
    if (this.#isStream) this.#events.end();
    else this.#wholeBody(Buffer.concat(this.#body).toString());
    if (this.#failure !== undefined) throw this.#failure;
    const reason = this.#answer.meta.finish_reason;
    if (!isJsonObject(reason)) throw failed('the answer ended without a finish reason');
    if (reason.type === 'abort') throw failed(`aborted: ${String(reason.message ?? 'no reason given')}`);
    return this.#answer;
  }

  #wholeBody(text: string): void {
    if (this.#status !== 200) throw failed(`HTTP ${this.#status} ${this.#reason}: ${bodyMessage(text)}`);
    this.#take(text, (value) => (Array.isArray(value) ? value[0] : value));
  }

  #onEvent(payload: string): void {
    if (payload === '[DONE]' || this.#failure !== undefined) return;
    // In a batch the outputs come mixed; those of the others are not shown.
    this.#take(payload, (value) => ((value as { index?: number } | null)?.index ? undefined : value));
  }

  #take(payload: string, choose: (value: unknown) => unknown): void {
    let part: unknown;
    try {
      part = choose(JSON.parse(payload));
    } catch {
      this.#failure ??= failed(`malformed answer: ${shorten(payload)}`);
      return;
    }
    if (part === undefined) return;
    if (!isJsonObject(part) || (part.error ?? null) !== null || !isJsonObject(part.meta_info)) {
      const error = isJsonObject(part) ? part.error : undefined;
      this.#failure ??= failed((error ?? null) === null ? `unexpected answer: ${shorten(payload)}` : errorText(error));
      return;
    }
    const text = typeof part.text === 'string' ? part.text : '';
    if (this.#isStream) this.#onText(text.slice(this.#answer.text.length));
    this.#answer = { text, meta: part.meta_info };
  }
}
