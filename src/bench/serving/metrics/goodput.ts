// Goodput: requests per second that meet every objective of --goodput (Zhong et al., DistServe, OSDI 2024).
import { VitrineError } from '../../../util/errors.js';
import { isSuccess, type RequestRecord } from '../load/request-record.js';
import type { MetricsInput } from './metrics.js';
import { outputLength, timePerOutputToken } from './request-figures.js';

const NAMES = ['ttft', 'tpot', 'itl', 'e2e'] as const;
export type ObjectiveName = (typeof NAMES)[number];

/** Longest times in seconds, in the order in which they were given. */
export type Objectives = Readonly<Partial<Record<ObjectiveName, number>>>;

/** Names that others use. */
const ALIASES: ReadonlyMap<string, ObjectiveName> = new Map([
  ['e2el', 'e2e'],
  ['e2e_latency', 'e2e'],
]);

/** `ttft:200` … (milliseconds). @throws VitrineError INVALID_OPTION */
export function parseObjectives(texts: readonly string[]): Objectives {
  const objectives: Partial<Record<ObjectiveName, number>> = {};
  for (const text of texts) {
    const [word = '', value, ...rest] = text.split(':');
    const name = ALIASES.get(word) ?? NAMES.find((known) => known === word);
    if (value === undefined || rest.length > 0) refuse(text, 'name:milliseconds, as in ttft:200');
    if (name === undefined) refuse(text, `one of ${[...NAMES, ...ALIASES.keys()].join(', ')} before the colon`);
    const milliseconds = /^(\d+\.?\d*|\.\d+)$/.test(value) ? Number(value) : 0;
    if (!(milliseconds > 0 && Number.isFinite(milliseconds)))
      refuse(text, 'a number of milliseconds above 0 after the colon');
    if (objectives[name] !== undefined) refuse(text, `one objective for ${name}`);
    objectives[name] = milliseconds / 1000;
  }
  return objectives;
}

function refuse(text: string, expected: string): never {
  throw new VitrineError('INVALID_OPTION', `--goodput: expected ${expected}, got '${text}'`, { param: '--goodput' });
}

export interface Goodput {
  readonly objectives: Objectives;
  /** By position in the records: whether the request succeeded and met every objective. */
  readonly good: readonly boolean[];
  readonly goodRequests: number;
  /** Good requests per second. */
  readonly rate: number;
  /** Of the requests that ended by themselves, failed ones included: 0 … 1; 0 where there are none. */
  readonly share: number;
  /** The same share for each objective alone. */
  readonly attainment: Readonly<Partial<Record<ObjectiveName, number>>>;
}

/** `seconds`: what the rate is per; that of the run. */
export function computeGoodput(
  { records, retokenized }: Pick<MetricsInput, 'records' | 'retokenized'>,
  objectives: Objectives,
  seconds: number,
): Goodput {
  const names = NAMES.filter((name) => objectives[name] !== undefined);
  const ended = records.filter((record) => !record.interrupted).length;
  const meets = (position: number, name: ObjectiveName): boolean => {
    const record = records[position]!;
    return isSuccess(record) && worst(record, outputLength(record, retokenized[position]!), name) <= objectives[name]!;
  };
  const good = records.map((_, position) => names.every((name) => meets(position, name)));
  const goodRequests = good.filter(Boolean).length;
  const share = (count: number): number => (ended === 0 ? 0 : count / ended);
  const attained = names.map((name) => [name, share(records.filter((_, i) => meets(i, name)).length)] as const);
  return {
    objectives,
    good,
    goodRequests,
    rate: seconds > 0 ? goodRequests / seconds : 0,
    share: share(goodRequests),
    attainment: Object.fromEntries(attained),
  };
}

/** What is held against the objective, in seconds. */
function worst(record: RequestRecord, tokens: number, name: ObjectiveName): number {
  switch (name) {
    case 'ttft':
      // An answer without a token never kept the promise of a first one.
      return record.ttft ?? Number.POSITIVE_INFINITY;
    case 'tpot':
      // One token has no time after it that could be too long.
      return timePerOutputToken(record, tokens) ?? 0;
    case 'itl':
      return record.gaps.reduce((longest, gap) => Math.max(longest, gap), 0);
    case 'e2e':
      return record.endedAt - record.sentAt;
  }
}
