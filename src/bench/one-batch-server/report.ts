// --show-report: all results as a Markdown table, with SGLang's columns.
import type { OneBatchServerOptions } from '../../config/tables/one-batch-server-options.js';
import type { JsonObject } from '../../util/read-json.js';
import type { CaseResult } from './case-result.js';

/** SGLang's share of the time that a server computes prompts, for the cost of input tokens. */
const INPUT_UTILISATION = 0.7;
/** SGLang's prices: dollars an hour of one GPU. */
const BLACKWELL_COST = 4;
const OTHER_GPU_COST = 2;

const COLUMNS = [
  'batch size',
  'input len',
  'latency (s)',
  'input throughput (tok/s)',
  'output throughput (tok/s)',
  'acc length',
  'ITL (ms)',
  'input cost ($/1M)',
  'output cost ($/1M)',
  'cache hit rate',
];

export interface ReportSettings {
  readonly options: OneBatchServerOptions;
  /** Dollars an hour of all GPUs of the server; undefined: the cost columns say n/a. */
  readonly hourlyCost: number | undefined;
  /** Folders of the profiles, by result; undefined without --profile. */
  readonly profiles: ReadonlyMap<CaseResult, string> | undefined;
}

/** `info`: the answer of /server_info. */
export function hourlyCost(options: OneBatchServerOptions, info: JsonObject): number | undefined {
  const size = (key: string): number => (typeof info[key] === 'number' ? Math.max(1, info[key]) : 1);
  const perGpu = options.gpuHourlyCost ?? listedCost(info);
  return perGpu === undefined ? undefined : perGpu * size('tp_size') * size('pp_size');
}

function listedCost({ device, device_name: name }: JsonObject): number | undefined {
  if (typeof device !== 'string' || device === 'cpu') return undefined;
  return /\bG?B[23]00\b|blackwell/i.test(String(name)) ? BLACKWELL_COST : OTHER_GPU_COST;
}

/** By input length, in the order of the sweep. */
export function renderReport(results: readonly CaseResult[], settings: ReportSettings): string[] {
  const { options, profiles } = settings;
  const list = (values: readonly number[]): string => `(${values.join(', ')}${values.length === 1 ? ',' : ''})`;
  const hitRate = options.cacheHitRate > 0 ? ` Cache hit rate: ${(options.cacheHitRate * 100).toFixed(1)}%.` : '';
  const lengths = (read: (result: CaseResult) => number) => list([...new Set(results.map(read))]);
  const inputs = lengths((result) => result.input_len);
  const outputs = lengths((result) => result.output_len);
  const rows = [...results]
    .sort((a, b) => a.input_len - b.input_len)
    .map((result) => [
      ...cells(result, settings.hourlyCost),
      ...(profiles === undefined ? [] : [profileCell(profiles.get(result))]),
    ]);
  const header = profiles === undefined ? COLUMNS : [...COLUMNS, 'profile'];
  return ['', `Input lens: ${inputs}. Output lens: ${outputs}.${hitRate}`, ...table(header, rows), ''];
}

function cells(result: CaseResult, hourly: number | undefined): string[] {
  const { input_throughput: input, output_throughput: output, acc_length: acceptLength } = result;
  const fixed = (value: number | undefined, decimals = 2): string => value?.toFixed(decimals) ?? 'n/a';
  const cost = (throughput: number | null) =>
    hourly === undefined || throughput === null ? undefined : (1e6 / throughput / 3600) * hourly;
  return [
    String(result.batch_size),
    String(result.input_len),
    fixed(result.latency),
    fixed(input),
    fixed(output ?? undefined),
    fixed(acceptLength > 0 ? acceptLength : undefined),
    fixed(output === null ? undefined : (1000 * result.batch_size) / output),
    fixed(cost(input * INPUT_UTILISATION)),
    fixed(cost(output)),
    fixed(result.cache_hit_rate ?? undefined, 4),
  ];
}

const profileCell = (folder: string | undefined): string => (folder === undefined ? 'n/a' : `[Profile](${folder})`);

/** Numbers to the right. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string => `| ${row.map((cell, i) => cell.padStart(widths[i]!)).join(' | ')} |`;
  return [line(header), `|${widths.map((width) => `${'-'.repeat(width + 1)}:`).join('|')}|`, ...rows.map(line)];
}
