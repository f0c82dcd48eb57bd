// Runs programs for gpu-check, each to its end or its time limit.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const TAIL_LINES = 60;

/** Never throws. `seconds`: the limit; what ran past it has `timedOut`, and what it had printed until then. */
export function run(command, args, { seconds = 600, env = {} } = {}) {
  const started = Date.now();
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 28,
    timeout: Math.max(1, Math.round(seconds * 1000)),
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stdout = result.stdout ?? '';
  const timedOut = result.error?.code === 'ETIMEDOUT';
  return {
    ok: result.status === 0,
    command: [...Object.entries(env).map(([name, value]) => `${name}=${value}`), command, ...args].join(' '),
    status: result.status,
    ...(timedOut && { timedOut, reason: `ran past its limit of ${Math.round(seconds)} s` }),
    ...(result.error && !timedOut && { error: result.error.message }),
    ...(result.signal && { signal: result.signal }),
    seconds: (Date.now() - started) / 1000,
    stdout,
    tail: `${stdout}${result.stderr ?? ''}`.trimEnd().split('\n').slice(-TAIL_LINES),
  };
}

/**
 * Without the whole output.
 *
 * @param {ReturnType<typeof run>} result
 */
export const summaryOf = ({ stdout, ...rest }) => rest;

/** What a program printed as JSON objects, one a line. */
export function jsonLines(text) {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .flatMap((line) => {
      try {
        return [JSON.parse(line)];
      } catch {
        return []; // cut off by a time limit
      }
    });
}

export function findTool(name, folders = []) {
  const paths = [...(process.env.PATH ?? '').split(delimiter), ...folders];
  return paths.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
