// What a report's page is given, as JSON: everything that it draws or prints, already thinned out. Times in seconds, from
// the start of the run where they are moments.

/** Points of a curve or cloud, by rising x. */
export interface Points {
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Points before thinning; x holds them all where it is as long. */
  readonly total: number;
}

export const LATENCIES = ['ttft', 'tpot', 'itl', 'e2e'] as const;
export type Latency = (typeof LATENCIES)[number];

/** Columns of the timeline, one entry a request in the order of sending. */
export interface Timeline {
  /** Of the request in the workload. */
  readonly index: readonly number[];
  /** Of its conversation: 0 for the first. */
  readonly turn: readonly number[];
  /** When it was due; equals `sent` where that is not known. */
  readonly due: readonly number[];
  readonly sent: readonly number[];
  /** First token; null where none came. */
  readonly first: readonly (number | null)[];
  readonly end: readonly number[];
  readonly promptLen: readonly number[];
  readonly outputLen: readonly number[];
  /** Position in `errors`, -1 for a success. */
  readonly error: readonly number[];
  readonly errors: readonly string[];
  /** Requests before thinning. */
  readonly total: number;
}

/** Rates over bins of equal width; bin i covers [i, i + 1) · width. */
export interface Throughput {
  readonly width: number;
  /** Tokens, tokens and requests per second. */
  readonly output: readonly number[];
  readonly input: readonly number[];
  readonly requests: readonly number[];
}

export interface ServingCharts {
  readonly duration: number;
  /** Share of requests (of gaps, for ITL) that took at most x seconds. */
  readonly cdf: Readonly<Record<Latency, Points>>;
  /** x: when the first token came; y: seconds from sending to it. */
  readonly ttft: Points;
  /** x: when the token came; y: seconds since the one before. */
  readonly itl: Points;
  readonly timeline: Timeline;
  readonly throughput: Throughput;
  /** Requests in flight from x to the next x. */
  readonly concurrency: Points;
  /** Window of the steady state. */
  readonly steadyState?: readonly [from: number, to: number];
}

export interface Card {
  readonly label: string;
  readonly value: string;
}

export interface ServingRun {
  readonly label: string;
  readonly cards: readonly Card[];
  readonly failures: readonly { readonly message: string; readonly count: number }[];
  /** Absent where the times of single requests are not known. */
  readonly charts?: ServingCharts;
}

/** A line of a sweep over batch sizes. */
export interface SweepLine {
  readonly label: string;
  readonly batchSize: readonly number[];
  readonly prefillLatency: readonly number[];
  readonly prefillThroughput: readonly number[];
  /** null where there was no decode step. */
  readonly decodeLatency: readonly (number | null)[];
  readonly decodeThroughput: readonly (number | null)[];
}

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  /** Cells by column; the first names the row. */
  readonly rows: readonly (readonly string[])[];
  readonly note?: string;
}

/** Names and values under a heading. */
export interface Facts {
  readonly title: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
}

export interface ReportData {
  readonly title: string;
  readonly runs: readonly ServingRun[];
  readonly sweep: readonly SweepLine[];
  readonly tables: readonly Table[];
  readonly about: readonly Facts[];
}
