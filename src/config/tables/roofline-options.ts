// Options of the benches that say how far a run is from what the machine can do.
import type { Option } from '../option.js';

const ROOFLINE = 'Roofline';

export const ROOFLINE_OPTIONS = [
  {
    flag: 'roofline',
    key: 'roofline',
    type: 'flag',
    default: false,
    help: 'Count the bytes and operations of each phase and print its share of the machine’s limit.',
    group: ROOFLINE,
  },
  {
    flag: 'measure-limits',
    key: 'measureLimits',
    type: 'flag',
    default: false,
    help: 'With --roofline: measure the limits of this machine again, instead of taking those of the last time.',
    group: ROOFLINE,
  },
] as const satisfies readonly Option[];
