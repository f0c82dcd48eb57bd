// The table of ops that PyTorch's profiler prints, from the summary of a trace file: by op and shapes, most self time first.
import type { TraceSummary } from '../../trace/summary/trace-summary.js';

const MOST_ROWS = 100;
const MOST_NAME = 55;
const MOST_SHAPES = 80;

interface Row {
  readonly name: string;
  readonly shapes: string;
  readonly calls: number;
  readonly selfUs: number;
  readonly totalUs: number;
}

function rowsOf({ ops }: TraceSummary): Row[] {
  return ops
    .filter(({ category }) => category === 'cpu_op')
    .flatMap((op) => {
      const rows = op.shapes.map(({ shape, calls, selfUs, totalUs }) => ({
        ...{ name: op.name, shapes: shape, calls, selfUs, totalUs },
      }));
      const rest = (read: (row: { calls: number; selfUs: number; totalUs: number }) => number) =>
        read(op) - rows.reduce((sum, row) => sum + read(row), 0);
      const calls = rest((row) => row.calls);
      if (calls === 0) return rows;
      const times = { selfUs: rest((row) => row.selfUs), totalUs: rest((row) => row.totalUs) };
      return [...rows, { name: op.name, shapes: '[]', calls, ...times }];
    })
    .sort((a, b) => b.selfUs - a.selfUs);
}

/** `12.345us`, `1.234ms`, `1.234s`. */
function time(us: number): string {
  if (us >= 1e6) return `${(us / 1e6).toFixed(3)}s`;
  return us >= 1e3 ? `${(us / 1e3).toFixed(3)}ms` : `${us.toFixed(3)}us`;
}

const shorten = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 3)}...` : text);
const COLUMNS = [
  'Name',
  'Self CPU %',
  'Self CPU',
  'CPU total %',
  'CPU total',
  'CPU time avg',
  '# of Calls',
  'Input Shapes',
];
const LEAST_WIDTH = 12;

/** Shares are of the self time of all ops, on all threads. */
export function renderKeyAverages(summary: TraceSummary): string[] {
  const rows = rowsOf(summary);
  const whole = rows.reduce((sum, { selfUs }) => sum + selfUs, 0);
  const percent = (us: number) => `${(whole === 0 ? 0 : (100 * us) / whole).toFixed(2)}%`;
  const cells = rows
    .slice(0, MOST_ROWS)
    .map(({ name, shapes, calls, selfUs, totalUs }) => [
      shorten(name, MOST_NAME),
      ...[percent(selfUs), time(selfUs), percent(totalUs), time(totalUs), time(totalUs / calls), String(calls)],
      shorten(shapes, MOST_SHAPES),
    ]);
  const widths = COLUMNS.map((title, i) => Math.max(LEAST_WIDTH, title.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) => row.map((cell, i) => cell.padStart(widths[i]!)).join('  ');
  const border = widths.map((width) => '-'.repeat(width)).join('  ');
  return [border, line(COLUMNS), border, ...cells.map(line), border, `Self CPU time total: ${time(whole)}`, ''];
}
