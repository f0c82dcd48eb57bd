// Requests before the measurement, for a server that has not computed anything yet.
import { VitrineError } from '../../util/errors.js';
import type { BenchRequest } from '../datasets/bench-request.js';
import type { Output } from '../terminal/output.js';
import type { RequestSender } from './load/send-request.js';

const WARMUP_OUTPUT_LEN = 32;

/** Sends `count` copies of a request at once. @throws VitrineError BENCH_FAILED */
export async function warmUp(sender: RequestSender, first: BenchRequest, count: number, output: Output): Promise<void> {
  if (count === 0) return;
  output.print(`Starting warmup with ${count} sequences...`);
  const request = { ...first, outputLen: Math.min(first.outputLen, WARMUP_OUTPUT_LEN) };
  const records = await Promise.all(Array.from({ length: count }, () => sender.send(request, 0, 0)));
  if (records.some((record) => record.interrupted)) return;
  const failure = records.find((record) => record.error !== '');
  if (failure !== undefined) {
    throw new VitrineError(
      'BENCH_FAILED',
      `Warmup failed - Please make sure benchmark arguments are correctly specified. Error: ${failure.error}`,
    );
  }
  output.print(`Warmup completed with ${count} sequences. Starting main benchmark run...`);
}
