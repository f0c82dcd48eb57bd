// --plot-throughput: a run over time, in the terminal.
import { plot } from 'simple-ascii-chart';
import { binCount, concurrencyOverTime, throughputOverTime } from '../../series/over-time.js';
import { timesOf } from '../../series/request-times.js';
import type { MeasuredRun } from '../metrics/measured-run.js';

const FEWEST_COLUMNS = 40;
const MOST_COLUMNS = 64;
const ROWS = 12;
const TICKS = 4;

/** Output tokens per second, then most requests in flight, of each short stretch of time. */
export function renderThroughputPlot(run: MeasuredRun): string[] {
  const requests = timesOf(run);
  const { duration } = run;
  const columns = binCount(duration, FEWEST_COLUMNS, MOST_COLUMNS);
  const { output, width } = throughputOverTime(requests, duration, columns);
  return [
    ...render('Output throughput (tok/s)', output, width),
    ...render('Concurrent requests', mostInFlight(concurrencyOverTime(requests), columns, width), width),
  ];
}

/** Highest value of each bin, with the one that it begins with. */
function mostInFlight(steps: readonly (readonly [time: number, running: number])[], bins: number, width: number) {
  const most = new Array<number>(bins).fill(0);
  for (const [i, [time, running]] of steps.entries()) {
    const until = steps[i + 1]?.[0] ?? time;
    const first = Math.min(bins - 1, Math.floor(time / width));
    const last = Math.max(first, Math.min(bins, Math.ceil(until / width)) - 1);
    for (let bin = first; bin <= last; bin++) {
      most[bin] = Math.max(most[bin]!, running);
    }
  }
  return most;
}

function render(title: string, values: readonly number[], width: number): string[] {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  // Whole numbers at the axis: of others the library cuts off the first digit.
  const top = TICKS * Math.max(1, Math.ceil(most / TICKS));
  const last = values.length - 1;
  const ticks = (end: number) => Array.from({ length: TICKS + 1 }, (_, i) => (end * i) / TICKS);
  // Columns are numbered by bin: the library places by value, and would draw two bins of 0.1 s over each other.
  const text = plot(
    values.map((value, bin) => [bin, value]),
    {
      title: `${title} over time (s)`,
      width: values.length,
      height: ROWS,
      yRange: [0, top],
      customXAxisTicks: ticks(last).map(Math.round),
      customYAxisTicks: ticks(top),
      formatter: (value, { axis }) => label(axis === 'x' ? value * width : value),
    },
  );
  return text.split('\n').map((line) => line.trimEnd());
}

const label = (value: number): string => (value < 10 ? Number(value.toFixed(1)) : Math.round(value)).toString();
