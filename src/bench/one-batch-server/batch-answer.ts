// Sends a batch as one request and follows its stream: when each sequence had its first token, and that each of them
// was generated to its full length.
import { monotonicSeconds } from '../../util/clock.js';
import { VitrineError } from '../../util/errors.js';
import { isJsonObject, type JsonObject } from '../../util/read-json.js';
import { bodyMessage, errorText, shorten } from '../http/error-text.js';
import type { HttpClient } from '../http/http-client.js';
import { SseParser } from '../http/sse-parser.js';

export interface BatchRequest {
  readonly path: '/generate' | '/v1/completions';
  readonly body: JsonObject;
  readonly batchSize: number;
  /** Tokens that each sequence must come to. */
  readonly outputLen: number;
}

/** Seconds of the monotonic clock, from just before the POST. */
export interface BatchAnswer {
  /** To the last byte. */
  readonly latency: number;
  /** To the chunk with the first token of the slowest sequence. */
  readonly lastTtft: number;
  /** Prompt tokens of all sequences, and those of them that came from the prefix cache; undefined: not told. */
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
}

/**
 * Rejects with NOT_READY (no answer), ABORTED (`signal`), and BENCH_FAILED: what the server or the connection said, or
 * a sequence that ended before its length.
 */
export function sendBatch(client: HttpClient, request: BatchRequest, signal: AbortSignal): Promise<BatchAnswer> {
  const { path, body } = request;
  const bytes = Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const sentAt = monotonicSeconds();
    const reader = path === '/generate' ? new NativeReader(request, sentAt) : new CompletionsReader(request, sentAt);
    client.post(path, bytes, signal, {
      onHead: (status, reason) => reader.head(status, reason),
      onChunk: (chunk) => reader.chunk(chunk),
      onEnd: (error) => {
        try {
          if (signal.aborted) throw new VitrineError('ABORTED', 'Interrupted before the answer was complete');
          if (error !== undefined && !reader.hasBegun) {
            const message = `No answer of ${client.baseUrl}${path}: ${error.message}`;
            throw new VitrineError('NOT_READY', message, { cause: error });
          }
          if (error !== undefined) throw failed(error.message);
          resolve(reader.finish(monotonicSeconds()));
        } catch (thrown) {
          reject(thrown);
        }
      },
    });
  });
}

const failed = (reason: string) => new VitrineError('BENCH_FAILED', `The request failed: ${reason}`);

interface Sequence {
  /** undefined: no token yet. */
  firstTokenAt: number | undefined;
  /** Why it ended; '' while it runs. */
  ending: string;
  /** By the server; undefined where it does not say. */
  tokens: number | undefined;
  promptTokens: number | undefined;
  cachedTokens: number | undefined;
}

const numberIn = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

abstract class BatchReader {
  protected readonly sequences: readonly Sequence[];
  readonly #request: BatchRequest;
  readonly #sentAt: number;
  readonly #events = new SseParser((payload) => this.#onEvent(payload.toString()));
  readonly #body: Buffer[] = [];
  #status = 0;
  #reason = '';
  #now = 0;
  #failure: VitrineError | undefined;
  #waiting: number;

  constructor(request: BatchRequest, sentAt: number) {
    this.#request = request;
    this.#sentAt = sentAt;
    this.#waiting = request.batchSize;
    this.sequences = Array.from({ length: request.batchSize }, () => ({
      ...{ firstTokenAt: undefined, ending: '', tokens: undefined, promptTokens: undefined, cachedTokens: undefined },
    }));
  }

  get hasBegun(): boolean {
    return this.#status !== 0;
  }

  head(status: number, reason: string): void {
    this.#status = status;
    this.#reason = reason;
  }

  chunk(chunk: Buffer): void {
    this.#now = monotonicSeconds();
    if (this.#status === 200) this.#events.push(chunk);
    else this.#body.push(chunk);
  }

  finish(endedAt: number): BatchAnswer {
    if (this.#status !== 200) {
      throw failed(`HTTP ${this.#status} ${this.#reason}: ${bodyMessage(Buffer.concat(this.#body).toString())}`);
    }
    this.#events.end();
    if (this.#failure !== undefined) throw this.#failure;
    const { outputLen } = this.#request;
    for (const [i, { ending, tokens, firstTokenAt }] of this.sequences.entries()) {
      if (ending === '') throw failed(`the answer ended without a finish reason of sequence ${i}`);
      if (ending !== 'length' || firstTokenAt === undefined || (tokens ?? outputLen) !== outputLen) {
        const count = tokens === undefined ? '' : ` after ${tokens} of ${outputLen} tokens`;
        throw failed(`sequence ${i} ended${count} with finish reason ${ending}`);
      }
    }
    const firstTokens = this.sequences.map(({ firstTokenAt }) => firstTokenAt!);
    return {
      latency: endedAt - this.#sentAt,
      lastTtft: Math.max(...firstTokens) - this.#sentAt,
      ...this.promptCounts(),
    };
  }

  /** The sequence has a token. */
  protected begun(sequence: Sequence): void {
    if (sequence.firstTokenAt !== undefined) return;
    sequence.firstTokenAt = this.#now;
    this.#waiting -= 1;
  }

  protected sequence(index: unknown): Sequence {
    const sequence = this.sequences[numberIn(index) ?? 0];
    if (sequence !== undefined) return sequence;
    throw failed(`unexpected answer: sequence ${String(index)} of ${this.sequences.length}`);
  }

  protected abstract take(event: JsonObject): void;
  protected abstract promptCounts(): Pick<BatchAnswer, 'promptTokens' | 'cachedTokens'>;

  #onEvent(payload: string): void {
    if (payload === '[DONE]' || this.#failure !== undefined) return;
    // Events hold all text so far. Once every sequence has begun only their ends matter; the quotes cannot be inside a
    // text, where they would be escaped.
    const endsNone = /"finish_reason": ?null/.test(payload) && !/"finish_reason": ?["{]/.test(payload);
    if (this.#waiting === 0 && endsNone) return;
    try {
      const event: unknown = JSON.parse(payload);
      if (!isJsonObject(event)) throw failed(`unexpected answer: ${shorten(payload)}`);
      if ((event.error ?? null) !== null) throw failed(errorText(event.error));
      this.take(event);
    } catch (thrown) {
      this.#failure = thrown instanceof VitrineError ? thrown : failed(`malformed answer: ${shorten(payload)}`);
    }
  }
}

/** /generate: an event a sequence, numbered by `index`, with all tokens so far. */
class NativeReader extends BatchReader {
  protected take({ index, meta_info: meta }: JsonObject): void {
    const sequence = this.sequence(index);
    if (!isJsonObject(meta)) throw failed('unexpected answer: an event without meta_info');
    sequence.tokens = numberIn(meta.completion_tokens);
    sequence.promptTokens = numberIn(meta.prompt_tokens);
    sequence.cachedTokens = numberIn(meta.cached_tokens);
    // Speculative decoding may begin with several tokens at once.
    if (sequence.tokens !== undefined && sequence.tokens > 0) this.begun(sequence);
    const reason = meta.finish_reason;
    if (!isJsonObject(reason)) return;
    if (reason.type === 'abort') throw failed(`aborted: ${String(reason.message ?? 'no reason given')}`);
    sequence.ending = String(reason.type);
  }

  protected promptCounts() {
    const total = (read: (sequence: Sequence) => number | undefined): number | undefined =>
      this.sequences.reduce<number | undefined>((sum, sequence) => {
        const value = read(sequence);
        return sum === undefined || value === undefined ? undefined : sum + value;
      }, 0);
    return {
      promptTokens: total(({ promptTokens }) => promptTokens),
      cachedTokens: total(({ cachedTokens }) => cachedTokens),
    };
  }
}

/** /v1/completions: new text of some sequences in each event; token counts of all of them together in the last one. */
class CompletionsReader extends BatchReader {
  #counts: Pick<BatchAnswer, 'promptTokens' | 'cachedTokens'> = { promptTokens: undefined, cachedTokens: undefined };

  protected take({ choices, usage }: JsonObject): void {
    for (const choice of Array.isArray(choices) ? choices.filter(isJsonObject) : []) {
      const sequence = this.sequence(choice.index);
      this.begun(sequence);
      if (typeof choice.finish_reason === 'string') sequence.ending = choice.finish_reason;
    }
    if (!isJsonObject(usage)) return;
    const details = isJsonObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {};
    this.#counts = { promptTokens: numberIn(usage.prompt_tokens), cachedTokens: numberIn(details.cached_tokens) };
  }

  protected promptCounts() {
    return this.#counts;
  }
}
