// What the environment says about profiles: SGLang's variables and their meanings. Read once, when a front end starts.
import { homedir } from 'node:os';
import { profilerDirectory } from '../../config/profiler-directory.js';
import type { Log } from '../../util/log.js';

export interface ProfileEnvironment {
  /** Where traces go that name no directory (SGLANG_TORCH_PROFILER_DIR). */
  readonly outputDir: string;
  /** False wins over what a request says (SGLANG_PROFILE_WITH_STACK). */
  readonly withStack: boolean;
  /** False wins over what a request says (SGLANG_PROFILE_RECORD_SHAPES). */
  readonly recordShapes: boolean;
  /** What `~` stands for; relative directories start at `workingDir`. */
  readonly homeDir: string;
  readonly workingDir: string;
}

export function profileEnvironment(env: NodeJS.ProcessEnv, log: Log): ProfileEnvironment {
  return {
    outputDir: profilerDirectory(env),
    withStack: readBoolean(env, 'SGLANG_PROFILE_WITH_STACK', log),
    recordShapes: readBoolean(env, 'SGLANG_PROFILE_RECORD_SHAPES', log),
    homeDir: env.HOME || homedir(),
    workingDir: process.cwd(),
  };
}

/** Default true. */
function readBoolean(env: NodeJS.ProcessEnv, name: string, log: Log): boolean {
  const value = env[name];
  if (value === undefined || /^(true|1|yes|y)$/i.test(value)) return true;
  if (/^(false|0|no|n)$/i.test(value)) return false;
  log.warn(`${name} must be true, 1, yes, y, false, 0, no or n, got ${JSON.stringify(value)}: taken for true.`);
  return true;
}
