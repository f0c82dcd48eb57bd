// The bench-serving program: find the server, build the workload, warm up, send, measure, report.
import { setTimeout as sleep } from 'node:timers/promises';
import { BENCH_SERVING_OPTIONS, type BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { DATASET_OPTIONS } from '../../config/tables/dataset-options.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { appendJsonl, prepareJsonl } from '../append-jsonl.js';
import { type BenchRequest, countTurns } from '../datasets/bench-request.js';
import { loadWorkload, requestedCount } from '../datasets/load-workload.js';
import { assignLora } from '../datasets/lora-names.js';
import { saveWorkload } from '../datasets/workload-file.js';
import { HttpClient } from '../http/http-client.js';
import type { Output } from '../output.js';
import { sum } from '../statistics.js';
import { selectBackend } from './backends/select-backend.js';
import { checkWorkload } from './check-dataset.js';
import { checkOptions, idleProfileFlags } from './check-options.js';
import { type ScheduledWorkload, scheduleWorkload } from './load/arrivals.js';
import type { RunRecords } from './load/request-record.js';
import { RequestSender } from './load/send-request.js';
import { measureRun } from './measure-run.js';
import { computeMetrics } from './metrics/metrics.js';
import { countGapTokens, retokenize } from './metrics/retokenize.js';
import { formatRate, renderAdditions, renderFailures, renderReport } from './results/console-report.js';
import { formatArguments } from './results/python-repr.js';
import { automaticFileName, resultRow } from './results/result-row.js';
import { ServingProfiler } from './serving-profiler.js';
import { httpTarget, TargetServer } from './target.js';

const WARMUP_OUTPUT_LEN = 32;
/** From here on a client that cannot keep up is worth a word. */
const LATE_SECONDS = 0.02;
/** SGLang's pause between warm-up and run. */
const SETTLE_MS = 1000;

export interface ServingDeps {
  readonly output: Output;
  /** The user wants to stop: what has been measured is reported and saved. */
  readonly interrupt: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface ServingResult {
  readonly row: Readonly<Record<string, unknown>>;
  readonly failed: number;
}

/**
 * Runs the benchmark, prints the report and appends the row to the result file.
 * Errors: INVALID_OPTION, NOT_READY, UNAUTHORIZED, BENCH_FAILED (no request could be made at all). Failed requests are no
 * error here: they are counted in the result.
 */
export async function benchServing(options: BenchServingOptions, deps: ServingDeps): Promise<ServingResult> {
  checkOptions(options);
  const { output } = deps;
  const file = options.outputFile ?? automaticFileName(options, new Date());
  await prepareJsonl(file, '--output-file');
  output.print(`benchmark_args=${formatArguments(BENCH_SERVING_OPTIONS, withoutSecrets(options))}`);
  for (const flag of idleProfileFlags(options)) output.warn(`${flag} has no effect`);
  const target = httpTarget(options, deps.environment);
  const client = new HttpClient(target);
  const profiler = ServingProfiler.create(options, target, deps);
  try {
    const server = new TargetServer(client, options, target.baseUrl);
    const model = server.modelName(await server.waitUntilReady(output, deps.interrupt));
    const directory = await server.tokenizerDirectory(model);
    const tokenizer = await Tokenizer.load(directory);
    const workload = await prepareWorkload(options, tokenizer, directory);
    announce(workload, options, output);
    const settings = {
      model: options.servedModelName ?? model,
      stream: !options.disableStream,
      ignoreEos: !options.disableIgnoreEos,
      returnLogprob: options.returnLogprob,
      extraBody: options.extraRequestBody,
    };
    const sender = new RequestSender(client, selectBackend(options.backend), settings, deps.interrupt);
    await warmUp(sender, workload.requests[0]!, options, deps);
    if (options.flushCache) await server.flushCache(output);
    if (options.warmupRequests > 0) await sleep(SETTLE_MS, undefined, { signal: deps.interrupt }).catch(() => {});
    await profiler?.start();
    let run: RunRecords;
    try {
      if (deps.interrupt.aborted) throw new VitrineError('ABORTED', 'Interrupted before anything was measured');
      const countTokens = async (text: string) => (await tokenizer.encode(text, false)).length;
      run = await measureRun(sender, workload, options, { ...deps, countTokens });
    } finally {
      await profiler?.stop();
    }
    const serverInfo = await server.serverInfo();
    return await finish(options, deps, { run, workload, tokenizer, serverInfo, file });
  } finally {
    client.close();
    profiler?.close();
  }
}

/** What the requests of a saved workload and their times depend on: flag → value. */
function workloadFlags(options: BenchServingOptions): Record<string, unknown> {
  return {
    ...Object.fromEntries(DATASET_OPTIONS.map(({ flag, key }) => [flag, options[key]])),
    'request-rate': formatRate(options.requestRate),
    'use-trace-timestamps': options.useTraceTimestamps,
    'lora-name': options.loraName,
    'lora-request-distribution': options.loraRequestDistribution,
    'lora-zipf-alpha': options.loraZipfAlpha,
  };
}

/** Headers may carry keys: their names are enough. */
function withoutSecrets(options: BenchServingOptions): BenchServingOptions {
  return { ...options, header: options.header?.map((text) => text.replace(/=.*/s, '=…')) };
}

/** The requests of the run and their times; written to a file where the user wants to keep them. */
async function prepareWorkload(
  options: BenchServingOptions,
  tokenizer: Tokenizer,
  directory: string,
): Promise<ScheduledWorkload> {
  const loaded = await loadWorkload(options, tokenizer, directory);
  const { loraName: names = [], loraRequestDistribution: distribution, loraZipfAlpha: zipfAlpha, seed } = options;
  const requests = assignLora(loaded.requests, { names, distribution, zipfAlpha, seed });
  const workload = scheduleWorkload({ ...loaded, requests }, options);
  checkWorkload(workload, options);
  if (options.saveWorkload !== undefined) {
    await saveWorkload(options.saveWorkload, workload, workload.arrivals, workloadFlags(options));
  }
  return workload;
}

function announce(workload: ScheduledWorkload, options: BenchServingOptions, output: Output): void {
  const { requests, skipped, notes = [] } = workload;
  const turns = requests.flatMap((request) => request.followUps ?? []);
  for (const [reason, count] of Object.entries(skipped)) output.warn(`Left out ${count} dataset rows: ${reason}`);
  const wanted = requestedCount(options) ?? requests.length;
  if (requests.length < wanted) {
    output.warn(`The dataset gives ${requests.length} of the ${wanted} requests asked for`);
  }
  for (const note of notes) output.print(note);
  const inputs = [...requests.map((request) => request.promptLen), ...turns.map((turn) => turn.tokens)];
  output.print(`#Input tokens: ${sum(inputs)}`);
  output.print(`#Output tokens: ${sum([...requests, ...turns].map((turn) => turn.outputLen))}`);
}

async function warmUp(
  sender: RequestSender,
  first: BenchRequest,
  { warmupRequests: count }: BenchServingOptions,
  { output }: ServingDeps,
): Promise<void> {
  if (count === 0) return;
  output.print(`Starting warmup with ${count} sequences...`);
  const request = { ...first, outputLen: Math.min(first.outputLen, WARMUP_OUTPUT_LEN) };
  const records = await Promise.all(Array.from({ length: count }, () => sender.send(request, 0, 0)));
  const failure = records.find((record) => record.error !== '' && !record.interrupted);
  if (failure !== undefined) {
    throw new VitrineError(
      'BENCH_FAILED',
      `Warmup failed - Please make sure benchmark arguments are correctly specified. Error: ${failure.error}`,
    );
  }
  output.print(`Warmup completed with ${count} sequences. Starting main benchmark run...`);
}

interface Finished {
  readonly run: RunRecords;
  readonly workload: ScheduledWorkload;
  readonly tokenizer: Tokenizer;
  readonly serverInfo: unknown;
  /** Result file. */
  readonly file: string;
}

async function finish(options: BenchServingOptions, deps: ServingDeps, finished: Finished): Promise<ServingResult> {
  const { run, tokenizer, serverInfo, workload, file } = finished;
  const { records } = run;
  const { output } = deps;
  const acceptLength = options.backend.startsWith('sglang') ? readAcceptLength(serverInfo) : undefined;
  const sharesGaps = acceptLength !== undefined && acceptLength > 0 && !selectBackend(options.backend).countsTokens;
  const retokenized = await retokenize(tokenizer, records);
  const metrics = computeMetrics({
    records,
    duration: run.duration,
    retokenized,
    acceptLength,
    gapTokens: sharesGaps ? await countGapTokens(tokenizer, records) : undefined,
  });
  for (const line of [...renderReport(options, metrics, workload.rate), ...renderAdditions(metrics)])
    output.print(line);
  for (const line of renderFailures(records)) output.warn(line);
  const late = metrics.queue.percentile(99);
  // With a limit the wait is the limit's, and requests that all come at once wait for each other.
  if (!options.maxConcurrency && workload.arrivals.at(-1)! > 0 && late > LATE_SECONDS) {
    output.warn(`The client sent requests late (p99 ${(late * 1000).toFixed(1)} ms): it lacks processor time`);
  }
  if (deps.interrupt.aborted) {
    output.warn(
      `Interrupted: the figures are those of ${metrics.completed} of ${countTurns(workload.requests)} requests`,
    );
  }
  const row = resultRow({ options, metrics, workload, records, retokenized, serverInfo });
  await appendJsonl(file, [row], '--output-file');
  return { row, failed: metrics.failed };
}

function readAcceptLength(serverInfo: unknown): number | undefined {
  interface Info {
    readonly internal_states?: readonly { readonly avg_spec_accept_length?: unknown }[];
    readonly decode?: readonly Info[];
  }
  const info = serverInfo as Info | null;
  const length = (info?.decode?.[0] ?? info)?.internal_states?.[0]?.avg_spec_accept_length;
  return typeof length === 'number' ? length : undefined;
}
