// `vitrine bench-offline-throughput`: a dataset through an engine in this process. Ctrl-C ends it and reports what was
// measured.
import { benchOfflineThroughput } from '../bench/offline-throughput/offline-throughput.js';
import { terminalOutput } from '../bench/terminal/output.js';
import type { OfflineThroughputOptions } from '../config/tables/offline-throughput-options.js';
import { loadAddon } from '../native/load.js';
import { Engine } from '../runtime/local-engine.js';
import { untilInterrupted } from './until-interrupted.js';

/** 0; 1 when a request failed; 130 when interrupted. */
export function run(options: OfflineThroughputOptions): Promise<number> {
  return untilInterrupted(async (interrupt) => {
    const { failed } = await benchOfflineThroughput(options, {
      launch: (launch) => Engine.launch(launch),
      output: terminalOutput,
      terminal: process.stderr,
      interrupt,
      environment: process.env,
      addon: loadAddon,
    });
    return failed > 0 ? 1 : 0;
  });
}
