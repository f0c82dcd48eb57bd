// Times one point of the sweep: the prefill of a whole batch, then its decode steps one by one.
import type { ModelRunner } from '../../engine/model-runner.js';
import { monotonicSeconds } from '../../util/clock.js';
import { describeRoofline } from '../roofline/roofline.js';
import { Sample, sum } from '../statistics/statistics.js';
import type { Output } from '../terminal/output.js';
import type { PointRoofline, RooflineRow } from './point-roofline.js';
import { StaticBatch } from './static-batch.js';

/** Decode steps that are always printed. */
const FIRST_STEPS = 5;

export interface Point {
  readonly batchSize: number;
  readonly inputLen: number;
  readonly outputLen: number;
}

/** A row of the result file. Latencies in seconds, throughputs in tokens per second. */
export interface LatencyRow {
  readonly run_name: string;
  readonly batch_size: number;
  readonly input_len: number;
  readonly output_len: number;
  readonly prefill_latency: number;
  readonly prefill_throughput: number;
  /** Absent when there is no decode step (output_len 1). */
  readonly median_decode_latency?: number;
  readonly median_decode_throughput?: number;
  readonly total_latency: number;
  readonly overall_throughput: number;
  /** With --roofline. */
  readonly roofline?: RooflineRow;
}

export interface LatencySettings {
  readonly runName: string;
  /** Print every n-th decode step; 0: only the first five. */
  readonly logDecodeStep: number;
  readonly interrupt: AbortSignal;
  /** With --roofline. */
  readonly roofline?: PointRoofline;
}

const fixed = (value: number, width: number, decimals: number): string => value.toFixed(decimals).padStart(width);
const rate = (value: number): string => `${fixed(value, 9, 2)} token/s`;

/**
 * Rejects with ABORTED after an interruption. `prompts`: one for each sequence. Throughputs count `point.inputLen`, also
 * where prompts of a file are longer.
 */
export async function timePoint(
  runner: ModelRunner,
  point: Point,
  prompts: readonly ArrayLike<number>[],
  settings: LatencySettings,
  output: Output,
): Promise<LatencyRow> {
  const { batchSize, inputLen, outputLen } = point;
  const batch = new StaticBatch(
    runner,
    prompts.map((prompt) => prompt.length + outputLen),
    { interrupt: settings.interrupt },
  );
  // forward() resolves when the step has ended, so each span holds one whole step and nothing else.
  let mark = monotonicSeconds();
  await batch.extend(prompts);
  const prefillLatency = monotonicSeconds() - mark;
  const prefillThroughput = (inputLen * batchSize) / prefillLatency;
  output.print(`Prefill. latency: ${fixed(prefillLatency, 6, 5)} s, throughput: ${rate(prefillThroughput)}`);

  const decodeLatencies: number[] = [];
  for (let step = 0; step < outputLen - 1; step++) {
    mark = monotonicSeconds();
    await batch.decode();
    const latency = monotonicSeconds() - mark;
    decodeLatencies.push(latency);
    if (step < FIRST_STEPS || (settings.logDecodeStep > 0 && step % settings.logDecodeStep === 0)) {
      const size = `Batch size: ${batchSize}`;
      const throughput = rate(batchSize / latency);
      output.print(`Decode ${step}. ${size}, latency: ${fixed(latency, 6, 5)} s, throughput: ${throughput}`);
    }
  }
  const median = new Sample(decodeLatencies).median;
  if (decodeLatencies.length > 0) {
    const throughput = rate(batchSize / median);
    output.print(`Decode.  median latency: ${fixed(median, 6, 5)} s, median throughput: ${throughput}`);
  }
  const total = prefillLatency + sum(decodeLatencies);
  const overall = ((inputLen + outputLen) * batchSize) / total;
  output.print(`Total. latency: ${fixed(total, 6, 3)} s, throughput: ${rate(overall)}`);
  const latencies = { prefillLatency, median };
  const roofline = settings.roofline && rooflineRow(settings.roofline, prompts, decodeLatencies.length, latencies);
  if (roofline !== undefined) printRoofline(roofline, output);
  return {
    run_name: settings.runName,
    batch_size: batchSize,
    input_len: inputLen,
    output_len: outputLen,
    prefill_latency: prefillLatency,
    prefill_throughput: prefillThroughput,
    ...(decodeLatencies.length > 0
      ? { median_decode_latency: median, median_decode_throughput: batchSize / median }
      : {}),
    total_latency: total,
    overall_throughput: overall,
    ...(roofline === undefined ? {} : { roofline }),
  };
}

function rooflineRow(
  roofline: PointRoofline,
  prompts: readonly ArrayLike<number>[],
  steps: number,
  { prefillLatency, median }: { readonly prefillLatency: number; readonly median: number },
): RooflineRow {
  const promptLens = prompts.map((prompt) => prompt.length);
  return {
    prefill: roofline.prefill(promptLens, prefillLatency),
    ...(steps > 0 ? { decode: roofline.decode(promptLens, steps, median) } : {}),
  };
}

function printRoofline({ prefill, decode }: RooflineRow, output: Output): void {
  output.print(`Roofline. prefill: ${describeRoofline(prefill)}`);
  if (decode !== undefined) output.print(`Roofline. decode: ${describeRoofline(decode)}`);
}
