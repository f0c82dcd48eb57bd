// The bench-offline-throughput program: gives an engine in this process all requests of a dataset at once, and says how
// long it took.
import { setTimeout as sleep } from 'node:timers/promises';
import type { OfflineThroughputOptions } from '../../config/tables/offline-throughput-options.js';
import { SCHEDULER_OPTIONS } from '../../config/tables/scheduler-options.js';
import { parseSamplingParams } from '../../frontend/sampling-params.js';
import { resolveModelDirectory } from '../../model/hub.js';
import type { DType, MachineLimits } from '../../native/addon.js';
import { fromWireSampling, type SamplingOptions } from '../../runtime/engine-request.js';
import type { Generation } from '../../runtime/generation.js';
import type { Engine, EngineLaunchOptions } from '../../runtime/local-engine.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { toError, VitrineError } from '../../util/errors.js';
import { createLog } from '../../util/log.js';
import { announceWorkload } from '../datasets/announce-workload.js';
import { loadWorkload } from '../datasets/load-workload.js';
import { Random } from '../random.js';
import { appendJsonl, prepareJsonl } from '../results/append-jsonl.js';
import { renderFailures } from '../results/failures.js';
import { type LimitsAddon, machineLimits, refuseRooflineOf } from '../roofline/machine-limits.js';
import { type PhaseWork, renderPhaseWork, workBetween } from '../roofline/phase-work.js';
import { sum } from '../statistics/statistics.js';
import type { Output } from '../terminal/output.js';
import { checkOptions } from './check-options.js';
import { EngineProfile } from './engine-profile.js';
import { type OfflineRequest, offlineRequests } from './offline-request.js';
import { OfflineProgress } from './progress.js';
import { failuresOf, type OfflineRun, renderReport, resultRow } from './result.js';
import { runAll } from './run-all.js';

/** SGLang's warm-up. */
const WARMUP_REQUESTS = 16;
const WARMUP_INPUT_LEN = 256;
const WARMUP_OUTPUT_LEN = 16;
const SETTLE_MS = 500;

/** What the program asks of an engine. */
export interface OfflineEngine
  extends Pick<Engine, 'info' | 'state' | 'flushCache' | 'startProfile' | 'stopProfile' | 'profileStatus' | 'close'> {
  generate(...request: Parameters<Engine['generate']>): Pick<Generation, 'all'>;
}

export interface OfflineThroughputDeps {
  readonly launch: (options: EngineLaunchOptions) => Promise<OfflineEngine>;
  readonly output: Output;
  /** Where the progress bar is drawn, if it is a terminal. */
  readonly terminal: NodeJS.WriteStream;
  /** The user wants to stop: what has been measured is reported and saved. */
  readonly interrupt: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** For --roofline, which measures this machine. */
  readonly addon: () => LimitsAddon;
}

export interface OfflineThroughputResult {
  readonly row: Readonly<Record<string, unknown>>;
  readonly failed: number;
}

/**
 * Runs the benchmark, prints the block and appends the row to the result file. Errors: INVALID_OPTION, ABORTED
 * (interrupted before anything was measured), and those of `Engine.launch`. Failed requests are no error here: they are
 * counted in the result.
 */
export async function benchOfflineThroughput(
  options: OfflineThroughputOptions,
  deps: OfflineThroughputDeps,
): Promise<OfflineThroughputResult> {
  const { output, interrupt } = deps;
  checkOptions(options, output);
  if (options.roofline) refuseRooflineOf(options.device);
  const { resultFilename: file } = options;
  if (file !== '') await prepareJsonl(file, '--result-filename');
  const { workload, tokenizer } = await prepareWorkload(options, deps);
  const requests = offlineRequests(workload, options.datasetName, output);
  const sampling = extraSampling(options, tokenizer.vocabSize);
  const limits = options.roofline ? await findLimits(options, deps) : undefined;
  const engine = await deps.launch(launchOptions(options));
  try {
    if (options.roofline) refuseRooflineOf(engine.info.device); // what auto has chosen
    if (!options.skipWarmup) await warmUp(engine, tokenizer, requests.length, options, deps);
    if (interrupt.aborted) throw nothingMeasured();
    const { run, profile } = await measure(engine, requests, options, sampling, deps);
    if (run.outcomes.every(({ interrupted }) => interrupted)) throw nothingMeasured();
    for (const line of renderReport(options, run)) output.print(line);
    const work = limits && phaseWork(engine, run, limits);
    if (work !== undefined) for (const line of renderPhaseWork(work)) output.print(line);
    const failures = failuresOf(run);
    for (const line of renderFailures(failures, run.outcomes.length)) output.warn(line);
    const row = { ...resultRow(options, run), ...(work === undefined ? {} : { roofline: work }) };
    if (file !== '') await appendJsonl(file, [row], '--result-filename');
    // Last: a profile that fails takes no result with it, and the time of writing files is in no figure.
    await profile?.finish(output);
    if (options.doNotExit && !interrupt.aborted) await stay(deps);
    return { row, failed: sum([...failures.values()]) };
  } finally {
    await engine.close();
  }
}

/** Before there is an engine: its threads would be in the way. */
function findLimits(options: OfflineThroughputOptions, deps: OfflineThroughputDeps): Promise<MachineLimits> {
  const { cpuThreads: threads, measureLimits: measureAgain } = options;
  return machineLimits({ ...deps, addon: deps.addon(), threads, measureAgain });
}

function phaseWork({ info }: OfflineEngine, { before, after }: OfflineRun, limits: MachineLimits): PhaseWork {
  const dtype = info.dtype as DType;
  return workBetween({ dtype, counters: before.stepWork }, { dtype, counters: after.stepWork }, limits);
}

const nothingMeasured = () => new VitrineError('ABORTED', 'Interrupted before anything was measured');

async function measure(
  engine: OfflineEngine,
  requests: readonly OfflineRequest[],
  options: OfflineThroughputOptions,
  extra: SamplingOptions,
  { interrupt, terminal }: OfflineThroughputDeps,
): Promise<{ readonly run: OfflineRun; readonly profile: EngineProfile | undefined }> {
  const before = await engine.state();
  const profile = options.profile ? await EngineProfile.start(engine, options) : undefined;
  const progress = new OfflineProgress({
    total: requests.length,
    stream: terminal,
    isDisabled: options.disableTqdm,
  });
  const { outcomes, seconds } = await runAll(engine, requests, {
    sampling: { temperature: 0, ignoreEos: !options.disableIgnoreEos, ...extra },
    logprobs: options.returnLogprob ? { startLen: options.logprobStartLen } : undefined,
    signal: interrupt,
    onEnd: (outcome) => progress.add(outcome),
  });
  progress.stop();
  const after = await engine.state();
  return { run: { outcomes, seconds, before, after }, profile };
}

async function prepareWorkload(options: OfflineThroughputOptions, { output, interrupt }: OfflineThroughputDeps) {
  const { tokenizerPath, modelPath, revision, logLevel } = options;
  const directory = await resolveModelDirectory(tokenizerPath ?? modelPath, {
    revision: tokenizerPath === undefined ? revision : 'main',
    what: 'tokenizer',
    log: createLog(logLevel, 'bench-offline-throughput'),
  });
  const tokenizer = await Tokenizer.load(directory);
  const workload = await loadWorkload(options, tokenizer, directory, interrupt);
  announceWorkload(workload, options, output);
  return { workload, tokenizer };
}

/** --extra-request-body, checked before a model is loaded. */
function extraSampling({ extraRequestBody: raw }: OfflineThroughputOptions, vocabSize: number): SamplingOptions {
  try {
    parseSamplingParams(raw, { vocabSize, label: (key) => key });
    return fromWireSampling(raw);
  } catch (thrown) {
    const message = `--extra-request-body: ${toError(thrown).message}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--extra-request-body', cause: thrown });
  }
}

function launchOptions(options: OfflineThroughputOptions): EngineLaunchOptions {
  const keys = [...SCHEDULER_OPTIONS.map(({ key }) => key), 'tokenizerPath', 'logLevel'] as const;
  return { ...Object.fromEntries(keys.map((key) => [key, options[key]])), modelPath: options.modelPath };
}

async function warmUp(
  engine: OfflineEngine,
  tokenizer: Tokenizer,
  count: number,
  { seed }: OfflineThroughputOptions,
  { output, interrupt }: OfflineThroughputDeps,
): Promise<void> {
  output.print('\nWarmup...');
  const random = new Random(seed, 'offline warm-up');
  const inputLen = Math.max(1, Math.min(WARMUP_INPUT_LEN, engine.info.contextLength - WARMUP_OUTPUT_LEN));
  const last = tokenizer.vocabSize - 1;
  const requests = Array.from({ length: Math.min(count, WARMUP_REQUESTS) }, () => ({
    prompt: Array.from({ length: inputLen }, () => random.integer(0, last)),
    promptLen: inputLen,
    outputLen: WARMUP_OUTPUT_LEN,
  }));
  const sampling = { temperature: 0, ignoreEos: true };
  const { outcomes } = await runAll(engine, requests, { sampling, signal: interrupt });
  const failure = outcomes.find(({ error }) => error !== '');
  if (failure !== undefined) throw new VitrineError('BENCH_FAILED', `The warm-up failed: ${failure.error}`);
  await engine.flushCache();
  await sleep(SETTLE_MS, undefined, { signal: interrupt }).catch(() => {});
}

/** --do-not-exit: until the user or the tool around this program ends it. */
async function stay({ output, interrupt }: OfflineThroughputDeps): Promise<void> {
  output.print('Staying until Ctrl-C or SIGTERM (--do-not-exit)');
  // The longest that a timer can wait; it keeps the event loop alive.
  while (!interrupt.aborted) await sleep(2 ** 31 - 1, undefined, { signal: interrupt }).catch(() => {});
}
