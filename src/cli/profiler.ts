// `vitrine profiler`: has a running server record its next steps. Ctrl-C ends the wait, not the profile.

import { runProfiler } from '../bench/profile/profiler.js';
import { terminalOutput } from '../bench/terminal/output.js';
import { streamNotice } from '../bench/terminal/wait-notice.js';
import type { ProfilerOptions } from '../config/tables/profiler-options.js';
import { untilInterrupted } from './until-interrupted.js';

/** 0; 130 when interrupted. */
export function run(options: ProfilerOptions): Promise<number> {
  return untilInterrupted(async (interrupt) => {
    const notice = streamNotice(process.stderr);
    await runProfiler(options, { output: terminalOutput, notice, interrupt, environment: process.env });
    return 0;
  });
}
