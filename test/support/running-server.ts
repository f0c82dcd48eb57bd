// A real `vitrine launch-server` on a free port, ready to be asked: for tests of what it answers.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const program = `${root}dist/cli/main.js`;
export const storiesModel = `${root}models/stories260K`;

export class RunningServer {
  readonly log: string[] = [];
  /** Resolves with the exit code (or the signal's name). */
  readonly exited: Promise<number | string | null>;
  url = '';

  private constructor(readonly child: ChildProcess) {
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
    createInterface({ input: child.stderr! }).on('line', (line) => this.log.push(line));
  }

  /** Resolves when the server is ready; rejects with its log when it ends instead. */
  static async start(flags: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<RunningServer> {
    const server = RunningServer.spawn(flags, env);
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        server.url ||= /http:\/\/[\d.]+:\d+/.exec(server.log.join('\n'))?.[0] ?? '';
        if (server.log.some((line) => line.includes('ready to roll'))) resolve();
      };
      server.child.stderr!.on('data', () => setImmediate(look));
      void server.exited.then((code) => reject(new Error(`exit ${code}:\n${server.log.join('\n')}`)));
    });
    return server;
  }

  /** Without waiting: for servers that are not to start. */
  static spawn(flags: readonly string[], env: NodeJS.ProcessEnv = {}): RunningServer {
    const child = spawn(process.execPath, [program, 'launch-server', '--port', '0', ...flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    return new RunningServer(child);
  }

  async stop(): Promise<number | string | null> {
    this.child.kill('SIGTERM');
    return this.exited;
  }

  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init,
    });
  }
}
