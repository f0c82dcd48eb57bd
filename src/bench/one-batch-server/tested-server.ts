// The server under test: one that runs somewhere, or one that is launched in a process of its own and ended afterwards.
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveOptions } from '../../config/resolve-options.js';
import { LAUNCHED_SERVER_OPTIONS, type OneBatchServerOptions } from '../../config/tables/one-batch-server-options.js';
import { SERVER_OPTIONS, type ServerOptions } from '../../config/tables/server-options.js';
import { resolveModelDirectory } from '../../model/hub.js';
import { ChildServer } from '../../server/child-server.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { toError, VitrineError } from '../../util/errors.js';
import { isFolder } from '../../util/is-folder.js';
import { isJsonObject, type JsonObject } from '../../util/read-json.js';
import type { HttpTarget } from '../http/http-client.js';
import { authorization, checkAddress, type Environment } from '../http/target.js';
import type { Output } from '../terminal/output.js';

export interface TestedServerDeps {
  readonly output: Output;
  readonly interrupt: AbortSignal;
  readonly environment: Environment;
}

const DYING_MS = 1000;

/** Options that are about the launched server and that a client reads too. */
const CLIENT_KEYS: readonly string[] = ['tokenizerPath', 'servedModelName', 'revision'];

export class TestedServer {
  readonly target: HttpTarget;
  /** The same with the headers of admin routes. */
  readonly admin: HttpTarget;
  /** The user has interrupted, or the server that was launched has died. */
  readonly signal: AbortSignal;
  readonly #child: ChildServer | undefined;
  #death: VitrineError | undefined;

  private constructor(
    baseUrl: string,
    options: OneBatchServerOptions,
    deps: TestedServerDeps,
    child: ChildServer | undefined,
  ) {
    const { apiKey, adminApiKey } = options;
    this.target = { baseUrl, headers: authorization(deps.environment, apiKey) };
    this.admin = { baseUrl, headers: authorization(deps.environment, adminApiKey ?? apiKey) };
    const gone = new AbortController();
    this.signal = AbortSignal.any([deps.interrupt, gone.signal]);
    this.#child = child;
    void child?.ended.then((death) => {
      this.#death = death;
      gone.abort();
    });
  }

  /**
   * The server at --base-url, which may still have to come up, or a launched one that is ready. Errors: INVALID_OPTION,
   * ABORTED, and what keeps a server from starting.
   */
  static async find(options: OneBatchServerOptions, deps: TestedServerDeps): Promise<TestedServer> {
    if (options.baseUrl !== '') {
      for (const flag of idleServerFlags(options)) deps.output.warn(`${flag} has no effect with --base-url`);
      return new TestedServer(checkAddress('--base-url', options.baseUrl), options, deps, undefined);
    }
    const child = ChildServer.launch(serverOptions(options), (line) => deps.output.warn(line));
    deps.output.warn(`Launching a server (process ${child.pid}) ...`);
    const interrupted = new Promise<never>((_, reject) => {
      const onAbort = () => reject(new VitrineError('ABORTED', 'Interrupted while the server was starting'));
      if (deps.interrupt.aborted) onAbort();
      deps.interrupt.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return new TestedServer(await Promise.race([child.ready, interrupted]), options, deps, child);
    } catch (thrown) {
      await child.stop();
      throw thrown;
    }
  }

  /** What explains a failure: the death of the launched server, else the failure itself. */
  async reasonOf(thrown: unknown): Promise<unknown> {
    // A dying process closes its connections before it is gone.
    if (this.#child !== undefined && !this.signal.aborted) await Promise.race([this.#child.ended, sleep(DYING_MS)]);
    return this.#death ?? thrown;
  }

  /** Ends the server if it was launched; resolves when its process is gone. */
  async close(): Promise<void> {
    await this.#child?.stop();
  }
}

/** Of the launched server: what was given, and the defaults of launch-server. */
function serverOptions(options: OneBatchServerOptions): ServerOptions {
  const { modelPath, apiKey, adminApiKey, logLevel, port = 0 } = options;
  if (modelPath === undefined) {
    throw new VitrineError('INVALID_OPTION', '--model-path is required, to launch a server (or give --base-url)', {
      param: '--model-path',
    });
  }
  const given = Object.fromEntries(
    givenServerOptions(options).map(({ key }) => [key, options[key as keyof OneBatchServerOptions]]),
  );
  return resolveOptions(SERVER_OPTIONS, { ...given, modelPath, apiKey, adminApiKey, logLevel, port });
}

/** `false` is what a flag is that was not given; options that can be given as off are undefined then. */
function givenServerOptions(options: OneBatchServerOptions) {
  return LAUNCHED_SERVER_OPTIONS.filter((row) => {
    const value = options[row.key];
    return value !== undefined && (value !== false || 'negatable' in row);
  });
}

function idleServerFlags(options: OneBatchServerOptions): string[] {
  const flags = givenServerOptions(options)
    .filter(({ key }) => !CLIENT_KEYS.includes(key))
    .map(({ flag }) => `--${flag}`);
  return options.port === undefined ? flags : [...flags, '--port'];
}

/** Of --tokenizer-path, what the server says it uses where that is on this machine, or of --model-path. */
export async function loadTokenizer(options: OneBatchServerOptions, info: JsonObject): Promise<Tokenizer> {
  const prefill = Array.isArray(info.prefill) && isJsonObject(info.prefill[0]) ? info.prefill[0] : {};
  const told = info.tokenizer_path ?? prefill.tokenizer_path;
  const { tokenizerPath, revision = 'main' } = options;
  // SGLang's documentation has --model None beside --base-url.
  const modelPath = options.modelPath === 'None' ? undefined : options.modelPath;
  const local = typeof told === 'string' && (await isFolder(told)) ? told : undefined;
  const wanted = tokenizerPath ?? local ?? modelPath ?? (typeof told === 'string' ? told : undefined);
  if (wanted === undefined) {
    const message = '--tokenizer-path is required: the server does not tell its tokenizer';
    throw new VitrineError('INVALID_OPTION', message, { param: '--tokenizer-path' });
  }
  try {
    const settings = { revision: wanted === modelPath ? revision : 'main', what: 'tokenizer' as const };
    return await Tokenizer.load(await resolveModelDirectory(wanted, settings));
  } catch (thrown) {
    const message = `The tokenizer cannot be loaded: ${toError(thrown).message} --tokenizer-path gives another.`;
    throw new VitrineError('MODEL_NOT_FOUND', message, { param: '--tokenizer-path', cause: thrown });
  }
}
