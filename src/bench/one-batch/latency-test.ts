// Times one static batch: a prefill step, then decode steps, each from submission to result.
import type { ModelRunner } from '../../engine/model-runner.js';
import { monotonicSeconds } from '../../util/clock.js';
import type { Output } from '../output.js';
import { Sample, sum } from '../statistics.js';
import { StaticBatch } from './static-batch.js';

export interface BatchPoint {
  readonly batchSize: number;
  readonly inputLen: number;
  readonly outputLen: number;
}

/** A row of the result file; SGLang's keys. Seconds, and tokens per second. */
export interface OneBatchRow {
  readonly run_name: string;
  readonly batch_size: number;
  readonly input_len: number;
  readonly output_len: number;
  readonly prefill_latency: number;
  readonly prefill_throughput: number;
  /** Absent when output_len is 1: the prefill gives the only token. */
  readonly median_decode_latency?: number;
  readonly median_decode_throughput?: number;
  readonly total_latency: number;
  readonly overall_throughput: number;
}

/** Decode steps that are printed without --log-decode-step. */
const FIRST_STEPS = 5;

export interface LatencyTest {
  readonly runner: ModelRunner;
  readonly output: Output;
  readonly runName: string;
  /** Print every n-th decode step; 0: the first five. */
  readonly logDecodeStep: number;
}

export async function runLatencyTest(
  { runner, output, runName, logDecodeStep }: LatencyTest,
  { batchSize, inputLen, outputLen }: BatchPoint,
  prompts: readonly (readonly number[])[],
): Promise<OneBatchRow> {
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const batch = new StaticBatch(runner, prompts, longest + outputLen);
  const prefillLatency = await timed(() => batch.prefill());
  const prefillThroughput = (inputLen * batchSize) / prefillLatency;
  output.print(`Prefill. latency: ${seconds(prefillLatency, 5)} s, throughput: ${rate(prefillThroughput)} token/s`);
  const decodes: number[] = [];
  for (let step = 0; step < outputLen - 1; step++) {
    const latency = await timed(() => batch.decode());
    decodes.push(latency);
    const shown = logDecodeStep > 0 ? step % logDecodeStep === 0 : step < FIRST_STEPS;
    if (shown) {
      output.print(
        `Decode ${step}. Batch size: ${batchSize}, latency: ${seconds(latency, 5)} s, ` +
          `throughput: ${rate(batchSize / latency)} token/s`,
      );
    }
  }
  const total = prefillLatency + sum(decodes);
  const throughput = ((inputLen + outputLen) * batchSize) / total;
  const median = new Sample(decodes).median;
  if (decodes.length > 0) {
    output.print(
      `Decode.  median latency: ${seconds(median, 5)} s, median throughput: ${rate(batchSize / median)} token/s`,
    );
  }
  output.print(`Total. latency: ${seconds(total, 3)} s, throughput: ${rate(throughput)} token/s`);
  return {
    run_name: runName,
    batch_size: batchSize,
    input_len: inputLen,
    output_len: outputLen,
    prefill_latency: prefillLatency,
    prefill_throughput: prefillThroughput,
    ...(decodes.length === 0 ? {} : { median_decode_latency: median, median_decode_throughput: batchSize / median }),
    total_latency: total,
    overall_throughput: throughput,
  };
}

async function timed(step: () => Promise<unknown>): Promise<number> {
  const start = monotonicSeconds();
  await step();
  return monotonicSeconds() - start;
}

const seconds = (value: number, digits: number): string => value.toFixed(digits).padStart(6);
const rate = (value: number): string => value.toFixed(2).padStart(9);
