// The first pass over files to merge: which files, are they sound, of which profile, stage and rank.
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { VitrineError } from '../../util/errors.js';
import { scanTraceFile } from '../read/read-trace.js';
import { identifyTrace, type TraceIdentity } from '../read/trace-identity.js';
import { TraceDamage, TraceScanner } from '../read/trace-scanner.js';
import { parseTraceFileName } from '../trace-file-name.js';
import { MEMORY_MEMBER, NO_RANK_TRACE } from '../write/memory-snapshot.js';

export interface MergeTracesOptions {
  /** Files, or one directory, whose rank files (all of them, or those of `profileId`) are merged. */
  readonly inputs: readonly string[];
  /** Only this profile's files of a directory; the id in the name of the output. Default: what the files say. */
  readonly profileId?: string;
  /** The merged file; only where there is one profile and stage. Default: `merged-{id}[-{stage}]…` beside the inputs. */
  readonly output?: string;
  readonly signal?: AbortSignal;
}

export interface InspectedTrace {
  readonly path: string;
  readonly identity: TraceIdentity;
  readonly members: ReadonlyMap<string, string>;
  /** Why the file is left out. */
  readonly damage: string | undefined;
}

export function invalidTrace(message: string, param?: string): VitrineError {
  return new VitrineError('TRACE_INVALID', message, param === undefined ? {} : { param });
}

async function listInputs({ inputs, profileId }: MergeTracesOptions): Promise<string[]> {
  const paths: string[] = [];
  for (const input of inputs) {
    let names: string[];
    try {
      names = await readdir(input);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A file, or a missing one, which is reported with the damaged.
      if (code !== 'ENOTDIR' && code !== 'ENOENT') {
        throw invalidTrace(`${input} cannot be read: ${(error as Error).message}.`, 'inputs');
      }
      paths.push(input);
      continue;
    }
    const ofProfile = names.filter((name) => parseTraceFileName(name, profileId) !== undefined).sort();
    if (ofProfile.length === 0) {
      throw invalidTrace(
        `${input} has no trace file of a rank${profileId === undefined ? '' : ` of profile ${profileId}`}: names must end in -TP-{rank}….trace.json.gz.`,
      );
    }
    paths.push(...ofProfile.map((name) => join(input, name)));
  }
  if (paths.length === 0) throw invalidTrace('No trace files were given to merge.');
  return [...new Map(paths.map((path) => [resolve(path), path])).values()];
}

/** Reads a whole file for its members and its soundness. */
async function inspect(
  path: string,
  profileId: string | undefined,
  signal: AbortSignal | undefined,
): Promise<InspectedTrace> {
  const members = new Map<string, string>();
  const scanner = new TraceScanner({ event: () => {}, member: (key, text) => members.set(key, text) }, []);
  let damage: string | undefined;
  try {
    await scanTraceFile(path, scanner, signal);
  } catch (error) {
    if (!(error instanceof TraceDamage)) throw error;
    damage = error.message;
  }
  if (damage === undefined && members.has(MEMORY_MEMBER)) damage = NO_RANK_TRACE;
  return { path, identity: identifyTrace(path, members, profileId), members, damage };
}

/** The traces of a profile and stage; either may be unknown. */
export interface TraceGroup {
  readonly profileId: string | undefined;
  readonly stage: string | undefined;
  readonly files: InspectedTrace[];
}

/** Reads all inputs once. Rejects with VitrineError TRACE_INVALID where there is none. */
export async function inspectTraces(options: MergeTracesOptions): Promise<{ paths: string[]; groups: TraceGroup[] }> {
  const paths = await listInputs(options);
  const groups = new Map<string, TraceGroup>();
  for (const path of paths) {
    const file = await inspect(path, options.profileId, options.signal);
    const profileId = options.profileId ?? file.identity.profileId;
    const { stage } = file.identity;
    const key = JSON.stringify([profileId, stage]);
    const group = groups.get(key);
    if (group) group.files.push(file);
    else groups.set(key, { profileId, stage, files: [file] });
  }
  return { paths, groups: [...groups.values()] };
}
