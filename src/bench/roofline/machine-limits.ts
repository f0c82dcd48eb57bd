// What this machine can do, measured once and kept in the user's cache folder: one file for all models and benches.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { cpus, homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { MachineLimits, NativeAddon } from '../../native/addon.js';
import { toError, VitrineError } from '../../util/errors.js';
import { makeDirectory } from '../../util/make-directory.js';
import type { Output } from '../terminal/output.js';

const MEASURE_SECONDS = 2;

export interface KnownLimits extends MachineLimits {
  /** ISO date and time. */
  readonly measuredAt: string;
}

/** What limits are measured by. */
export type LimitsAddon = Pick<NativeAddon, 'machineLimits' | 'buildInfo'>;

export interface LimitsRequest {
  readonly addon: LimitsAddon;
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** 0: as many as an engine takes by itself. */
  readonly threads: number;
  /** Even if they are known already. */
  readonly measureAgain: boolean;
}

/** Throws INVALID_OPTION for a model on a GPU (`device`: auto, cpu or cuda): the limits are those of the processors. */
export function refuseRooflineOf(device: string): void {
  if (device !== 'cuda') return;
  throw new VitrineError(
    'INVALID_OPTION',
    '--roofline: knows the limits of processors, and the model runs on a GPU. Leave it out or choose --device cpu; ' +
      'what a GPU reaches of its limits kernel_bench --device cuda tells.',
    { param: '--roofline' },
  );
}

/** The limits of this machine for so many threads. Measures, for seconds, only what is not known: call it while nothing runs. */
export async function machineLimits(request: LimitsRequest): Promise<KnownLimits> {
  const { addon, output, environment, threads, measureAgain } = request;
  const file = join(environment.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vitrine', 'machine-limits.json');
  // The best instruction set too: virtual machines hide the model's name, and a system may refuse AMX.
  const isa = addon.buildInfo().cpuIsas.at(-1) ?? 'unknown';
  const key = `${cpus()[0]?.model ?? 'unknown'}, ${isa}, ${threads === 0 ? 'all' : threads} threads`;
  const known = await readKnown(file);
  const found = known[key];
  if (found !== undefined && !measureAgain) {
    output.print(`${describe(found)} (measured at ${found.measuredAt}; --measure-limits measures again)`);
    return found;
  }
  output.print(`Measuring what this machine can read and compute (${MEASURE_SECONDS} s) ...`);
  const limits = { ...addon.machineLimits(MEASURE_SECONDS, threads), measuredAt: new Date().toISOString() };
  output.print(describe(limits));
  await save(file, { ...known, [key]: limits }).catch((thrown) => {
    output.warn(`The limits cannot be kept in ${file}: ${toError(thrown).message}`);
  });
  return limits;
}

function describe(limits: MachineLimits): string {
  const giga = (value: number): string => (value / 1e9).toFixed(0);
  const { readBytesPerSecond: read, float32FlopsPerSecond: float32, bfloat16FlopsPerSecond: bfloat16 } = limits;
  const dots = bfloat16 > 0 ? `, ${giga(bfloat16)} GFLOP/s bfloat16` : '';
  return `Limits of this machine: ${(read / 1e9).toPrecision(3)} GB/s, ${giga(float32)} GFLOP/s float32${dots}`;
}

async function readKnown(file: string): Promise<Record<string, KnownLimits>> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Record<string, KnownLimits>;
  } catch {
    return {}; // not there yet, or damaged: measured anew
  }
}

async function save(file: string, limits: object): Promise<void> {
  await makeDirectory(dirname(file));
  const part = `${file}.${process.pid}`;
  await writeFile(part, `${JSON.stringify(limits, null, 2)}\n`);
  await rename(part, file);
}
