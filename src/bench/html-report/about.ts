// Where the figures of a report come from: versions, machine, server and flags, without secrets.
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import type { Option } from '../../config/option.js';
import { packageVersion } from '../../util/package-version.js';
import { hideSecrets } from '../results/secrets.js';
import type { Facts } from './page/report-data.js';

type Fact = readonly [name: string, value: string];

const GIB = 2 ** 30;
const NVIDIA_GPUS = '/proc/driver/nvidia/gpus';

/** The machine that ran the benchmark, not always the one of the server. */
export function machineFacts(now: Date): Facts {
  const processors = cpus();
  const model = processors[0]?.model.trim() ?? 'unknown';
  const facts: Fact[] = [
    ['Date', now.toISOString()],
    ['Vitrine', packageVersion()],
    ['Node.js', process.versions.node],
    ['System', `${type()} ${release()} ${process.arch}`],
    ['CPU', `${model}, ${processors.length} logical processors`],
    ['Memory', `${(totalmem() / GIB).toFixed(1)} GiB`],
    ...gpuModels().map((gpu, i): Fact => [`GPU ${i}`, gpu]),
  ];
  return { title: 'Machine of the benchmark', facts };
}

/** As the NVIDIA driver names them; none where there is no driver. */
function gpuModels(): string[] {
  try {
    return readdirSync(NVIDIA_GPUS).map((bus) => {
      const text = readFileSync(`${NVIDIA_GPUS}/${bus}/information`, 'utf8');
      return /^Model:\s*(.+)$/m.exec(text)?.[1] ?? 'unknown';
    });
  } catch {
    return [];
  }
}

const SERVER_KEYS: readonly (readonly [key: string, label: string])[] = [
  ['version', 'Version'],
  ['model_path', 'Model'],
  ['served_model_name', 'Served as'],
  ['device_name', 'Device'],
  ['device', 'Device type'],
  ['dtype', 'Data type'],
  ['quantization', 'Quantization'],
  ['context_length', 'Context length'],
  ['max_total_num_tokens', 'KV cache (tokens)'],
  ['max_running_requests', 'Most running requests'],
  ['tp_size', 'Tensor parallel size'],
  ['dp_size', 'Data parallel size'],
];

/** `info`: the answer of /server_info; null where the server gave none. */
export function serverFacts(label: string, info: unknown): Facts | undefined {
  if (typeof info !== 'object' || info === null) return undefined;
  const facts = SERVER_KEYS.flatMap(([key, name]): Fact[] => {
    const value = (info as Record<string, unknown>)[key];
    return typeof value === 'string' || typeof value === 'number' ? [[name, String(value)]] : [];
  });
  return facts.length === 0 ? undefined : { title: label, facts };
}

/** Every option that has a value, as on the command line, without secrets. */
export function flagFacts(table: readonly Option[], options: Readonly<Record<string, unknown>>): Facts {
  const shown = hideSecrets(table, options);
  const facts = table.flatMap(({ flag, key, type }): Fact[] => {
    const value = shown[key];
    if (value === undefined || value === '') return [];
    return [[`--${flag}`, flagText(type, value)]];
  });
  return { title: 'Flags', facts };
}

function flagText(type: Option['type'], value: unknown): string {
  if (type === 'json') return JSON.stringify(value);
  return Array.isArray(value) ? value.join(' ') : String(value);
}
