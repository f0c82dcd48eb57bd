// A `vitrine` command as its users run it: a process with arguments, output and an exit code.
import { type ChildProcess, spawn } from 'node:child_process';
import { program } from './running-server.js';

export interface Exit {
  /** null: ended by a signal. */
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  /** On top of this process's environment. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** See standard output and standard error as they grow. */
  readonly onOutput?: (out: string, child: ChildProcess) => void;
  readonly onError?: (err: string, child: ChildProcess) => void;
}

export function runVitrine(args: readonly string[], options: RunOptions = {}): Promise<Exit> {
  const { env, cwd, onOutput, onError } = options;
  return new Promise<Exit>((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text;
      onOutput?.(out, child);
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text;
      onError?.(err, child);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}
