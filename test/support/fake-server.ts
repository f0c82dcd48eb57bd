// A whole front end and HTTP server over a fake scheduler, with the real tokenizer and chat template of stories260K.
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { resolveOptions } from '#vitrine/config/resolve-options.js';
import { SERVER_OPTIONS, type ServerOptions } from '#vitrine/config/tables/server-options.js';
import { FrontEndTracer } from '#vitrine/frontend/profiler/front-end-tracer.js';
import { profileEnvironment } from '#vitrine/frontend/profiler/profile-environment.js';
import { ProfileManager } from '#vitrine/frontend/profiler/profile-manager.js';
import { SchedulerClient } from '#vitrine/frontend/scheduler-client.js';
import { TokenizerManager } from '#vitrine/frontend/tokenizer-manager.js';
import type { RankInfo } from '#vitrine/messages/control.js';
import { createLocalChannel } from '#vitrine/messages/local-channel.js';
import type { HealthOptions } from '#vitrine/server/health.js';
import { Metrics } from '#vitrine/server/metrics.js';
import type { ServedModel } from '#vitrine/server/served-model.js';
import { Server } from '#vitrine/server/server.js';
import { ChatTemplate } from '#vitrine/tokenizer/chat-template.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { type Log, silentLog } from '#vitrine/util/log.js';
import { FAKE_INFO, FakeScheduler, type FakeSchedulerOptions } from './fake-scheduler.js';

export const STORIES = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));

export interface FakeServerOptions extends FakeSchedulerOptions {
  readonly options?: Partial<ServerOptions>;
  readonly info?: Partial<RankInfo>;
  readonly health?: HealthOptions;
  /** Default: `stories`. */
  readonly modelName?: string;
  readonly samplingDefaults?: ServedModel['samplingDefaults'];
  /** Leave it in its first phase. */
  readonly notReady?: boolean;
  readonly withoutChatTemplate?: boolean;
  /** Of profiles. Default: none. */
  readonly env?: NodeJS.ProcessEnv;
  readonly log?: Log;
}

export interface FakeServer {
  readonly server: Server;
  readonly scheduler: FakeScheduler;
  readonly client: SchedulerClient;
  readonly manager: TokenizerManager;
  readonly profiles: ProfileManager;
  readonly tokenizer: Tokenizer;
  readonly url: string;
}

/** Listens on a free port; closes with the test. */
export async function startFakeServer(test: TestContext, given: FakeServerOptions = {}): Promise<FakeServer> {
  const options = resolveOptions(
    SERVER_OPTIONS,
    { modelPath: STORIES, port: 0, servedModelName: 'stories', ...given.options },
    {},
  );
  const channel = createLocalChannel();
  const scheduler = new FakeScheduler(channel.scheduler, given);
  const log = given.log ?? silentLog;
  const tracer = new FrontEndTracer({ processName: 'front end', log });
  const client = new SchedulerClient(channel.frontend, tracer);
  scheduler.ready({ ...FAKE_INFO, ...given.info });
  const tokenizer = await Tokenizer.load(STORIES);
  const metrics = options.enableMetrics ? new Metrics('stories') : null;
  const manager = new TokenizerManager({
    scheduler: client,
    info: await client.ready,
    tokenizer: options.skipTokenizerInit ? null : tokenizer,
    chatTemplate: given.withoutChatTemplate ? null : (await ChatTemplate.load(STORIES))!,
    streamInterval: options.streamInterval,
    randomSeed: 1,
    tracer,
    ...(metrics === null ? {} : { observer: metrics }),
  });
  const profiles = new ProfileManager({
    schedulers: [client],
    environment: profileEnvironment(given.env ?? {}, log),
    tracer,
    log,
  });
  const health = given.health ?? { timeoutSeconds: 20, probe: true };
  const server = new Server({ options, health, metrics, tracer, log });
  const { url } = await server.listen();
  const model: ServedModel = {
    path: STORIES,
    name: given.modelName ?? 'stories',
    tokenizerPath: STORIES,
    architecture: 'LlamaForCausalLM',
    modelType: 'llama',
    contextLength: manager.info.contextLength,
    samplingDefaults: given.samplingDefaults ?? {},
  };
  if (!given.notReady) {
    server.load({ manager, scheduler: client, profiles, model });
    server.ready();
  }
  test.after(() => server.drain(0));
  return { server, scheduler, client, manager, profiles, tokenizer, url };
}
