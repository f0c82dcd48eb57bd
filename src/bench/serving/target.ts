// The server under test: its address and headers, whether it is there, what model it serves and what it says of itself.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { resolveModelDirectory } from '../../model/hub.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { toError, VitrineError } from '../../util/errors.js';
import { isFolder } from '../../util/is-folder.js';
import type { HttpClient, HttpTarget, TextResponse } from '../http/http-client.js';
import { authorization, checkAddress, checkHeaderValue, type Environment, hostAddress } from '../http/target.js';
import { waitUntilReady } from '../http/wait-until-ready.js';
import { hideMembers } from '../results/secrets.js';
import type { Output } from '../terminal/output.js';
import { defaultPort } from './backends/select-backend.js';

const ANSWER_MS = 10_000;
const IMPATIENT_MS = 1000;

/** Address and headers of the server under test. @throws VitrineError INVALID_OPTION */
export function httpTarget(options: BenchServingOptions, environment: Environment): HttpTarget {
  const given = options.baseUrl ?? hostAddress(options.host, options.port ?? defaultPort(options.backend));
  const headers = authorization(environment);
  for (const text of options.header ?? []) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+)=(.*)$/.exec(text) ?? [];
    if (name === undefined) throw invalid('--header', `--header: expected Name=value, got '${text}'`);
    headers[name.toLowerCase()] = checkHeaderValue(`--header ${name}`, value!);
  }
  return { baseUrl: checkAddress(options.baseUrl === undefined ? '--host' : '--base-url', given), headers };
}

function invalid(param: string, message: string): VitrineError {
  return new VitrineError('INVALID_OPTION', message, { param });
}

export class TargetServer {
  readonly #client: HttpClient;
  readonly #options: BenchServingOptions;

  constructor(client: HttpClient, options: BenchServingOptions) {
    this.#client = client;
    this.#options = options;
  }

  get baseUrl(): string {
    return this.#client.baseUrl;
  }

  /**
   * Waits until the server answers, and gives the answer of GET /v1/models.
   * @throws VitrineError NOT_READY after --ready-timeout-sec, ABORTED
   */
  waitUntilReady(output: Output, signal: AbortSignal): Promise<TextResponse> {
    return waitUntilReady(this.#client, this.#options.readyTimeoutSec, output, signal);
  }

  /** --model, else the first id of the answer of /v1/models. */
  modelName(models: TextResponse): string {
    const { status, text } = models;
    if (status === 401 || status === 403) {
      const hint = 'set OPENAI_API_KEY (sent as a bearer token), API_KEY (sent as it is) or --header';
      throw new VitrineError('UNAUTHORIZED', `${this.baseUrl} refuses the API key (HTTP ${status}): ${hint}`);
    }
    if (this.#options.model !== undefined) return this.#options.model;
    const id = parseJson(text)?.data?.[0]?.id;
    if (status === 200 && typeof id === 'string') return id;
    const url = `${this.baseUrl}/v1/models`;
    throw new VitrineError(
      'BENCH_FAILED',
      `GET ${url} names no model (HTTP ${status}): is this the address of the server? Otherwise give --model.`,
    );
  }

  /** Folder of the tokenizer: --tokenizer, else of `model`, else what a server on this machine says it uses. */
  async tokenizerDirectory(model: string): Promise<string> {
    const wanted = this.#options.tokenizer;
    if (wanted === undefined && !(await isFolder(model))) {
      const info = (await this.#firstJson(['/model_info', '/get_model_info'])) as { tokenizer_path?: unknown } | null;
      const path = info?.tokenizer_path;
      if (typeof path === 'string' && (await isFolder(path))) return path;
    }
    return resolveModelDirectory(wanted ?? model, { revision: 'main', what: 'tokenizer' }).catch((thrown: unknown) => {
      const message = `The tokenizer cannot be loaded: ${toError(thrown).message} --tokenizer gives another.`;
      throw new VitrineError('MODEL_NOT_FOUND', message, { param: '--tokenizer', cause: thrown });
    });
  }

  async loadTokenizer(directory: string): Promise<Tokenizer> {
    try {
      return await Tokenizer.load(directory);
    } catch (thrown) {
      const message = `The tokenizer cannot be loaded: ${toError(thrown).message} --tokenizer gives another.`;
      throw new VitrineError('TOKENIZER_INVALID', message, { param: '--tokenizer', cause: thrown });
    }
  }

  /**
   * The answer of /server_info (formerly /get_server_info) without the keys that SGLang's holds, or null. `signal`: the user
   * will not wait for it.
   */
  async serverInfo(signal: AbortSignal): Promise<unknown> {
    const timeoutMs = signal.aborted ? IMPATIENT_MS : ANSWER_MS;
    return hideMembers(await this.#firstJson(['/server_info', '/get_server_info'], timeoutMs));
  }

  async flushCache(output: Output, signal: AbortSignal): Promise<void> {
    const asked = this.#client.fetchText('POST', '/flush_cache', { timeoutMs: ANSWER_MS, signal });
    const answer = await asked.catch(toError);
    const problem = answer instanceof Error ? answer.message : answer.status === 200 ? '' : `HTTP ${answer.status}`;
    if (problem !== '') output.warn(`--flush-cache: the cache was not flushed (${problem})`);
  }

  async #firstJson(paths: readonly string[], timeoutMs = ANSWER_MS): Promise<unknown> {
    for (const path of paths) {
      const answer = await this.#client.fetchText('GET', path, { timeoutMs }).catch(() => undefined);
      const json = answer?.status === 200 ? parseJson(answer.text) : undefined;
      if (json !== undefined) return json;
    }
    return null;
  }
}

// The shape is the server's affair; readers check the field they want.
// biome-ignore lint/suspicious/noExplicitAny: foreign JSON
function parseJson(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
