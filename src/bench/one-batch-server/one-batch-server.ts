// The bench-one-batch-server program: each case of a sweep is one request with a whole batch, to an empty prefix cache.
import { appendFile, writeFile } from 'node:fs/promises';
import { PROFILER_DIR, profilerDirectory } from '../../config/profiler-directory.js';
import type { OneBatchServerOptions } from '../../config/tables/one-batch-server-options.js';
import { toError, VitrineError } from '../../util/errors.js';
import type { JsonObject } from '../../util/read-json.js';
import { waitUntilReady } from '../http/wait-until-ready.js';
import type { Point } from '../one-batch/latency-test.js';
import { ProfileClient } from '../profile/profile-client.js';
import { ProfileRun } from '../profile/profile-run.js';
import { appendJsonl, prepareJsonl } from '../results/append-jsonl.js';
import type { WaitNotice } from '../terminal/wait-notice.js';
import { CasePrompts } from './case-prompts.js';
import { type CaseResult, renderCase, resultRow } from './case-result.js';
import { CaseRunner } from './case-runner.js';
import { checkOptions, idleFlags } from './check-options.js';
import { hourlyCost, renderReport } from './report.js';
import { ServerClient } from './server-client.js';
import { ServerLimits } from './server-limits.js';
import { loadTokenizer, TestedServer, type TestedServerDeps } from './tested-server.js';

/** SGLang's warm-up. */
const WARMUP_INPUT_LEN = 1024;
const WARMUP_OUTPUT_LEN = 16;
const DEFAULT_PROFILE_STEPS = 5;

export interface OneBatchServerDeps extends TestedServerDeps {
  readonly notice: WaitNotice;
}

export interface OneBatchServerResult {
  readonly results: readonly CaseResult[];
  /** Cases whose request failed. */
  readonly failed: number;
}

/**
 * Runs the sweep; each result is printed and saved when it is there. Errors: INVALID_OPTION, NOT_READY, UNAUTHORIZED,
 * BENCH_FAILED (nothing could be measured), ABORTED, and what keeps a server from starting. Failed requests are no error:
 * they are told, counted and in no result.
 */
export async function benchOneBatchServer(
  options: OneBatchServerOptions,
  deps: OneBatchServerDeps,
): Promise<OneBatchServerResult> {
  checkOptions(options);
  for (const flag of idleFlags(options)) deps.output.warn(`${flag} has no effect`);
  const { resultFilename, pydanticResultFilename: listFile } = options;
  if (resultFilename !== '') await prepareJsonl(resultFilename, '--result-filename');
  if (listFile !== undefined) await prepareJsonl(listFile, '--pydantic-result-filename');
  const server = await TestedServer.find(options, deps);
  const client = new ServerClient(server.target, server.admin, options.backend);
  const profiler = new ProfileClient(server.admin);
  try {
    const sweep = await Sweep.create(options, deps, server, client, profiler);
    return await sweep.run();
  } catch (thrown) {
    throw await server.reasonOf(thrown);
  } finally {
    client.close();
    profiler.close();
    await server.close();
  }
}

class Sweep {
  readonly #options: OneBatchServerOptions;
  readonly #deps: OneBatchServerDeps;
  readonly #server: TestedServer;
  readonly #profiler: ProfileClient;
  readonly #info: JsonObject;
  readonly #limits: ServerLimits;
  readonly #runner: CaseRunner;
  readonly #results: CaseResult[] = [];
  /** Folders, by result. */
  readonly #profiles = new Map<CaseResult, string>();
  #failed = 0;

  private constructor(
    options: OneBatchServerOptions,
    deps: OneBatchServerDeps,
    parts: { server: TestedServer; profiler: ProfileClient; info: JsonObject; runner: CaseRunner },
  ) {
    this.#options = options;
    this.#deps = deps;
    this.#server = parts.server;
    this.#profiler = parts.profiler;
    this.#info = parts.info;
    this.#runner = parts.runner;
    this.#limits = options.backend === 'vllm' ? ServerLimits.none() : ServerLimits.read(parts.info, deps.output);
  }

  static async create(
    options: OneBatchServerOptions,
    deps: OneBatchServerDeps,
    server: TestedServer,
    client: ServerClient,
    profiler: ProfileClient,
  ): Promise<Sweep> {
    const { signal } = server;
    const models = await waitUntilReady(client.http, options.readyTimeoutSec, deps.output, signal);
    const isVllm = options.backend === 'vllm';
    const info = isVllm ? {} : await client.serverInfo(signal);
    const prompts = new CasePrompts(options, await loadTokenizer(options, info));
    const model = isVllm ? (options.servedModelName ?? firstModel(models.text)) : undefined;
    const runner = new CaseRunner({ options, client, prompts, model, signal, output: deps.output });
    return new Sweep(options, deps, { server, profiler, info, runner });
  }

  async run(): Promise<OneBatchServerResult> {
    const { output, interrupt } = this.#deps;
    const { backend, resultFilename } = this.#options;
    try {
      if (!this.#options.skipWarmup) await this.#warmUp();
      const points = sweepPoints(this.#options).filter((point) => this.#limits.admits(point, output));
      if (points.length === 0) throw new VitrineError('BENCH_FAILED', 'No case fits: nothing was measured');
      await this.#measure(points);
      if (this.#options.profile && backend === 'sglang') await this.#profile();
    } catch (thrown) {
      // What was measured before an interruption, or the death of the server, is reported.
      if (this.#results.length > 0) await this.#report();
      throw interrupt.aborted ? this.#interruption(thrown) : thrown;
    }
    await this.#report();
    if (this.#results.length === 0) throw new VitrineError('BENCH_FAILED', 'Every case failed: nothing was measured');
    if (resultFilename !== '') output.print(`\nResults are saved to ${resultFilename}`);
    return { results: this.#results, failed: this.#failed };
  }

  async #warmUp(): Promise<void> {
    const { output } = this.#deps;
    const sizes = [...new Set(this.#options.batchSize)];
    output.print('======== Warmup Begin ========');
    output.print(`Warmup with batch_size=[${sizes.join(', ')}]`);
    for (const batchSize of sizes) {
      const outputLen = WARMUP_OUTPUT_LEN;
      const inputLen = this.#limits.warmUpLength(batchSize, WARMUP_INPUT_LEN, outputLen);
      const point = { batchSize, inputLen, outputLen };
      if (inputLen === 0 || !this.#limits.admits(point, output)) continue;
      for (const line of renderCase(await this.#runner.run(point))) output.print(line);
    }
    output.print('======== Warmup End   ========\n');
  }

  async #measure(points: readonly Point[]): Promise<void> {
    const { output } = this.#deps;
    const { resultFilename } = this.#options;
    for (const point of points) {
      const result = await this.#attempt(point, () => this.#runner.run(point));
      if (result === undefined) continue;
      this.#results.push(result);
      for (const line of [...renderCase(result), '']) output.print(line);
      if (resultFilename !== '') await appendJsonl(resultFilename, [resultRow(result)], '--result-filename');
    }
  }

  /** What a server says against one request does not end the sweep. */
  async #attempt<T>({ batchSize, inputLen, outputLen }: Point, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (thrown) {
      const reason = await this.#server.reasonOf(thrown);
      const isAnswer = reason instanceof VitrineError && reason.code === 'BENCH_FAILED';
      if (!isAnswer || this.#server.signal.aborted) throw reason;
      this.#failed += 1;
      this.#deps.output.warn(`(${batchSize}, ${inputLen}, ${outputLen}): ${reason.message}`);
      return undefined;
    }
  }

  /** Each case once more, recorded: what that costs is in no result. */
  async #profile(): Promise<void> {
    for (const result of this.#results) {
      const { batch_size: batchSize, input_len: inputLen, output_len: outputLen } = result;
      const point = { batchSize, inputLen, outputLen };
      const folder = await this.#attempt(point, () => this.#profileCase(point));
      if (folder !== undefined) this.#profiles.set(result, folder);
    }
  }

  async #profileCase(point: Point): Promise<string> {
    const { output, environment, notice } = this.#deps;
    const { profilePrefix = '', profileByStage, profileSteps, profileOutputDir, waitTimeout } = this.#options;
    const settings = {
      outputDir: profileOutputDir ?? profilerDirectory(environment),
      outputDirSource: profileOutputDir === undefined ? PROFILER_DIR : '--profile-output-dir',
      numSteps: profileSteps ?? DEFAULT_PROFILE_STEPS,
      activities: ['CPU', 'GPU'],
      profileByStage,
      profilePrefix: `${profilePrefix}bs-${point.batchSize}-il-${point.inputLen}`,
      mergeProfiles: false,
    };
    let profile: ProfileRun | undefined;
    try {
      await this.#runner.run(point, async () => {
        profile = await ProfileRun.start(this.#profiler, settings, output);
      });
    } catch (thrown) {
      // Nobody else should find the profile armed; a server that is gone cannot be stopped.
      await profile?.stopUnlessDone().catch((error: Error) => output.warn(error.message));
      throw thrown;
    }
    await profile!.stopUnlessDone();
    await profile!.finish({ signal: this.#server.signal, notice, timeoutSeconds: waitTimeout }, output);
    return profile!.directory;
  }

  async #report(): Promise<void> {
    const { output, environment } = this.#deps;
    const { showReport, pydanticResultFilename: listFile, appendToGithubSummary, profile } = this.#options;
    const profiles = profile ? this.#profiles : undefined;
    if (listFile !== undefined) {
      const list = this.#results.map((result) => ({ ...result, profile_link: this.#profiles.get(result) ?? null }));
      await saveText(() => writeFile(listFile, `${JSON.stringify(list, null, 2)}\n`), '--pydantic-result-filename');
    }
    if (!showReport) return;
    const cost = hourlyCost(this.#options, this.#info);
    const lines = renderReport(this.#results, { options: this.#options, hourlyCost: cost, profiles });
    for (const line of lines) output.print(line);
    const { GITHUB_STEP_SUMMARY: summary } = environment;
    if (!appendToGithubSummary || summary === undefined || summary === '') return;
    await saveText(() => appendFile(summary, `${lines.join('\n')}\n`), 'GITHUB_STEP_SUMMARY');
  }

  #interruption(thrown: unknown): unknown {
    if (this.#results.length === 0) return thrown;
    const count = sweepPoints(this.#options).length;
    return new VitrineError('ABORTED', `Interrupted: ${this.#results.length} of ${count} cases were measured`);
  }
}

async function saveText(write: () => Promise<void>, param: string): Promise<void> {
  try {
    await write();
  } catch (thrown) {
    const message = `${param}: the results cannot be written: ${toError(thrown).message}`;
    throw new VitrineError('BENCH_FAILED', message, { param, cause: thrown });
  }
}

/** Output lengths change fastest, batch sizes slowest. */
function sweepPoints(options: OneBatchServerOptions): Point[] {
  const isShared = options.datasetName === 'generated-shared-prefix';
  const inputLens = isShared ? [options.gspSystemPromptLen + options.gspQuestionLen] : options.inputLen;
  const outputLens = isShared ? [options.gspOutputLen] : options.outputLen;
  return options.batchSize.flatMap((batchSize) =>
    inputLens.flatMap((inputLen) => outputLens.map((outputLen) => ({ batchSize, inputLen, outputLen }))),
  );
}

/** @throws VitrineError BENCH_FAILED */
function firstModel(models: string): string {
  try {
    const { data } = JSON.parse(models) as { data?: readonly { id?: unknown }[] };
    if (typeof data?.[0]?.id === 'string') return data[0].id;
  } catch {
    // Said below.
  }
  throw new VitrineError('BENCH_FAILED', 'GET /v1/models names no model: is this the address of the server?');
}
