// A scheduler on an engine (the fake one by default) with a test as its front end: requests in, whole results out. It
// fails when a request gets two final chunks, a chunk after the final one, or a chunk it never asked for.
import assert from 'node:assert/strict';
import type { SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';
import { ModelRunner } from '#vitrine/engine/model-runner.js';
import type { FrontendChannel, FrontendMessage, SchedulerMessage } from '#vitrine/messages/channel.js';
import type { ControlReply, SchedulerState } from '#vitrine/messages/control.js';
import { createLocalChannel } from '#vitrine/messages/local-channel.js';
import type { FinishReason, OutputsMessage, TokenChunk, TokenLogprobs } from '#vitrine/messages/outputs.js';
import type { ProfileRequest, RankProfile } from '#vitrine/messages/profile.js';
import type { GenerateMessage, LogprobOptions, SamplingParams } from '#vitrine/messages/requests.js';
import type { PreparedModel } from '#vitrine/model/prepare-model.js';
import type { NativeAddon } from '#vitrine/native/addon.js';
import { Scheduler } from '#vitrine/scheduler/scheduler.js';
import { type ErrorCode, VitrineError } from '#vitrine/util/errors.js';
import { type Log, silentLog } from '#vitrine/util/log.js';
import { createFakeAddon, type FakeEngineOptions } from './fake-engine.js';
import { fakePreparedModel } from './fake-prepared-model.js';
import { schedulerOptions } from './scheduler-options.js';

export interface Result {
  readonly rid: string;
  readonly tokenIds: number[];
  readonly finish: FinishReason;
  readonly chunks: readonly TokenChunk[];
  readonly input: TokenLogprobs | undefined;
  readonly output: readonly TokenLogprobs[];
}

export interface HarnessOptions {
  readonly scheduler?: Partial<SchedulerOptions>;
  readonly engine?: FakeEngineOptions;
  readonly contextLength?: number;
  /** A real addon and model instead of the fake ones. */
  readonly addon?: NativeAddon;
  readonly model?: PreparedModel;
  readonly log?: Log;
}

export const GREEDY_SAMPLING: SamplingParams = {
  maxNewTokens: 16,
  minNewTokens: 0,
  temperature: 0,
  topK: -1,
  topP: 1,
  minP: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  repetitionPenalty: 1,
  logitBias: [],
  stopTokenIds: [],
  ignoreEos: false,
  seed: 0,
};

let lastRid = 0;

export function generateMessage(
  inputIds: readonly number[],
  sampling: Partial<SamplingParams> = {},
  logprobs: LogprobOptions | null = null,
): GenerateMessage {
  lastRid += 1;
  return { kind: 'generate', rid: `r${lastRid}`, inputIds, sampling: { ...GREEDY_SAMPLING, ...sampling }, logprobs };
}

/** A reply to something that was asked. */
type Answer = Extract<ControlReply, { id: number }>;

interface Open {
  readonly chunks: TokenChunk[];
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

export class SchedulerHarness {
  readonly scheduler: Scheduler;
  readonly runner: ModelRunner;
  readonly channel: FrontendChannel;
  /** Every message of the scheduler. */
  readonly messages: FrontendMessage[] = [];
  /** Called for each chunk as it comes. */
  onChunk: (chunk: TokenChunk) => void = () => {};
  readonly fatals: Extract<ControlReply, { kind: 'fatal' }>[] = [];
  channelClosed = false;
  readonly #open = new Map<string, Open>();
  readonly #replies = new Map<number, (reply: Answer) => void>();
  #lastId = 0;

  constructor(options: HarnessOptions = {}) {
    const model = options.model ?? fakePreparedModel(options.contextLength);
    const all = schedulerOptions({ maxTotalTokens: 4096, ...options.scheduler });
    const { frontend, scheduler } = createLocalChannel();
    const log = options.log ?? silentLog;
    const addon = options.addon ?? createFakeAddon(options.engine);
    this.runner = ModelRunner.create({ addon, model, options: all, log });
    this.channel = frontend;
    this.scheduler = new Scheduler({
      runner: this.runner,
      spec: model.spec,
      eosTokenIds: model.eosTokenIds,
      channel: scheduler,
      log,
      addon,
    });
    frontend.onMessage((message) => this.#onMessage(message));
    frontend.onClose(() => {
      this.channelClosed = true;
    });
  }

  get openRequests(): number {
    return this.#open.size;
  }

  generate(message: GenerateMessage): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#open.set(message.rid, { chunks: [], resolve, reject });
      this.channel.send(message);
    });
  }

  abort(rid: string, reason = 'the client went away'): void {
    this.channel.send({ kind: 'abort', rid, reason });
  }

  async state(): Promise<SchedulerState> {
    const reply = await this.#ask('state');
    assert.equal(reply.kind, 'state-result');
    return (reply as Extract<ControlReply, { kind: 'state-result' }>).state;
  }

  async flushCache(): Promise<boolean> {
    const reply = await this.#ask('flush-cache');
    assert.equal(reply.kind, 'flush-cache-result');
    return (reply as Extract<ControlReply, { kind: 'flush-cache-result' }>).flushed;
  }

  /** Profile states in the order in which they were reported. */
  readonly profileUpdates: RankProfile[] = [];

  /** Rejects with the code of the refusal. */
  startProfile(request: ProfileRequest): Promise<RankProfile> {
    return this.#askProfile((id) => ({ kind: 'start-profile', id, request }));
  }

  stopProfile(): Promise<RankProfile> {
    return this.#askProfile((id) => ({ kind: 'stop-profile', id }));
  }

  /** Resolves when the current profile is done or has failed. */
  async profileEnd(): Promise<RankProfile> {
    for (;;) {
      const last = this.profileUpdates.at(-1);
      if (last?.state === 'done' || last?.state === 'failed') return last;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #askProfile(message: (id: number) => SchedulerMessage): Promise<RankProfile> {
    this.#lastId += 1;
    const id = this.#lastId;
    const reply = await new Promise<Answer>((resolve) => {
      this.#replies.set(id, resolve);
      this.channel.send(message(id));
    });
    assert.equal(reply.kind, 'profile-result');
    const { profile, error } = reply as Extract<ControlReply, { kind: 'profile-result' }>;
    if (profile === null) throw new VitrineError(error!.code as ErrorCode, error!.message);
    return profile;
  }

  #onProfileUpdate(profile: RankProfile): void {
    this.profileUpdates.push(profile);
    // As a front end with nothing to add.
    if (profile.state !== 'flushing') return;
    this.channel.send({ kind: 'front-end-end', profileId: profile.profileId, pid: process.pid, stacks: null });
  }

  /** Shuts down, when all blocks must be accounted for. */
  async close(): Promise<void> {
    this.scheduler.checkIntegrity();
    assert.equal(this.#open.size, 0, 'requests without a final chunk');
    this.channel.send({ kind: 'shutdown' });
    assert.equal(await this.scheduler.closed, 0);
    this.scheduler.checkIntegrity();
  }

  #ask(kind: 'state' | 'flush-cache'): Promise<Answer> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve) => {
      this.#replies.set(id, resolve);
      this.channel.send({ kind, id });
    });
  }

  #onMessage(message: FrontendMessage): void {
    this.messages.push(message);
    if (message.kind === 'outputs') this.#onOutputs(message);
    else if (message.kind === 'fatal') this.fatals.push(message);
    else if (message.kind === 'profile-update') this.#onProfileUpdate(message.profile);
    else if ('id' in message) this.#replies.get(message.id)!(message);
  }

  #onOutputs({ chunks }: OutputsMessage): void {
    const rids = new Set<string>();
    for (const chunk of chunks) {
      const open = this.#open.get(chunk.rid);
      assert.ok(open !== undefined, `a chunk for ${chunk.rid}, which is not running`);
      if (rids.has(chunk.rid)) open.reject(new Error(`two chunks of ${chunk.rid} in one message`));
      rids.add(chunk.rid);
      open.chunks.push(chunk);
      this.onChunk(chunk);
      if (chunk.finish === null) continue;
      this.#open.delete(chunk.rid);
      open.resolve(resultOf(open.chunks));
    }
  }
}

function resultOf(chunks: readonly TokenChunk[]): Result {
  const last = chunks.at(-1)!;
  return {
    rid: last.rid,
    tokenIds: chunks.flatMap((chunk) => chunk.tokenIds),
    finish: last.finish!,
    chunks,
    input: chunks[0]!.inputLogprobs,
    output: chunks.flatMap((chunk) => chunk.outputLogprobs ?? []),
  };
}
