// Takes the chunks of one answer as they come and turns them into a RequestRecord: times, gaps, text, counts, errors.
import { bodyMessage, shorten } from '../../http/error-text.js';
import { SseParser } from '../../http/sse-parser.js';
import type { AnswerPart, AnswerReader } from '../backends/backend.js';
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
  /** A good stream says why it ended. */
  readonly namesEnd: boolean;
}

const DONE = Buffer.from('[DONE]');

export class AnswerRecorder {
  readonly #settings: RecorderSettings;
  readonly #events = new SseParser((payload) => this.#onEvent(payload));
  #status = 0;
  #reason = '';
  #contentType = '';
  #isStream = false;
  /** The answer where it is no stream; of a stream, its beginning until the first event. */
  #body: Buffer[] = [];
  #now = 0;
  #error = '';
  #hasEvent = false;
  #finished = false;
  #done = false;
  #firstText: number | undefined;
  #firstToken: number | undefined;
  #lastTokenAt = 0;
  #lastCount = 0;
  readonly #gaps: number[] = [];
  readonly #gapTexts: string[] = [];
  readonly #texts: string[] = [];
  #wholeText: (() => string) | undefined;
  #completionTokens: number | undefined;
  #promptTokens: number | undefined;
  #cachedTokens: number | undefined;

  constructor(settings: RecorderSettings) {
    this.#settings = settings;
    this.#now = settings.sentAt;
  }

  head(status: number, reason: string, contentType: string): void {
    this.#status = status;
    this.#reason = reason;
    this.#contentType = contentType;
    this.#isStream = status === 200 && this.#settings.stream && !contentType.startsWith('application/json');
  }

  /** `now`: monotonic seconds at which the chunk came; one reading of the clock serves all events in it. */
  chunk(chunk: Buffer, now: number): void {
    this.#now = now;
    if (!this.#isStream || !this.#hasEvent) this.#body.push(chunk);
    if (this.#isStream) this.#events.push(chunk);
  }

  /**
   * The answer is over at `now`; `error` is that of the connection or the reason why we cut it. `interrupted`: the user
   * wanted to stop.
   */
  finish(error: Error | undefined, interrupted: boolean, now: number): RequestRecord {
    const { index, turn, promptLen, requestedLen, arrivedAt, sentAt } = this.#settings;
    if (error !== undefined) this.#fail(error.message);
    else if (this.#isStream) this.#endStream();
    else this.#endBody();
    const sinceSent = (at: number | undefined): number | undefined => (at === undefined ? undefined : at - sentAt);
    const text = this.#text();
    return {
      index,
      turn,
      promptLen,
      requestedLen,
      arrivedAt,
      sentAt,
      // An error without a body is known when the answer ends: no byte came before.
      endedAt: this.#error === '' ? this.#now : now,
      error: this.#error,
      interrupted,
      ttft: sinceSent(this.#firstText ?? this.#firstToken),
      firstToken: sinceSent(this.#firstToken),
      gaps: this.#gaps,
      gapTexts: this.#gapTexts,
      text,
      completionTokens: this.#completionTokens,
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cachedTokens,
    };
  }

  #text(): string {
    if (this.#wholeText === undefined) return this.#texts.join('');
    try {
      return this.#wholeText();
    } catch (thrown) {
      this.#fail(`malformed answer: ${(thrown as Error).message}`);
      return '';
    }
  }

  #fail(message: string): void {
    if (this.#error === '') this.#error = message;
  }

  #endStream(): void {
    this.#events.end();
    const ends = this.#done || this.#finished;
    if (!this.#hasEvent && !ends) {
      // A page of something that is no LLM server, most likely.
      const body = shorten(Buffer.concat(this.#body).toString());
      this.#fail(`no event in the stream (content-type: ${this.#contentType || 'none'}): ${body}`);
    } else if (this.#settings.namesEnd && !ends) {
      // The server, or something on the way, gave up: a clean close is no proof.
      this.#fail('the stream ended without a finish reason');
    }
  }

  #endBody(): void {
    const body = Buffer.concat(this.#body);
    if (this.#status === 200) this.#onPayload(body);
    else this.#fail(`HTTP ${this.#status} ${this.#reason}: ${bodyMessage(body.toString())}`.trim());
  }

  #onEvent(payload: Buffer): void {
    if (!this.#hasEvent) {
      this.#hasEvent = true;
      this.#body = [];
    }
    if (payload.equals(DONE)) this.#done = true;
    else if (this.#error === '') this.#onPayload(payload);
  }

  #onPayload(payload: Buffer): void {
    try {
      this.#onPart(this.#settings.reader(payload));
    } catch (thrown) {
      const text = shorten(payload.toString());
      const isJson = !(thrown instanceof SyntaxError);
      this.#fail(isJson ? `unexpected answer (${(thrown as Error).message}): ${text}` : `malformed answer: ${text}`);
    }
  }

  #onPart(part: AnswerPart): void {
    if (part.error !== undefined) this.#fail(part.error);
    if (part.finished) this.#finished = true;
    if (part.newText !== '') this.#texts.push(part.newText);
    if (part.wholeText !== undefined) this.#wholeText = part.wholeText;
    if (part.completionTokens !== undefined) this.#completionTokens = part.completionTokens;
    if (part.promptTokens !== undefined) this.#promptTokens = part.promptTokens;
    if (part.cachedTokens !== undefined) this.#cachedTokens = part.cachedTokens;
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
