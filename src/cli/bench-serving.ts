// `vitrine bench-serving`: one run against a running server. Ctrl-C ends it and reports what was measured.

import { benchServing } from '../bench/serving/serving.js';
import { terminalOutput } from '../bench/terminal/output.js';
import type { BenchServingOptions } from '../config/tables/bench-serving-options.js';
import { loadAddon } from '../native/load.js';
import { untilInterrupted } from './until-interrupted.js';

/** 0; 1 when a request failed; 130 when interrupted. */
export function run(options: BenchServingOptions): Promise<number> {
  return untilInterrupted(async (interrupt) => {
    const deps = { output: terminalOutput, interrupt, environment: process.env, addon: loadAddon };
    const { failed } = await benchServing(options, deps);
    return failed > 0 ? 1 : 0;
  });
}
