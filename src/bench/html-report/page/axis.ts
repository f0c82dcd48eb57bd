// The look of an axis, the same in every chart.
import { colour } from './theme.js';

const FONT = '12px system-ui, sans-serif';
export const X_AXIS_SIZE = 34;
export const Y_AXIS_SIZE = 64;

/** `size`: pixels for the values beside the axis. */
export function plotAxis(label: string, size: number, format: (value: number) => string): uPlot.Axis {
  return {
    ...{ label, size, labelSize: 20, labelFont: FONT, font: FONT },
    stroke: colour('--muted'),
    grid: { stroke: colour('--grid'), width: 1 },
    ticks: { stroke: colour('--grid'), width: 1, size: 4 },
    values: (_, splits) => splits.map(format),
  };
}
