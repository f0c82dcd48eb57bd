// `vitrine bench-serving`: one run against a running server. Ctrl-C ends it and reports what was measured.
import { terminalOutput } from '../bench/output.js';
import { benchServing } from '../bench/serving/serving.js';
import type { BenchServingOptions } from '../config/bench-serving-options.js';
import { VitrineError } from '../util/errors.js';

/** 0; 1 when a request failed; 130 when interrupted. */
export async function run(options: BenchServingOptions): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => {
    // A second one means it.
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    const deps = { output: terminalOutput, interrupt: interrupt.signal, environment: process.env };
    const { failed } = await benchServing(options, deps);
    if (interrupt.signal.aborted) return 130;
    return failed > 0 ? 1 : 0;
  } catch (thrown) {
    if (!(thrown instanceof VitrineError) || thrown.code !== 'ABORTED') throw thrown;
    process.stderr.write(`${thrown.message}\n`);
    return 130;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
