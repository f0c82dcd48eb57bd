// The bench-serving program: find the server, build the workload, warm up, send, measure, report.
import { setTimeout as sleep } from 'node:timers/promises';
import { BENCH_SERVING_OPTIONS, type BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { appendJsonl, prepareJsonl } from '../append-jsonl.js';
import type { BenchRequest, Workload } from '../datasets/bench-request.js';
import { loadWorkload } from '../datasets/load-workload.js';
import { HttpClient } from '../http/http-client.js';
import type { Output } from '../output.js';
import { sum } from '../statistics.js';
import { checkPrompts } from './backends/check-backend.js';
import { openFilesWarning } from './backends/open-files.js';
import { payloadSettings } from './backends/payload-settings.js';
import { selectBackend } from './backends/select-backend.js';
import { checkOptions, idleProfileFlags } from './check-options.js';
import type { RunRecords } from './load/request-record.js';
import { RequestSender } from './load/send-request.js';
import { measureRun } from './measure-run.js';
import { computeMetrics } from './metrics/metrics.js';
import { countGapTokens, retokenize } from './metrics/retokenize.js';
import { renderCacheReport } from './results/cache-report.js';
import { renderAdditions, renderFailures, renderReport } from './results/console-report.js';
import { formatArguments } from './results/python-repr.js';
import { automaticFileName, resultRow } from './results/result-row.js';
import { ServingProfiler } from './serving-profiler.js';
import { httpTarget, TargetServer } from './target.js';

const WARMUP_OUTPUT_LEN = 32;
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
    const workload = await loadWorkload(options, tokenizer, directory);
    throwIfInterrupted(deps, 'before anything was sent');
    announce(workload, options, output);
    checkPrompts(workload, options);
    const tooFewFiles = await openFilesWarning(options, workload.requests.length);
    if (tooFewFiles !== undefined) output.warn(tooFewFiles);
    const settings = {
      payload: payloadSettings(options, options.servedModelName ?? model),
      timeoutSeconds: options.requestTimeoutSec,
    };
    const sender = new RequestSender(client, selectBackend(options.backend), settings, deps.interrupt);
    await warmUp(sender, workload.requests[0]!, options, deps);
    if (options.flushCache) await server.flushCache(output, deps.interrupt);
    if (options.warmupRequests > 0) await sleep(SETTLE_MS, undefined, { signal: deps.interrupt }).catch(() => {});
    await profiler?.start();
    let run: RunRecords;
    try {
      throwIfInterrupted(deps, 'before anything was measured');
      run = await measureRun(sender, workload, options, deps);
    } finally {
      await profiler?.stop();
    }
    const serverInfo = await server.serverInfo(deps.interrupt);
    return await finish(options, deps, { run, workload, tokenizer, serverInfo, file });
  } finally {
    client.close();
    profiler?.close();
  }
}

function throwIfInterrupted({ interrupt }: ServingDeps, when: string): void {
  if (interrupt.aborted) throw new VitrineError('ABORTED', `Interrupted ${when}: there is nothing to report`);
}

/** Headers may carry keys: their names are enough. */
function withoutSecrets(options: BenchServingOptions): BenchServingOptions {
  return { ...options, header: options.header?.map((text) => text.replace(/=.*/s, '=…')) };
}

function announce({ requests, skipped }: Workload, options: BenchServingOptions, output: Output): void {
  for (const [reason, count] of Object.entries(skipped)) output.warn(`Left out ${count} dataset rows: ${reason}`);
  if (requests.length < options.numPrompts) {
    output.warn(`The dataset gives ${requests.length} of the ${options.numPrompts} requests asked for`);
  }
  output.print(`#Input tokens: ${sum(requests.map((request) => request.promptLen))}`);
  output.print(`#Output tokens: ${sum(requests.map((request) => request.outputLen))}`);
}

async function warmUp(
  sender: RequestSender,
  first: BenchRequest,
  { warmupRequests: count }: BenchServingOptions,
  deps: ServingDeps,
): Promise<void> {
  if (count === 0) return;
  const { output } = deps;
  output.print(`Starting warmup with ${count} sequences...`);
  const request = { ...first, outputLen: Math.min(first.outputLen, WARMUP_OUTPUT_LEN) };
  const records = await Promise.all(Array.from({ length: count }, () => sender.send(request, 0, 0)));
  throwIfInterrupted(deps, 'in the warm-up');
  const failure = records.find((record) => record.error !== '');
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
  readonly workload: Workload;
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
  for (const line of [...renderReport(options, metrics), ...renderAdditions(metrics)]) output.print(line);
  if (options.cacheReport) for (const line of renderCacheReport(records)) output.print(line);
  for (const line of renderFailures(records)) output.warn(line);
  if (deps.interrupt.aborted) {
    output.warn(`Interrupted: the figures are those of ${metrics.completed} of ${workload.requests.length} requests`);
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
