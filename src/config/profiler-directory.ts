// Where traces go that name no directory: SGLang's variable, for all programs and servers.

export const PROFILER_DIR = 'SGLANG_TORCH_PROFILER_DIR';

export function profilerDirectory(environment: Readonly<Record<string, string | undefined>>): string {
  return environment[PROFILER_DIR] || '/tmp';
}
