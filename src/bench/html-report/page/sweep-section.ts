// The charts of a one-batch sweep: figures against batch size.
import { Chart } from './chart.js';
import { checkbox, element } from './dom.js';
import { formatNumber, formatSeconds } from './format.js';
import { legend } from './legend.js';
import type { SweepLine } from './report-data.js';
import { section } from './sections.js';
import { grid } from './serving-section.js';

const CHARTS = [
  ['prefillLatency', 'prefill-latency', 'Prefill latency', 'latency'],
  ['prefillThroughput', 'prefill-throughput', 'Prefill throughput', 'tokens/s'],
  ['decodeLatency', 'decode-latency', 'Median latency of a decode step', 'latency'],
  ['decodeThroughput', 'decode-throughput', 'Median decode throughput', 'tokens/s'],
] as const;

export function sweepSection(sweep: readonly SweepLine[]): HTMLElement {
  const charts = CHARTS.map(
    ([key, id, title, yLabel]) =>
      new Chart({
        ...{ id, title, kind: 'line', yLabel, xLabel: 'batch size', xLogBase: 2, dashed: true, formatX: formatNumber },
        formatY: yLabel === 'latency' ? formatSeconds : formatNumber,
        lines: sweep.map((line) => ({ label: line.label, x: line.batchSize, y: line[key] })),
      }),
  );
  const axis = (name: 'x' | 'y', label: string) =>
    checkbox(label, false, (isLog) => {
      for (const each of charts) each.setLog(name, isLog);
    });
  const lengths = legend(
    'Lengths (tokens)',
    sweep.map(({ label }) => label),
    (line, isShown) => {
      for (const each of charts) each.setShown(line, isShown);
    },
  );
  const axes = element(
    'div',
    { class: 'toolbar' },
    axis('x', 'Logarithmic batch size'),
    axis('y', 'Logarithmic figures'),
  );
  return section('Sweep over batch sizes', lengths, axes, grid(charts));
}
