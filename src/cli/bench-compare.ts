// `vitrine bench-compare`: result files side by side.
import { benchCompare } from '../bench/compare/compare.js';
import { terminalOutput } from '../bench/terminal/output.js';
import type { BenchCompareOptions } from '../config/tables/bench-compare-options.js';

/** 0; 1 where --fail-on-regression found one. */
export async function run(options: BenchCompareOptions): Promise<number> {
  return (await benchCompare(options, terminalOutput)) ? 0 : 1;
}
