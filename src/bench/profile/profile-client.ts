// The profiling routes of a server, ours or SGLang's.
import { toError, VitrineError } from '../../util/errors.js';
import { isJsonObject, type JsonObject } from '../../util/read-json.js';
import { bodyMessage } from '../http/error-text.js';
import { HttpClient, type HttpTarget, type TextResponse } from '../http/http-client.js';
import { isUnderWay, type ProfileReport, parseReport } from './profile-report.js';
import { type ProfileSettings, profileBody } from './profile-settings.js';

const ANSWER_MS = 10_000;
/** SGLang answers a stop only when everything is written, which has taken minutes. */
const STOP_MS = 30 * 60_000;
const HEADERS = { accept: 'application/json' };

/**
 * Rejects with VitrineError NOT_READY (nobody there), UNAUTHORIZED or BENCH_FAILED; the message holds the server's
 * reason.
 */
export class ProfileClient {
  /** For messages: without user and password. */
  readonly baseUrl: string;
  readonly #http: HttpClient;

  constructor(target: HttpTarget) {
    this.#http = new HttpClient(target);
    this.baseUrl = this.#http.baseUrl;
  }

  /** What the server says of itself; undefined where it has no such route. */
  async serverInfo(): Promise<JsonObject | undefined> {
    for (const path of ['/server_info', '/get_server_info']) {
      const answer = await this.#fetch('GET', path, ANSWER_MS);
      if (answer.status === 404) continue;
      const info: unknown = JSON.parse(this.#ok('GET', path, answer).text);
      return isJsonObject(info) ? info : undefined;
    }
    return undefined;
  }

  /** Resolves when the profile is armed or records; undefined from servers that do not report. */
  async start(settings: ProfileSettings, signal?: AbortSignal): Promise<ProfileReport | undefined> {
    const answer = await this.#fetch('POST', '/start_profile', STOP_MS, profileBody(settings), signal);
    return parseReport(this.#ok('POST', '/start_profile', answer).text);
  }

  /** Resolves when the files are complete. */
  async stop(): Promise<ProfileReport | undefined> {
    const answer = await this.#fetch('POST', '/stop_profile', STOP_MS, {});
    return parseReport(this.#ok('POST', '/stop_profile', answer).text);
  }

  /**
   * Ends the profile where it is still under way; the report of it, which may have ended by itself. Only for servers that
   * reported.
   */
  async endReported({ profile_id: id }: ProfileReport): Promise<ProfileReport> {
    const now = await this.status(id);
    if (!isUnderWay(now)) return now;
    try {
      return (await this.stop()) ?? now;
    } catch (thrown) {
      const then = await this.status(id);
      if (isUnderWay(then)) throw thrown;
      return then;
    }
  }

  /** Only servers that reported have it. */
  async status(profileId: string, signal?: AbortSignal): Promise<ProfileReport> {
    const path = `/profile_status?profile_id=${encodeURIComponent(profileId)}`;
    const answer = this.#ok('GET', path, await this.#fetch('GET', path, ANSWER_MS, undefined, signal));
    const report = parseReport(answer.text);
    if (report !== undefined) return report;
    throw new VitrineError(
      'BENCH_FAILED',
      `GET ${this.baseUrl}${path}: no report of a profile: ${bodyMessage(answer.text)}`,
    );
  }

  /** Closes idle connections. */
  close(): void {
    this.#http.close();
  }

  async #fetch(
    method: 'GET' | 'POST',
    path: string,
    timeoutMs: number,
    body?: object,
    signal?: AbortSignal,
  ): Promise<TextResponse> {
    try {
      const options = { timeoutMs, headers: HEADERS, ...(body && { body }), ...(signal && { signal }) };
      return await this.#http.fetchText(method, path, options);
    } catch (thrown) {
      const message = `No answer of ${this.baseUrl}${path}: ${toError(thrown).message}`;
      throw new VitrineError('NOT_READY', message, { cause: thrown });
    }
  }

  #ok(method: string, path: string, answer: TextResponse): TextResponse {
    const { status, reason, text } = answer;
    if (status >= 200 && status < 300) return answer;
    const where = `${method} ${this.baseUrl}${path}: HTTP ${status} ${reason}`.trimEnd();
    if (status === 401 || status === 403) {
      const hint = 'give --api-key, or set OPENAI_API_KEY (sent as a bearer token) or API_KEY (sent as it is)';
      throw new VitrineError('UNAUTHORIZED', `${where}: ${hint}`);
    }
    const said = bodyMessage(text);
    const hint = said === 'Internal Server Error' ? ' (the reason is in the log of the server)' : '';
    throw new VitrineError('BENCH_FAILED', `${where}: ${said}${hint}`);
  }
}
