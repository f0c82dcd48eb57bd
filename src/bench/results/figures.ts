// What a row of a result file says of itself.

export type ResultRow = Readonly<Record<string, unknown>>;

/** Value of `key`, which may name a member of a member: `steady_state.output_throughput`. */
export function readKey(row: ResultRow, key: string): unknown {
  return key.split('.').reduce<unknown>((value, name) => (value as ResultRow | null | undefined)?.[name], row);
}

/** The figures that `rows` have under `key`. */
export function readFigures(rows: readonly ResultRow[], key: string): number[] {
  return rows.map((row) => readKey(row, key)).filter((value) => typeof value === 'number');
}

/**
 * Whether every request of the workload, with all its turns, has ended by itself: a run that was cut short is like no
 * other.
 */
export function isWhole(row: ResultRow): boolean {
  const ended = Number(row.completed) + Number(row.failed);
  return !(Number(row.interrupted) > 0 || ended < Number(row.num_turns ?? row.num_prompts));
}
