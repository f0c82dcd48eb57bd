// launch-server: front end and HTTP in this process, the engine in a rank process.
import { randomInt } from 'node:crypto';
import type { ServerOptions } from '../config/tables/server-options.js';
import { errorOfFinish } from '../frontend/finish-error.js';
import { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';
import { profileEnvironment } from '../frontend/profiler/profile-environment.js';
import { ProfileManager } from '../frontend/profiler/profile-manager.js';
import type { RequestObserver } from '../frontend/request-observer.js';
import { parseSamplingParams } from '../frontend/sampling-params.js';
import { TokenizerManager } from '../frontend/tokenizer-manager.js';
import type { FinishReason } from '../messages/outputs.js';
import { prepareModel } from '../model/prepare-model.js';
import { loadText } from '../runtime/load-text.js';
import { Rank } from '../runtime/rank.js';
import { toError, VitrineError } from '../util/errors.js';
import { createLog, type Log } from '../util/log.js';
import { healthOptionsFromEnv } from './health.js';
import { Metrics } from './metrics.js';
import { ObserverList, RequestLog } from './request-log.js';
import { describeModel } from './served-model.js';
import { Server } from './server.js';
import { onShutdownSignal } from './signals.js';

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /** Resolves with the exit code when the server has closed: 0 after a shutdown, 1 when the engine failed. */
  readonly closed: Promise<number>;
  /** Drains (see `--shutdown-timeout`) and closes. */
  shutdown(): Promise<void>;
}

/** How long a rank process may take to stop by itself. */
const RANK_GRACE_SECONDS = 5;
/** The same while it completes trace files. */
const PROFILED_RANK_GRACE_SECONDS = 60;

/**
 * Serves a model. Listens at once (routes answer 503 meanwhile) and resolves when the model is loaded and warm.
 * SIGTERM and SIGINT drain the server; a second one ends the process at once.
 * Errors: ADDRESS_IN_USE and whatever makes the model unusable (see `Engine.launch`).
 */
export async function launchServer(given: ServerOptions): Promise<RunningServer> {
  const log = createLog(given.logLevel, 'server');
  const options = { ...given, randomSeed: given.randomSeed ?? randomInt(2 ** 31) };
  const metrics = options.enableMetrics ? new Metrics(options.servedModelName ?? options.modelPath) : null;
  const tracer = new FrontEndTracer({ processName: 'front end', log });
  const server = new Server({ options, health: healthOptionsFromEnv(process.env), metrics, tracer, log });
  const life = new ServerLife({ server, options, tracer, log });
  const removeSignals = onShutdownSignal(log, () => void life.shutdown());
  void life.closed.then(removeSignals);
  let address: { url: string; port: number };
  try {
    address = await server.listen();
  } catch (thrown) {
    removeSignals();
    throw thrown;
  }
  log.info(`Listening on ${address.url}; loading ${options.modelPath}`);
  try {
    await life.start(metrics);
  } catch (thrown) {
    await life.abandon(toVitrineError(thrown));
    if (!life.isShutDown) throw thrown;
  }
  return { ...address, closed: life.closed, shutdown: () => life.shutdown() };
}

interface ServerLifeDeps {
  readonly server: Server;
  readonly options: ServerOptions;
  readonly tracer: FrontEndTracer;
  readonly log: Log;
}

/** Brings the parts up, watches over them and takes them down, once. */
class ServerLife {
  readonly closed: Promise<number>;
  readonly #server: Server;
  readonly #options: ServerOptions;
  readonly #tracer: FrontEndTracer;
  readonly #log: Log;
  #profiles: ProfileManager | null = null;
  #rank: Rank | null = null;
  #loaded = false;
  #ending: Promise<void> | null = null;
  #shutDown = false;
  #resolveClosed!: (code: number) => void;

  constructor({ server, options, tracer, log }: ServerLifeDeps) {
    this.#server = server;
    this.#options = options;
    this.#tracer = tracer;
    this.#log = log;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  /** Somebody asked it to stop (it did not fail). */
  get isShutDown(): boolean {
    return this.#shutDown;
  }

  async start(metrics: Metrics | null): Promise<void> {
    const options = this.#options;
    const log = this.#log;
    const model = await prepareModel(options, log); // a broken model folder is reported before a process is started
    if (this.#ending !== null) return;
    const config = { options: { ...options, modelPath: model.directory }, logLevel: options.logLevel };
    const tracer = this.#tracer;
    this.#rank = Rank.launch(config, tracer, log);
    const { scheduler, exited } = this.#rank;
    const [{ tokenizer, chatTemplate }, info] = await Promise.all([
      loadText(options, log),
      Promise.race([scheduler.ready, exited.then(startFailed)]),
    ]);
    if (this.#ending !== null) return;
    const observers: RequestObserver[] = metrics === null ? [] : [metrics];
    if (options.logRequests) observers.push(new RequestLog(log));
    const manager = new TokenizerManager({
      scheduler,
      info,
      tokenizer,
      chatTemplate,
      streamInterval: options.streamInterval,
      randomSeed: options.randomSeed,
      tracer,
      ...(observers.length === 0 ? {} : { observer: new ObserverList(observers) }),
    });
    const environment = profileEnvironment(process.env, log);
    const profiles = new ProfileManager({ schedulers: [scheduler], environment, tracer, log });
    this.#profiles = profiles;
    this.#server.load({ manager, scheduler, profiles, model: describeModel(model, options) });
    this.#loaded = true;
    void scheduler.gone.then((failure) => this.#fail(failure));
    if (!options.skipServerWarmup) await warmUp(manager);
    this.#server.ready();
    // The words scripts for SGLang wait for.
    log.info('The server is fired up and ready to roll!');
  }

  /** The start failed with `error`. */
  async abandon(error: VitrineError): Promise<void> {
    this.#ending ??= this.#end(() => this.#server.fail(error), 1);
    await this.#ending;
  }

  async shutdown(): Promise<void> {
    this.#shutDown = true;
    this.#ending ??= this.#end(() => this.#server.drain(this.#options.shutdownTimeout), 0);
    await this.#ending;
  }

  #fail(failure: VitrineError): void {
    if (this.#ending !== null) return;
    this.#log.error(`The engine is gone: ${failure.message}`);
    this.#ending = this.#end(() => this.#server.fail(failure), 1);
  }

  async #end(closeServer: () => Promise<void>, code: number): Promise<void> {
    await closeServer();
    const grace = this.#profiles?.isBusy ? PROFILED_RANK_GRACE_SECONDS : RANK_GRACE_SECONDS;
    this.#profiles?.close();
    await this.#rank?.stop(this.#loaded ? grace : 0); // one that loads does not listen
    this.#resolveClosed(code);
  }
}

/** One short request, so that the first user does not pay for lazy start-up work. */
async function warmUp(manager: TokenizerManager): Promise<void> {
  const { vocabSize, contextLength } = manager.info;
  const ids = [10, 11, 12].map((id) => id % vocabSize).slice(0, Math.max(1, contextLength - 8));
  const [prepared] = await manager.prepare({
    rid: 'WARM_UP',
    prompt: { inputIds: ids },
    sampling: parseSamplingParams({ temperature: 0, ignore_eos: true }, { vocabSize }),
    defaultMaxNewTokens: 8,
    logprobs: null,
  });
  const finish = await new Promise<FinishReason>((resolve) => {
    manager.start([prepared!], (state) => {
      if (state.finish !== null) resolve(state.finish);
    });
  });
  const error = errorOfFinish(finish);
  if (error !== null) throw error;
}

function startFailed(how: string): never {
  throw new VitrineError('ENGINE_FAILED', `The rank process ended while it loaded the model (${how}).`);
}

function toVitrineError(thrown: unknown): VitrineError {
  const error = toError(thrown);
  return error instanceof VitrineError ? error : new VitrineError('INTERNAL', error.message, { cause: error });
}
