// A server in a process of its own, for programs that measure one: it does not share their event loop, tells its address
// or its reason over the pipe of Node's IPC, and does not outlive them, however they end.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ServerOptions } from '../config/tables/server-options.js';
import { type ErrorCode, VitrineError } from '../util/errors.js';

/** The first message to the process. */
export interface ServerProcessOrder {
  readonly options: ServerOptions;
}

/** Its answer. */
export type ServerProcessMessage =
  | { readonly kind: 'ready'; readonly url: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly param: string | null };

const ENTRY = fileURLToPath(new URL('server-process.js', import.meta.url));
/** Lines of its log that an error shows. */
const LAST_LINES = 8;
/** On top of --shutdown-timeout: how long it may take to end when told to. */
const GRACE_SECONDS = 10;

export class ChildServer {
  /** The address, once the model is loaded and warm. Rejects with the reason where that never comes. */
  readonly ready: Promise<string>;
  /** Resolves when the process has ended, with the error to report where nobody had asked it to. */
  readonly ended: Promise<VitrineError>;
  readonly #child: ChildProcess;
  readonly #graceSeconds: number;
  readonly #lastLines: string[] = [];

  private constructor(child: ChildProcess, graceSeconds: number, onLogLine: (line: string) => void) {
    this.#child = child;
    this.#graceSeconds = graceSeconds;
    createInterface({ input: child.stderr! }).on('line', (line) => {
      this.#lastLines.push(line);
      if (this.#lastLines.length > LAST_LINES) this.#lastLines.shift();
      onLogLine(line);
    });
    let failure: VitrineError | undefined;
    this.ended = new Promise((resolve) => {
      // 'close', not 'exit': by then its last words have been read.
      child.once('close', (code, signal) => {
        resolve(failure ?? this.#died(signal === null ? `exit code ${code}` : `signal ${signal}`));
      });
      child.once('error', (error) => resolve(new VitrineError('NOT_READY', `No server process: ${error.message}`)));
    });
    this.ready = new Promise((resolve, reject) => {
      child.on('message', (message: ServerProcessMessage) => {
        if (message.kind === 'ready') return resolve(message.url);
        const { code, message: text, param } = message;
        failure = new VitrineError(code, text, param === null ? {} : { param });
      });
      void this.ended.then(reject);
    });
    this.ready.catch(() => {}); // reported to whoever awaits
  }

  /** Starts the process at once. `onLogLine`: sees each line of its log. */
  static launch(options: ServerOptions, onLogLine: (line: string) => void): ChildServer {
    const child = spawn(process.execPath, [ENTRY], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced', // options hold infinities
      // A group of its own: Ctrl-C in the terminal is for the program, which then decides.
      detached: true,
    });
    child.on('error', () => {}); // `ended` tells
    child.send({ options } satisfies ServerProcessOrder, () => {});
    return new ChildServer(child, options.shutdownTimeout + GRACE_SECONDS, onLogLine);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Resolves when the process has ended: drained, or killed where that takes too long. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), this.#graceSeconds * 1000);
    await this.ended;
    clearTimeout(timer);
  }

  #died(how: string): VitrineError {
    const log = this.#lastLines.length === 0 ? '' : `; its last lines:\n${this.#lastLines.join('\n')}`;
    return new VitrineError('NOT_READY', `The server has ended (${how})${log}`);
  }
}
