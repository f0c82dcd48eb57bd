// A trace summary as text for a terminal of 100 columns.
import type { GpuModuleSummary, GpuSummary, TraceSummary } from './trace-summary.js';

const WIDTH = 100;
const LAYER_NAME_WIDTH = 40;
const CATEGORY_WIDTH = 20;
const MAX_SHAPE_WIDTH = 44;

/** `850 ns`, `12.3 us`, `4.56 ms`, `7.89 s`: three digits. */
export function formatDuration(us: number): string {
  const units = [
    [1e6, 's'],
    [1e3, 'ms'],
    [1, 'us'],
  ] as const;
  const [size, unit] = units.find(([least]) => us >= least) ?? [1e-3, 'ns'];
  const value = us / size;
  return `${value.toFixed(size === 1e-3 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2)} ${unit}`;
}

const percent = (share: number | null) => (share === null ? '-' : `${(100 * share).toFixed(1)}%`);
/** Names come from files: no control characters reach the terminal. */
const printable = (text: string) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');

/** Cuts the middle out of a name: kernels differ at both ends. */
function shorten(text: string, width: number): string {
  const letters = [...printable(text)];
  if (letters.length <= width) return letters.join('');
  const head = Math.ceil((width - 1) / 2);
  return `${letters.slice(0, head).join('')}…${letters.slice(letters.length - (width - 1 - head)).join('')}`;
}

interface Column {
  readonly title: string;
  readonly left?: boolean;
}

/** A table that takes at most WIDTH columns when its left column is cut to what the others leave. */
function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map(({ title }, i) =>
    rows.reduce((width, row) => Math.max(width, [...row[i]!].length), title.length),
  );
  const others = widths.slice(1).reduce((sum, width) => sum + width + 2, 0);
  widths[0] = Math.max(columns[0]!.title.length, Math.min(widths[0]!, WIDTH - 2 - others));
  const line = (cells: readonly string[]) =>
    `  ${cells
      .map((cell, i) => {
        const text = i === 0 ? shorten(cell, widths[0]!) : cell;
        const pad = ' '.repeat(Math.max(0, widths[i]! - [...text].length));
        return columns[i]!.left ? text + pad : pad + text;
      })
      .join('  ')}`.trimEnd();
  return [line(columns.map(({ title }) => title)), ...rows.map(line)];
}

const left = (title: string): Column => ({ title, left: true });
const right = (title: string): Column => ({ title });

function head(summary: TraceSummary): string[] {
  const profile = [summary.profileId, summary.stage].filter((part) => part !== null).join(' ');
  const processes = summary.processes.map(
    ({ name, pid, threads }) =>
      `  ${shorten(`${pid} ${name}`, WIDTH - 20)}, ${threads} thread${threads === 1 ? '' : 's'}`,
  );
  return [
    shorten(summary.file, WIDTH),
    shorten(`${summary.origin}${profile === '' ? '' : `, profile ${profile}`}`, WIDTH),
    `${formatDuration(summary.durationUs)} recorded, ${summary.events} events, ${summary.spans} spans`,
    ...processes,
  ];
}

function steps({ steps }: TraceSummary): string[] {
  if (steps.length === 0) return ['', 'Steps', '  the trace has no step annotations'];
  const columns = [left('mode'), ...['steps', 'total', 'mean', 'min', 'p50', 'p90', 'p99', 'max'].map(right)];
  const rows = steps.map((s) => [
    s.mode,
    String(s.count),
    ...[s.totalUs, s.meanUs, s.minUs, s.p50Us, s.p90Us, s.p99Us, s.maxUs].map(formatDuration),
  ]);
  return ['', 'Steps', ...table(columns, rows)];
}

function gaps({ gaps }: TraceSummary): string[] {
  if (gaps === null) return [];
  const facts = `${gaps.count} gap${gaps.count === 1 ? '' : 's'}, ${formatDuration(gaps.totalUs)}, ${percent(gaps.share)} of the time from first to last step; p50 ${formatDuration(gaps.p50Us)}, p99 ${formatDuration(gaps.p99Us)}, max ${formatDuration(gaps.maxUs)}`;
  const rows = gaps.causes.map(({ cause, us, share }) => [cause, formatDuration(us), percent(share)]);
  const [first, second] = facts.split('; ');
  return [
    '',
    'Between steps',
    `  ${first};`,
    `  ${second}`,
    ...table([left('cause'), right('time'), right('share')], rows),
  ];
}

function waitingGaps({ waitingGaps }: TraceSummary): string[] {
  if (waitingGaps.length === 0) return [];
  const rows = waitingGaps.map((g) => [
    batchRange(g.fromBatch, g.toBatch),
    String(g.count),
    ...[g.totalUs, g.p50Us, g.p99Us, g.maxUs].map(formatDuration),
  ]);
  const columns = [left('batch size'), ...['gaps', 'total', 'p50', 'p99', 'max'].map(right)];
  return ['', 'Between steps with work waiting', ...table(columns, rows)];
}

function batchRange(from: number, to: number | null): string {
  if (to === null) return `${from} or more`;
  return from === to ? String(from) : `${from} to ${to}`;
}

function categories({ categories }: TraceSummary): string[] {
  const rows = categories.map((c) => [c.category, String(c.spans), formatDuration(c.selfUs), percent(c.share)]);
  const columns = [left('category'), right('spans'), right('self time'), right('share')];
  return ['', 'Time by category', ...table(columns, rows)];
}

function ops({ ops, otherOps }: TraceSummary): string[] {
  if (ops.length === 0) return ['', 'Ops', '  the trace has no ops'];
  const columns = [left('op'), ...['self', 'share', 'calls', 'total'].map(right), left('category')];
  const rows = ops.map((op) => [
    op.name,
    formatDuration(op.selfUs),
    percent(op.share),
    String(op.calls),
    formatDuration(op.totalUs),
    shorten(op.category, CATEGORY_WIDTH),
  ]);
  const lines = table(columns, rows);
  const withShapes = lines.flatMap((line, i) => {
    const shapes = i === 0 ? [] : ops[i - 1]!.shapes;
    if (shapes.length === 0) return [line];
    const [first] = shapes;
    const more = shapes.length === 1 ? '' : `, ${shapes.length - 1} other shape${shapes.length === 2 ? '' : 's'}`;
    return [
      line,
      `      ${shorten(first!.shape, MAX_SHAPE_WIDTH)}: ${first!.calls} call${first!.calls === 1 ? '' : 's'}, ${formatDuration(first!.selfUs)}${more}`,
    ];
  });
  const rest =
    otherOps.count > 0
      ? [`  … ${otherOps.count} more op${otherOps.count === 1 ? '' : 's'}, ${formatDuration(otherOps.selfUs)}`]
      : [];
  return ['', 'Top ops by self time', ...withShapes, ...rest];
}

const KERNELS_SHOWN = 2;

function gpu({ gpu }: TraceSummary): string[] {
  if (gpu === null) return [];
  const busy = `  ${formatDuration(gpu.busyUs)} of work, ${percent(gpu.share)} of the time from first to last`;
  return ['', 'GPU', busy, ...gpuIdle(gpu), ...gpuModules(gpu), ...otherGpuModules(gpu)];
}

function gpuIdle({ stepGaps }: GpuSummary): string[] {
  if (stepGaps === null) return [];
  const { count, totalUs, p50Us, p99Us, maxUs } = stepGaps;
  const [p50, p99, most] = [p50Us, p99Us, maxUs].map(formatDuration);
  const total = `${count} gap${count === 1 ? '' : 's'}, ${formatDuration(totalUs)}`;
  return [`  idle between steps: ${total}; p50 ${p50}, p99 ${p99}, max ${most}`];
}

/** A row for each module, and below it its kernels where they are not the module itself. */
function gpuModules({ modules }: GpuSummary): string[] {
  const rate = (value: number | null, digits: number) => (value === null ? '-' : value.toFixed(digits));
  const columns = [left('module'), ...['time', 'share', 'calls', 'GB/s', 'TFLOP/s'].map(right)];
  const rows = modules.map((m) => [
    m.module,
    ...[formatDuration(m.totalUs), percent(m.share), String(m.calls)],
    ...[rate(m.gigabytesPerSecond, 0), rate(m.teraflopsPerSecond, 1)],
  ]);
  const [head, ...lines] = table(columns, rows);
  return [head!, ...lines.flatMap((line, i) => [line, ...gpuKernels(modules[i]!)])];
}

function gpuKernels({ module, kernels: all }: GpuModuleSummary): string[] {
  const kernels = all.filter(({ name }) => name !== module);
  const shown = kernels.slice(0, KERNELS_SHOWN).map(({ name, calls, totalUs }) => {
    const facts = `: ${calls} call${calls === 1 ? '' : 's'}, ${formatDuration(totalUs)}`;
    return `      ${shorten(name, WIDTH - 6 - facts.length)}${facts}`;
  });
  const hidden = kernels.length - shown.length;
  return hidden > 0 ? [...shown, `      … ${hidden} more kernel${hidden === 1 ? '' : 's'}`] : shown;
}

function otherGpuModules({ otherModules: { count, totalUs } }: GpuSummary): string[] {
  return count > 0 ? [`  … ${count} more module${count === 1 ? '' : 's'}, ${formatDuration(totalUs)}`] : [];
}

function layers({ layers }: TraceSummary): string[] {
  if (layers.length === 0) return [];
  const columns = [left('layer'), ...['calls', 'total', 'mean', 'share'].map(right), left('most of it')];
  const rows = layers.map((layer) => [
    String(layer.layer),
    String(layer.calls),
    formatDuration(layer.totalUs),
    formatDuration(layer.meanUs),
    percent(layer.share),
    `${shorten(layer.topOp, LAYER_NAME_WIDTH)} ${formatDuration(layer.topOpUs)}`,
  ]);
  return ['', 'Layers', ...table(columns, rows)];
}

function warnings({ warnings, dropped }: TraceSummary): string[] {
  if (warnings.length === 0) return [];
  const reasons = Object.entries(dropped).map(([reason, count]) => `${printable(reason)} ${count}`);
  return [
    '',
    'Warnings',
    ...warnings.map((line) => `  ${shorten(line, WIDTH - 2)}`),
    ...(reasons.length > 0 ? [shorten(`  dropped by: ${reasons.join(', ')}`, WIDTH)] : []),
  ];
}

/** Lines of at most 100 columns, ending in a newline. */
export function renderTraceSummary(summary: TraceSummary): string {
  const parts = [head, steps, gaps, waitingGaps, gpu, categories, ops, layers, warnings];
  return `${parts.flatMap((part) => part(summary)).join('\n')}\n`;
}
