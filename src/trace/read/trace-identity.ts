// What a trace file says about itself: which profile, stage and rank it is, on which clock. Read from inside the file
// first, from its name where the file does not say.
import { basename } from 'node:path';
import type { TraceRanks } from '../trace-event.js';
import { isFileNamePart, parseTraceFileName } from '../trace-file-name.js';

export interface TraceIdentity {
  readonly profileId: string | undefined;
  readonly stage: string | undefined;
  readonly ranks: TraceRanks;
  /** Kineto's global rank, where that is all there is. */
  readonly globalRank: number | undefined;
  /** `baseTimeNanoseconds`; undefined: times are relative to something unknown. */
  readonly baseNs: bigint | undefined;
  readonly hostId: string;
  readonly monotonicToWallNs: bigint | undefined;
  readonly clockOffsetNs: bigint;
  readonly sharedFlowCategories: readonly string[];
  /** What is not in the file, and why. */
  readonly warnings: readonly string[];
  readonly droppedRecords: number;
  readonly dropped: Readonly<Record<string, number>>;
}

type Json = Readonly<Record<string, unknown>>;

const asObject = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
const asText = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
const asTexts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
/** What would become part of a file name; anything else is taken for missing. */
const asPart = (value: unknown): string | undefined =>
  typeof value === 'string' && isFileNamePart(value) ? value : undefined;

/** Numbers may come in quotes. */
function asCount(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

function asInteger(value: unknown): bigint | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  return typeof text === 'string' && /^-?\d{1,30}$/.test(text) ? BigInt(text) : undefined;
}

function ranksOf(source: Json, name: (axis: string) => string): TraceRanks {
  const ranks: { -readonly [axis in keyof TraceRanks]: number } = {};
  for (const axis of ['tp', 'dp', 'pp', 'ep'] as const) {
    const rank = asCount(source[name(axis)]);
    if (rank !== undefined) ranks[axis] = rank;
  }
  return ranks;
}

/** `members`: the file's top-level members as JSON text; empty where the file could not be read. */
export function identifyTrace(path: string, members: ReadonlyMap<string, string>, profileId?: string): TraceIdentity {
  const parsed = (key: string): unknown => JSON.parse(members.get(key) ?? 'null');
  const own = asObject(parsed('vitrine'));
  const distributed = asObject(parsed('distributedInfo'));
  const named = parseTraceFileName(basename(path), profileId) ?? parseTraceFileName(basename(path));
  const inside = { ...ranksOf(distributed, (axis) => `${axis}_rank`), ...ranksOf(asObject(own.ranks), (axis) => axis) };
  const dropped = Object.entries(asObject(own.dropped)).map(([reason, count]): [string, number] => [
    reason,
    asCount(count) ?? 0,
  ]);
  return {
    profileId: asPart(own.profileId) ?? named?.profileId,
    stage: asPart(own.stage) ?? named?.stage,
    ranks: Object.keys(inside).length > 0 ? inside : (named?.ranks ?? {}),
    globalRank: asCount(distributed.rank),
    // As text: the number exceeds 2^53.
    baseNs: asInteger(members.get('baseTimeNanoseconds')?.replaceAll('"', '')),
    hostId: asText(own.hostId) ?? '',
    monotonicToWallNs: asInteger(own.monotonicToWallNs),
    clockOffsetNs: asInteger(own.clockOffsetNs) ?? 0n,
    sharedFlowCategories: asTexts(own.sharedFlowCategories),
    warnings: asTexts(own.warnings),
    droppedRecords: asCount(own.droppedRecords) ?? 0,
    dropped: Object.fromEntries(dropped.filter(([, count]) => count > 0)),
  };
}

/** `[TP00-DP01-PP00-EP00]` with the axes that are known; as SGLang, and `[Rank03]` where only a global rank is. */
export function rankLabel({ ranks, globalRank }: Pick<TraceIdentity, 'ranks' | 'globalRank'>): string {
  const axes = (['tp', 'dp', 'pp', 'ep'] as const)
    .filter((axis) => ranks[axis] !== undefined)
    .map((axis) => `${axis.toUpperCase()}${String(ranks[axis]).padStart(2, '0')}`);
  if (axes.length > 0) return `[${axes.join('-')}]`;
  return globalRank === undefined ? '[Unknown]' : `[Rank${String(globalRank).padStart(2, '0')}]`;
}

/** Order of files in a merged trace: by dp, ep, pp, tp, then global rank. */
export function compareRanks(a: TraceIdentity, b: TraceIdentity): number {
  for (const axis of ['dp', 'ep', 'pp', 'tp'] as const) {
    const order = (a.ranks[axis] ?? 0) - (b.ranks[axis] ?? 0);
    if (order !== 0) return order;
  }
  return (a.globalRank ?? 0) - (b.globalRank ?? 0);
}

/** Sort index of a process of a rank: GPU tracks keep together by rank (only pids below 1000 are rewritten). */
export function rankSortIndex(pid: number, { ranks, globalRank }: Pick<TraceIdentity, 'ranks' | 'globalRank'>): number {
  const tp = ranks.tp ?? (Object.keys(ranks).length === 0 ? (globalRank ?? 0) : 0);
  return pid + 100 * tp + 10_000 * (ranks.pp ?? 0) + 1_000_000 * (ranks.ep ?? 0) + 100_000_000 * (ranks.dp ?? 0);
}
