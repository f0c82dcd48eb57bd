// Scheduler options with their defaults, for tests; what a step holds does not depend on how long steps take.
import { SCHEDULER_OPTIONS, type SchedulerOptions } from '#vitrine/config/tables/scheduler-options.js';

export function schedulerOptions(overrides: Partial<SchedulerOptions> = {}): SchedulerOptions {
  const rows: readonly { readonly key: string; readonly default?: unknown }[] = SCHEDULER_OPTIONS;
  const defaults = Object.fromEntries(rows.map((row) => [row.key, row.default]));
  return { ...(defaults as unknown as SchedulerOptions), modelPath: 'test', mixedStepStretch: 0, ...overrides };
}
