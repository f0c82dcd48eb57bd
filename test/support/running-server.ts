// `vitrine launch-server` as its users run it: a process with signals, an exit code and a log.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { STORIES } from './fake-server.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Random weights of a size at which thousands of tokens take many seconds: something to interrupt. */
export const SLOW_MODEL = [
  '--load-format=dummy',
  '--random-seed=1',
  `--json-model-override-args=${JSON.stringify({
    num_hidden_layers: 8,
    hidden_size: 512,
    intermediate_size: 2048,
    max_position_embeddings: 32768,
  })}`,
  '--max-total-tokens=40000',
];

export class RunningServer {
  readonly child: ChildProcess;
  /** `code 0` or `signal SIGKILL`. */
  readonly exited: Promise<string>;
  log = '';

  constructor(test: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(
      process.execPath,
      [MAIN, 'launch-server', '--port=0', '--max-running-requests=32', '--cpu-threads=1', ...args],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } },
    );
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    }
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve(signal === null ? `code ${code}` : `signal ${signal}`));
    });
    test.after(async () => {
      this.child.kill('SIGKILL');
      await this.exited;
    });
  }

  /** Resolves with the base URL when the log says that the server is ready. */
  async ready(): Promise<string> {
    await this.logged('fired up and ready to roll');
    return this.url;
  }

  get url(): string {
    return /http:\/\/127\.0\.0\.1:\d+/.exec(this.log)![0];
  }

  /** Resolves when the log holds `words`; fails when the process ends before. */
  async logged(words: string): Promise<void> {
    let ended = false;
    void this.exited.then(() => {
      ended = true;
    });
    while (!this.log.includes(words)) {
      if (ended) throw new Error(`The server ended without "${words}":\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Process ids of its rank processes. */
  get ranks(): number[] {
    const { pid } = this.child;
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  }
}

export function storiesServer(test: TestContext, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  return new RunningServer(test, [`--model-path=${STORIES}`, ...args], env);
}

/** Whether a process is there and has not ended (a zombie has). */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
