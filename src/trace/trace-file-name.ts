// Names of the files of a profile: traces are
//   [{prefix}-]{profile_id}-TP-{tp}[-DP-{dp}][-PP-{pp}][-EP-{ep}][-EXTEND|-DECODE].trace.json.gz
// and memory snapshots the same with -memory[-EXTEND|-DECODE].json.gz.
import { VitrineError } from '../util/errors.js';
import type { TraceRanks } from './trace-event.js';

export const TRACE_SUFFIX = '.trace.json.gz';

export interface TraceName {
  readonly prefix?: string | undefined;
  readonly profileId: string;
  readonly ranks: TraceRanks;
  /** EXTEND or DECODE in files by stage; `prefill` and `decode` are read too (SGLang's second profiler). */
  readonly stage?: string | undefined;
}

const NAME =
  /^(.+)-TP-(\d+)(?:-DP-(\d+))?(?:-PP-(\d+))?(?:-EP-(\d+))?(?:-(EXTEND|DECODE|prefill|decode))?\.trace\.json(?:\.gz)?$/;
/** Letters, digits and a few marks; what a shell, a URL and every file system take without quoting. */
const SAFE = /^[A-Za-z0-9_][A-Za-z0-9_.+=@-]*$/;
const MAX_PART = 128;

export const isFileNamePart = (text: string): boolean => text.length <= MAX_PART && SAFE.test(text);

function checkPart(part: string, param: string): string {
  if (isFileNamePart(part)) return part;
  throw new VitrineError(
    'INVALID_REQUEST',
    `${param} becomes part of a file name: it must be 1 to ${MAX_PART} letters, digits or _ . + = @ -, not starting with a mark; got ${JSON.stringify(part.slice(0, 2 * MAX_PART))}.`,
    { param },
  );
}

const stageSuffix = (stage: string | undefined) => (stage === undefined ? '' : `-${checkPart(stage, 'stage')}`);

/** Prefix, id and ranks. An axis of parallelism is named when `ranks` has it; TP always. */
function rankStem({ prefix, profileId, ranks }: TraceName): string {
  const axes = (['dp', 'pp', 'ep'] as const).filter((axis) => ranks[axis] !== undefined);
  return [
    prefix === undefined || prefix === '' ? '' : `${checkPart(prefix, 'profile_prefix')}-`,
    checkPart(profileId, 'profile_id'),
    `-TP-${ranks.tp ?? 0}`,
    ...axes.map((axis) => `-${axis.toUpperCase()}-${ranks[axis]}`),
  ].join('');
}

/** The name of one rank's trace. */
export function traceFileName(name: TraceName): string {
  return `${rankStem(name)}${stageSuffix(name.stage)}${TRACE_SUFFIX}`;
}

/** The name of one rank's memory snapshot; parseTraceFileName() does not take it for a trace. */
export function memoryFileName(name: TraceName): string {
  return `${rankStem(name)}-memory${stageSuffix(name.stage)}.json.gz`;
}

/** The name of the merged file of a profile and stage. */
export function mergedFileName(profileId: string, stage?: string): string {
  return `merged-${checkPart(profileId, 'profile_id')}${stageSuffix(stage)}${TRACE_SUFFIX}`;
}

/**
 * The parts of a rank file's name; undefined for any other file. Prefix and profile id may both hold dashes, so what
 * stands before `-TP-` is taken for the id as a whole unless it ends in `-` and a time stamp or the id given.
 */
export function parseTraceFileName(name: string, profileId?: string): TraceName | undefined {
  const match = NAME.exec(name);
  if (match === null || name.startsWith('merged-')) return undefined;
  const head = match[1]!;
  const ranks: { -readonly [axis in keyof TraceRanks]: number } = { tp: Number(match[2]) };
  if (match[3] !== undefined) ranks.dp = Number(match[3]);
  if (match[4] !== undefined) ranks.pp = Number(match[4]);
  if (match[5] !== undefined) ranks.ep = Number(match[5]);
  const rest = { ranks, stage: match[6] };
  if (profileId === undefined) {
    const stamped = /^(.+)-(\d+(?:\.\d+)?)$/.exec(head);
    return stamped === null ? { profileId: head, ...rest } : { prefix: stamped[1], profileId: stamped[2]!, ...rest };
  }
  if (head === profileId) return { profileId, ...rest };
  if (head.endsWith(`-${profileId}`)) return { prefix: head.slice(0, -profileId.length - 1), profileId, ...rest };
  return undefined;
}
