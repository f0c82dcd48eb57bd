// Takes the chunks of one answer as they come and turns them into a RequestRecord: times, gaps, text, counts, errors.
import { bodyMessage, shorten } from '../../http/error-text.js';
import { SseParser } from '../../http/sse-parser.js';
import type { AnswerReader, JsonObject } from '../backends/backend.js';
import type { RequestRecord } from './request-record.js';

export interface RecorderSettings {
  readonly index: number;
  readonly turn: number;
  readonly promptLen: number;
  readonly requestedLen: number;
  readonly arrivedAt: number;
  readonly sentAt: number;
  readonly reader: AnswerReader;
  readonly countsTokens: boolean;
  readonly stream: boolean;
}

export class AnswerRecorder {
  readonly #settings: RecorderSettings;
  readonly #events = new SseParser((payload) => this.#onEvent(payload));
  #status = 0;
  #reason = '';
  #isStream = false;
  readonly #body: Buffer[] = [];
  #now = 0;
  #error = '';
  #finished = false;
  #done = false;
  #firstText: number | undefined;
  #firstToken: number | undefined;
  #lastTokenAt = 0;
  #lastCount = 0;
  readonly #gaps: number[] = [];
  readonly #gapTexts: string[] = [];
  readonly #texts: string[] = [];
  #completionTokens: number | undefined;
  #promptTokens: number | undefined;

  constructor(settings: RecorderSettings) {
    this.#settings = settings;
    this.#now = settings.sentAt;
  }

  head(status: number, reason: string, contentType: string): void {
    this.#status = status;
    this.#reason = reason;
    this.#isStream = status === 200 && this.#settings.stream && !contentType.startsWith('application/json');
  }

  /** `now`: monotonic seconds at which the chunk came; one reading of the clock serves all events in it. */
  chunk(chunk: Buffer, now: number): void {
    this.#now = now;
    if (this.#isStream) this.#events.push(chunk);
    else this.#body.push(chunk);
  }

  /** The answer is over; `error` is that of the connection. `interrupted`: we cut it ourselves. */
  finish(error: Error | undefined, interrupted: boolean): RequestRecord {
    const { index, turn, promptLen, requestedLen, arrivedAt, sentAt } = this.#settings;
    if (error !== undefined) this.#fail(error.message);
    else if (this.#isStream) this.#endStream();
    else this.#endBody();
    const sinceSent = (at: number | undefined): number | undefined => (at === undefined ? undefined : at - sentAt);
    return {
      index,
      turn,
      promptLen,
      requestedLen,
      arrivedAt,
      sentAt,
      endedAt: this.#now,
      error: this.#error,
      interrupted,
      ttft: sinceSent(this.#firstText ?? this.#firstToken),
      firstToken: sinceSent(this.#firstToken),
      gaps: this.#gaps,
      gapTexts: this.#gapTexts,
      text: this.#texts.join(''),
      completionTokens: this.#completionTokens,
      promptTokens: this.#promptTokens,
    };
  }

  #fail(message: string): void {
    if (this.#error === '') this.#error = message;
  }

  #endStream(): void {
    this.#events.end();
    // Without the end mark of the dialect the server, or something on the way, gave up: a clean close is no proof.
    if (!this.#done && !this.#finished) this.#fail('the stream ended without a finish reason');
  }

  #endBody(): void {
    const text = Buffer.concat(this.#body).toString();
    if (this.#status !== 200) {
      this.#fail(`HTTP ${this.#status} ${this.#reason}: ${bodyMessage(text)}`.trim());
      return;
    }
    this.#onPayload(text);
  }

  #onEvent(payload: string): void {
    if (payload === '[DONE]') this.#done = true;
    else if (this.#error === '') this.#onPayload(payload);
  }

  #onPayload(payload: string): void {
    let event: JsonObject;
    try {
      event = JSON.parse(payload) as JsonObject;
      if (typeof event !== 'object' || event === null) throw new Error('not an object');
    } catch {
      this.#fail(`malformed answer: ${shorten(payload)}`);
      return;
    }
    try {
      this.#onPart(event);
    } catch (thrown) {
      this.#fail(`unexpected answer (${(thrown as Error).message}): ${shorten(payload)}`);
    }
  }

  #onPart(event: JsonObject): void {
    const part = this.#settings.reader(event);
    if (part.error !== undefined) this.#fail(part.error);
    if (part.finished) this.#finished = true;
    if (part.newText !== '') this.#texts.push(part.newText);
    if (part.completionTokens !== undefined) this.#completionTokens = part.completionTokens;
    if (part.promptTokens !== undefined) this.#promptTokens = part.promptTokens;
    if (part.carriesToken) this.#firstToken ??= this.#now;
    if (part.countsAsToken) this.#onToken(part.newText, part.completionTokens ?? 0);
  }

  #onToken(text: string, count: number): void {
    if (this.#firstText === undefined) {
      this.#firstText = this.#now;
    } else {
      const gap = this.#now - this.#lastTokenAt;
      if (!this.#settings.countsTokens) {
        this.#gaps.push(gap);
        this.#gapTexts.push(text);
      } else {
        const fresh = count - this.#lastCount;
        // A chunk without new tokens does not move the reference time.
        if (fresh <= 0) return;
        for (let i = 0; i < fresh; i++) this.#gaps.push(gap / fresh);
      }
    }
    this.#lastTokenAt = this.#now;
    this.#lastCount = count;
  }
}
