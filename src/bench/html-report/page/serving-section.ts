// The charts of serving runs: a line for each run, the same colour everywhere.
import { Chart, type ChartSettings, type Line, type LogAxis } from './chart.js';
import { checkbox, element } from './dom.js';
import { formatMoment, formatNumber, formatSeconds, formatShare } from './format.js';
import { legend } from './legend.js';
import { LATENCIES, type Latency, type Points, type ServingCharts } from './report-data.js';
import { section } from './sections.js';
import { TimelineChart } from './timeline.js';

export interface ChartedRun {
  readonly label: string;
  readonly charts: ServingCharts;
}

const NAMES: Record<Latency, string> = {
  ttft: 'Time to first token (TTFT)',
  tpot: 'Time per output token (TPOT)',
  itl: 'Inter-token latency (ITL)',
  e2e: 'End-to-end latency (E2E)',
};

const TIME = 'time since the start';

export function servingSections(runs: readonly ChartedRun[]): HTMLElement[] {
  // Bands of several runs would lie on each other.
  const band = runs.length === 1 ? runs[0]!.charts.steadyState : undefined;
  const shaded = band === undefined ? {} : { band };
  const linesOf = (read: (charts: ServingCharts) => Omit<Line, 'label'>): Line[] =>
    runs.map(({ label, charts }) => ({ label, ...read(charts) }));
  const distributions = LATENCIES.map((latency) =>
    chart({
      ...{ id: `${latency}-cdf`, title: NAMES[latency], kind: 'steps', yMax: 1.02, dashed: true },
      ...{ xLabel: 'latency', yLabel: latency === 'itl' ? 'share of gaps' : 'share of requests' },
      ...{ formatX: formatSeconds, formatY: formatShare },
      lines: linesOf(({ cdf }) => cdf[latency]),
      caption: thinned(
        runs.map(({ charts }) => charts.cdf[latency]),
        'the highest are all there, the others evenly chosen',
      ),
    }),
  );
  const clouds = (['ttft', 'itl'] as const).map((latency) =>
    chart({
      ...{ id: `${latency}-over-time`, title: `${NAMES[latency]} over time`, kind: 'points', ...shaded },
      ...{ xLabel: TIME, yLabel: latency.toUpperCase(), formatX: formatMoment, formatY: formatSeconds },
      lines: linesOf((charts) => charts[latency]),
      caption: thinned(
        runs.map(({ charts }) => charts[latency]),
        'lowest and highest of each short stretch',
      ),
    }),
  );
  const rates = (
    [
      ['output', 'Output token throughput', 'tokens/s'],
      ['input', 'Input token throughput', 'tokens/s'],
      ['requests', 'Request throughput', 'requests/s'],
    ] as const
  ).map(([key, title, unit]) =>
    chart({
      ...{ id: `${key}-throughput`, title, kind: 'steps', ...shaded },
      ...{ xLabel: TIME, yLabel: unit, formatX: formatMoment, formatY: formatNumber },
      lines: linesOf(({ throughput, duration }) => steps(throughput[key], throughput.width, duration)),
      caption: `${CREDITED[key]}; bins of ${runs.map(({ charts }) => formatSeconds(charts.throughput.width)).join(', ')}`,
    }),
  );
  const concurrency = chart({
    ...{ id: 'concurrency', title: 'Requests in flight', kind: 'steps', ...shaded },
    ...{ xLabel: TIME, yLabel: 'requests', formatX: formatMoment, formatY: formatNumber },
    lines: linesOf(({ concurrency }) => concurrency),
    caption: thinned(
      runs.map(({ charts }) => charts.concurrency),
      'lowest and highest of each short stretch',
    ),
  });
  const all = [...distributions, ...clouds, ...rates, concurrency];
  const toggleRun = (run: number, isShown: boolean) => {
    for (const each of all) each.setShown(run, isShown);
  };
  const labels = runs.map(({ label }) => label);
  const timeline = new TimelineChart(
    runs.map(({ label, charts }) => ({ label, ...charts, steadyState: charts.steadyState })),
  );
  return [
    ...(runs.length > 1 ? [element('nav', { class: 'runs' }, legend('Runs', labels, toggleRun))] : []),
    section('Latency distributions', logToggle(distributions, 'x', 'Logarithmic latency'), grid(distributions)),
    section('Latency over time', logToggle(clouds, 'y', 'Logarithmic latency'), grid(clouds)),
    section('Throughput and concurrency over time', ...bandNote(band), grid([...rates, concurrency])),
    section('Requests', timeline.element),
  ];
}

const CREDITED = {
  output: 'Tokens when they came',
  input: 'Prompt tokens when the first token came',
  requests: 'Requests when they ended',
};

const chart = (settings: ChartSettings): Chart => new Chart(settings);

export function grid(charts: readonly Chart[]): HTMLElement {
  return element('div', { class: 'grid' }, ...charts.map((each) => each.element));
}

export function logToggle(charts: readonly Chart[], axis: LogAxis, label: string): HTMLElement {
  const box = checkbox(label, false, (isLog) => {
    for (const each of charts) each.setLog(axis, isLog);
  });
  return element('div', { class: 'toolbar' }, box, element('span', {}, 'Drag to zoom, double-click for all.'));
}

/** Rates as steps over their bins, back to 0 at the end. */
function steps(rates: readonly number[], width: number, duration: number): Points {
  const x = [...rates.map((_, bin) => bin * width), duration];
  return { x, y: [...rates, 0], total: x.length };
}

function thinned(points: readonly Points[], how: string): string {
  const notes = points
    .filter(({ x, total }) => x.length < total)
    .map(({ x, total }) => `${x.length.toLocaleString('en-US')} of ${total.toLocaleString('en-US')} points`);
  return notes.length === 0 ? '' : `${notes.join('; ')}: ${how}`;
}

function bandNote(band: readonly [number, number] | undefined): Node[] {
  if (band === undefined) return [];
  const text = `Shaded: the steady state, from ${formatMoment(band[0])} to ${formatMoment(band[1])}.`;
  return [element('p', { class: 'note' }, text)];
}
