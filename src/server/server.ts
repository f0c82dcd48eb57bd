// The HTTP server and its life: it listens at once, answers 503 until the model is loaded, serves, drains, closes.
import type { Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { ServerOptions } from '../config/tables/server-options.js';
import { SHUTDOWN_ABORT } from '../frontend/finish-error.js';
import type { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';
import { toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { createApp } from './app.js';
import type { HealthOptions } from './health.js';
import { Lifecycle, type Services } from './lifecycle.js';
import type { Metrics } from './metrics.js';

export interface ServerDeps {
  readonly options: ServerOptions;
  readonly health: HealthOptions;
  readonly metrics: Metrics | null;
  readonly tracer: FrontEndTracer;
  readonly log: Log;
}

const BACKLOG = 2048;
/** How long clients may take to read their last bytes. */
const FLUSH_SECONDS = 2;

export class Server {
  readonly #options: ServerOptions;
  readonly #log: Log;
  readonly #lifecycle = new Lifecycle();
  readonly #app: FastifyInstance;

  constructor(deps: ServerDeps) {
    this.#options = deps.options;
    this.#log = deps.log;
    this.#app = createApp({ ...deps, lifecycle: this.#lifecycle });
  }

  /** For tests that need no socket. */
  get app(): FastifyInstance {
    return this.#app;
  }

  /** Error: ADDRESS_IN_USE, or INVALID_OPTION for an address that cannot be had. */
  async listen(): Promise<{ url: string; port: number }> {
    const { host, port } = this.#options;
    try {
      await this.#app.listen({ host, port, backlog: BACKLOG });
    } catch (thrown) {
      throw listenError(thrown, host, port);
    }
    const bound = (this.#app.server.address() as AddressInfo).port;
    const shown = host.includes(':') ? `[${host}]` : host;
    return { url: `http://${shown}:${bound}`, port: bound };
  }

  /** The model is there; requests are still refused until `ready`. */
  load(services: Services): void {
    this.#lifecycle.load(services);
  }

  ready(): void {
    this.#lifecycle.ready();
  }

  /** The engine is dead: its requests have got their errors, every later one gets this. Closes the server. */
  async fail(failure: VitrineError): Promise<void> {
    this.#lifecycle.fail(failure);
    await this.#close();
  }

  /**
   * Refuses new requests with 503, gives the running ones `timeoutSeconds`, aborts those that are left with a final
   * message, and closes.
   */
  async drain(timeoutSeconds: number): Promise<void> {
    this.#lifecycle.drain();
    const manager = this.#lifecycle.loaded?.manager;
    if (manager !== undefined && manager.runningRequests > 0) {
      this.#log.info(`Waiting up to ${timeoutSeconds} s for ${manager.runningRequests} running requests`);
      await Promise.race([manager.idle(), sleep(timeoutSeconds)]);
      const aborted = manager.abortById(null, SHUTDOWN_ABORT);
      if (aborted > 0) this.#log.warn(`Aborted ${aborted} requests that had not finished in time`);
    }
    await this.#close();
  }

  /** Stops listening, waits a little for replies on their way, then cuts what is left. */
  async #close(): Promise<void> {
    const closed = this.#app.close();
    await Promise.race([closed, sleep(FLUSH_SECONDS)]);
    (this.#app.server as HttpServer).closeAllConnections();
    await closed;
  }
}

function listenError(thrown: unknown, host: string, port: number): VitrineError {
  const { code, message } = toError(thrown) as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    const problem = `Port ${port} on ${host} is already in use; choose another with --port (0 takes a free one).`;
    return new VitrineError('ADDRESS_IN_USE', problem, { param: '--port', cause: thrown });
  }
  const param = code === 'EACCES' ? '--port' : '--host';
  return new VitrineError('INVALID_OPTION', `Cannot listen on ${host}:${port}: ${message}`, { param, cause: thrown });
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000).unref();
  });
}
