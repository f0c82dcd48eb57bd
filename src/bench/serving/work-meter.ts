// --roofline of bench-serving: reads the server's counters of work before and after a run.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import type { MachineLimits } from '../../native/addon.js';
import { type LimitsAddon, machineLimits } from '../roofline/machine-limits.js';
import { type PhaseWork, readWorkCounters, type WorkCounters, workBetween } from '../roofline/phase-work.js';
import type { Output } from '../terminal/output.js';
import type { TargetServer } from './target.js';

export interface WorkMeterDeps {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly addon: () => LimitsAddon;
  readonly interrupt: AbortSignal;
}

const LOOPBACK = /^(localhost|127\.[\d.]+|\[::1\])$/;

export class WorkMeter {
  readonly #server: TargetServer;
  readonly #limits: MachineLimits | undefined;
  readonly #output: Output;
  #before: WorkCounters | undefined;

  private constructor(server: TargetServer, limits: MachineLimits | undefined, output: Output) {
    this.#server = server;
    this.#limits = limits;
    this.#output = output;
  }

  /** Measures this machine, where the server runs on it and its limits are not known; the server should be idle. */
  static async create(server: TargetServer, options: BenchServingOptions, deps: WorkMeterDeps): Promise<WorkMeter> {
    const { output, environment, interrupt } = deps;
    const unknown = (where: string): WorkMeter => {
      output.warn(`--roofline: the server is on ${where}, whose limits are not known: rates without shares`);
      return new WorkMeter(server, undefined, output);
    };
    if (!LOOPBACK.test(new URL(server.baseUrl).hostname)) return unknown('another machine');
    const info = (await server.serverInfo(interrupt)) as { device?: unknown } | null;
    if (info?.device === 'cuda') return unknown('a GPU');
    const measureAgain = options.measureLimits;
    const limits = await machineLimits({ addon: deps.addon(), output, environment, threads: 0, measureAgain });
    return new WorkMeter(server, limits, output);
  }

  async start(interrupt: AbortSignal): Promise<void> {
    this.#before = readWorkCounters(await this.#server.serverInfo(interrupt));
    if (this.#before === undefined) this.#output.warn('--roofline: this server does not count the work of its steps');
  }

  /** `serverInfo`: its answer after the run. */
  stop(serverInfo: unknown): PhaseWork | undefined {
    const after = readWorkCounters(serverInfo);
    return this.#before && after && workBetween(this.#before, after, this.#limits);
  }
}
