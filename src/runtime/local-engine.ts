// The whole engine inside this process: front end and scheduler joined by a LocalChannel. For library use, `generate`
// and offline work; servers keep the scheduler in a process of its own.

import { resolveOptions } from '../config/resolve-options.js';
import { SCHEDULER_OPTIONS, type SchedulerOptions } from '../config/tables/scheduler-options.js';
import { FRONTEND_OPTIONS, type FrontendOptions } from '../config/tables/server-options.js';
import { userAbort } from '../frontend/finish-error.js';
import type { Prompt } from '../frontend/generate-request.js';
import { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';
import { profileEnvironment } from '../frontend/profiler/profile-environment.js';
import { ProfileManager } from '../frontend/profiler/profile-manager.js';
import type { ProfileStatus } from '../frontend/profiler/profile-status.js';
import type { RequestState } from '../frontend/request-state.js';
import { SchedulerClient } from '../frontend/scheduler-client.js';
import { TokenizerManager } from '../frontend/tokenizer-manager.js';
import type { RankInfo, SchedulerState } from '../messages/control.js';
import { createLocalChannel } from '../messages/local-channel.js';
import { prepareModel } from '../model/prepare-model.js';
import { loadAddon } from '../native/load.js';
import { type SchedulerHandle, startScheduler } from '../scheduler/start-scheduler.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { VitrineError } from '../util/errors.js';
import { createLog } from '../util/log.js';
import { AsyncQueue } from '../util/queue.js';
import { type ProfileOptions, toRequestedProfile } from './engine-profile.js';
import { type ChatRequest, type EngineRequest, toGenerateRequest } from './engine-request.js';
import { Generation } from './generation.js';
import { loadText } from './load-text.js';

/** The options of the command line, in camelCase; all but `modelPath` have defaults (docs/options.md). */
export type EngineLaunchOptions = Partial<SchedulerOptions & FrontendOptions> & { readonly modelPath: string };

const DEFAULT_NEW_TOKENS = 128;

/**
 * A model in this process.
 *
 * ```ts
 * const engine = await Engine.launch({ modelPath: 'models/stories260K' });
 * for await (const chunk of engine.generate({ prompt: 'Once upon a time' })) process.stdout.write(chunk.text);
 * const { text } = await engine.generate({ prompt: 'Once', samplingParams: { temperature: 0, maxNewTokens: 20 } });
 * await engine.close();
 * ```
 *
 * Requests that run at the same time share the steps of the model (continuous batching) and the prefix cache.
 */
export class Engine {
  readonly #scheduler: SchedulerHandle;
  readonly #client: SchedulerClient;
  readonly #manager: TokenizerManager;
  readonly #profiles: ProfileManager;

  private constructor(
    scheduler: SchedulerHandle,
    client: SchedulerClient,
    manager: TokenizerManager,
    profiles: ProfileManager,
  ) {
    this.#scheduler = scheduler;
    this.#client = client;
    this.#manager = manager;
    this.#profiles = profiles;
  }

  /**
   * Loads a model. The weights are read on this thread: the event loop stands still meanwhile.
   * Errors: INVALID_OPTION, MODEL_NOT_FOUND, MODEL_INVALID, MODEL_UNSUPPORTED, TOKENIZER_INVALID, OUT_OF_MEMORY,
   * NATIVE_UNAVAILABLE.
   */
  static async launch(given: EngineLaunchOptions): Promise<Engine> {
    const options = resolveOptions([...SCHEDULER_OPTIONS, ...FRONTEND_OPTIONS], given);
    const log = createLog(options.logLevel, 'engine');
    const addon = loadAddon();
    const model = await prepareModel(options, log);
    const { tokenizer, chatTemplate } = await loadText(options, log);
    const { frontend, scheduler: channel } = createLocalChannel();
    // The rank samples the stacks of the thread that it shares with this.
    const tracer = new FrontEndTracer({ processName: 'engine', sampleStacks: false, log });
    const client = new SchedulerClient(frontend, tracer);
    const scheduler = startScheduler({ addon, model, options, channel, log });
    const manager = new TokenizerManager({
      scheduler: client,
      info: await client.ready,
      tokenizer,
      chatTemplate,
      streamInterval: options.streamInterval,
      randomSeed: options.randomSeed,
      tracer,
    });
    const environment = profileEnvironment(process.env, log);
    const profiles = new ProfileManager({ schedulers: [client], environment, tracer, log });
    return new Engine(scheduler, client, manager, profiles);
  }

  /** Sizes and limits of the loaded model. */
  get info(): RankInfo {
    return this.#manager.info;
  }

  /** null with `skipTokenizerInit`. */
  get tokenizer(): Tokenizer | null {
    return this.#manager.tokenizer;
  }

  /**
   * Starts a request. Iterate the result for a stream, or await it. Errors come from there: INVALID_REQUEST,
   * REQUEST_TOO_LONG, QUEUE_FULL, ENGINE_FAILED, SHUTTING_DOWN.
   */
  generate(request: EngineRequest): Generation {
    return this.#run(request, DEFAULT_NEW_TOKENS, () => promptOf(request));
  }

  /** Starts the answer to a conversation, rendered by the model's chat template. As `generate`. */
  chat(request: ChatRequest): Generation {
    return this.#run(request, Number.POSITIVE_INFINITY, () => ({
      text: this.#manager.renderChat(request.messages, { extra: request.templateVariables ?? {} }),
      addSpecialTokens: false,
    }));
  }

  /** Load, cache and counters of the scheduler. */
  state(): Promise<SchedulerState> {
    return this.#client.state();
  }

  /** Empties the prefix cache; false (and nothing done) while a request runs. */
  flushCache(): Promise<boolean> {
    return this.#client.flushCache();
  }

  /**
   * Has the next forward steps recorded into trace files (Chrome trace JSON, gzip: Perfetto opens them). Resolves at once,
   * when the profile is armed or records; `stopProfile` or `profileStatus` tell the files.
   * Errors: INVALID_REQUEST, PROFILE_CONFLICT where a profile is under way, TRACE_NOT_WRITTEN, ENGINE_FAILED.
   */
  async startProfile(options: ProfileOptions = {}): Promise<ProfileStatus> {
    return this.#profiles.start(toRequestedProfile(options, this.#profiles.environment));
  }

  /**
   * Ends the profile that is under way; one that waits for its first step is called off. Resolves when its files are
   * complete; requests go on meanwhile. Errors: PROFILE_CONFLICT where none is under way, TRACE_NOT_WRITTEN, ENGINE_FAILED.
   */
  stopProfile(): Promise<ProfileStatus> {
    return this.#profiles.stop();
  }

  /** The profile of that id, or the one that is under way, or the one that ended last; null where there is none. */
  profileStatus(profileId?: string): Promise<ProfileStatus | null> {
    return this.#profiles.status(profileId);
  }

  /** Aborts what runs, frees the model and ends its threads. Idempotent. */
  async close(): Promise<void> {
    this.#manager.abortById(null, userAbort('The engine has been closed.'));
    this.#profiles.close();
    this.#client.close(); // after its last message the scheduler stops
    await this.#scheduler.closed;
  }

  #run(request: EngineRequest | ChatRequest, defaultMaxNewTokens: number, prompt: () => Prompt): Generation {
    const updates = new AsyncQueue<RequestState>();
    let running = 0;
    let finish!: () => void;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const onUpdate = (state: RequestState) => {
      updates.push(state);
      if (state.finish === null) return;
      running -= 1;
      if (running > 0) return;
      updates.end();
      finish();
    };
    let started: readonly RequestState[] = [];
    const cancel = () => {
      for (const state of started) this.#manager.abort(state, userAbort('Aborted by the caller.'));
    };
    const start = async (): Promise<readonly RequestState[]> => {
      request.signal?.throwIfAborted();
      const generate = toGenerateRequest(prompt(), request, defaultMaxNewTokens, this.info.vocabSize);
      const prepared = await this.#manager.prepare(generate);
      request.signal?.throwIfAborted();
      running = prepared.length;
      started = this.#manager.start(prepared, onUpdate);
      request.signal?.addEventListener('abort', cancel, { once: true });
      void finished.then(() => request.signal?.removeEventListener('abort', cancel));
      return started;
    };
    return new Generation(start(), updates, finished, cancel);
  }
}

function promptOf({ prompt, inputIds }: EngineRequest): Prompt {
  if (Array.isArray(inputIds) && prompt === undefined) return { inputIds };
  if (typeof prompt === 'string' && inputIds === undefined) return { text: prompt, addSpecialTokens: true };
  const message = 'A request needs either a prompt (a string) or inputIds (an array of token ids).';
  throw new VitrineError('INVALID_REQUEST', message, { param: 'prompt' });
}
