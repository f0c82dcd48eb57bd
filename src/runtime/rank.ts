// Starts rank processes and watches over them. Runs in the front-end process.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';
import { SchedulerClient } from '../frontend/scheduler-client.js';
import type { FrontendMessage, SchedulerMessage } from '../messages/channel.js';
import { SocketChannel } from '../messages/socket-channel.js';
import type { Log } from '../util/log.js';
import { RANK_CHANNEL_FD, type RankConfig } from './rank-config.js';

const ENTRY = fileURLToPath(new URL('rank-process.js', import.meta.url));

/** One child process that holds an engine and its scheduler. */
export class Rank {
  readonly scheduler: SchedulerClient;
  /** Resolves when the process has ended, with words for it: `exit code 1`, `signal SIGKILL`. */
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, scheduler: SchedulerClient) {
    this.#child = child;
    this.scheduler = scheduler;
    this.exited = new Promise((resolve) => {
      // 'close', not 'exit': by then everything that the process sent has been read.
      child.once('close', (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
      child.once('error', (error) => resolve(error.message));
    });
  }

  /**
   * Starts the process at once; `scheduler.ready` tells when the model is loaded or why it cannot be. The process ends by
   * itself when this one is gone.
   */
  static launch(config: Omit<RankConfig, 'kind'>, tracer: FrontEndTracer, log: Log): Rank {
    const child = spawn(process.execPath, [ENTRY], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
    const socket = child.stdio[RANK_CHANNEL_FD] as Duplex;
    const channel = new SocketChannel<SchedulerMessage | RankConfig, FrontendMessage>(socket);
    channel.send({ kind: 'rank-config', ...config });
    const rank = new Rank(
      child,
      new SchedulerClient(channel as SocketChannel<SchedulerMessage, FrontendMessage>, tracer),
    );
    void rank.exited.then((how) => log.debug(`The rank process has ended: ${how}`));
    return rank;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Lets the scheduler stop by itself, then kills the process after `graceSeconds`. Resolves when it has ended. */
  async stop(graceSeconds: number): Promise<void> {
    this.scheduler.close();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceSeconds * 1000);
    await this.exited;
    clearTimeout(timer);
  }
}
