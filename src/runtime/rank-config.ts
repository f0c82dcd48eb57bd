// The first frame that a rank process gets: all it needs to know.
import type { SchedulerOptions } from '../config/tables/scheduler-options.js';
import type { LogLevel } from '../util/log.js';

export interface RankConfig {
  readonly kind: 'rank-config';
  readonly options: SchedulerOptions;
  readonly logLevel: LogLevel;
}

/** File descriptor of the rank's end of the pipe to the front end. */
export const RANK_CHANNEL_FD = 3;
