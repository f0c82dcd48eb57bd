// Merges the trace files of the ranks of a profile into one per stage: streaming, in bounded memory, files of damaged
// ranks left out whole. Runs wherever it is called; see merge-in-background.ts.
import { dirname, join, resolve } from 'node:path';
import type { VitrineError } from '../../util/errors.js';
import { scanTraceFile } from '../read/read-trace.js';
import { compareRanks, rankLabel, rankSortIndex, type TraceIdentity } from '../read/trace-identity.js';
import { TraceDamage, TraceScanner } from '../read/trace-scanner.js';
import { quoteJson } from '../trace-event.js';
import { mergedFileName } from '../trace-file-name.js';
import { GzipFile } from '../write/gzip-file.js';
import { EventRewriter, IdSpace, REWRITTEN_FIELDS } from './event-rewriter.js';
import {
  type InspectedTrace,
  inspectTraces,
  invalidTrace,
  type MergeTracesOptions,
  type TraceGroup,
} from './inspect-traces.js';

export interface MergedSource {
  readonly path: string;
  /** `[TP00-DP01]`: what its processes are called in the merged file. */
  readonly label: string;
  readonly events: number;
}

export interface SkippedSource {
  readonly path: string;
  /** A sentence without its subject: "it is cut off after 12 events". */
  readonly reason: string;
}

/** One merged file. */
export interface MergeResult {
  readonly output: string;
  readonly profileId: string | undefined;
  readonly stage: string | undefined;
  readonly events: number;
  readonly sources: readonly MergedSource[];
  readonly skipped: readonly SkippedSource[];
  readonly devices: number;
  /** Size of the merged file, and of the text in it. */
  readonly fileBytes: number;
  readonly textBytes: number;
  /** What was put right on the way, e.g. events that were not UTF-8. */
  readonly warnings: readonly string[];
}

/** Members of a source that the merged file has of its own. */
const OWN_MEMBERS = new Set(['deviceProperties', 'traceName', 'vitrine', 'baseTimeNanoseconds']);
const VERSION = 1;

const skippedOf = ({ path, damage }: InspectedTrace): SkippedSource[] =>
  damage === undefined ? [] : [{ path, reason: damage }];

function nothingLeft(skipped: readonly SkippedSource[]): VitrineError {
  const reasons = skipped.map(({ path, reason }) => `${path}: ${reason}`).join('; ');
  return invalidTrace(`No trace file could be merged. ${reasons}.`);
}

/** One merged file of one profile and stage. */
class TraceMerge {
  readonly #files: readonly InspectedTrace[];
  readonly #profileId: string | undefined;
  readonly #stage: string | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #output: GzipFile;
  readonly #ids = new IdSpace();
  readonly #sources: MergedSource[] = [];
  readonly #skipped: SkippedSource[];
  readonly #warnings: string[] = [];
  readonly #merged: InspectedTrace[] = [];
  #events = 0;

  constructor(
    { files, profileId, stage, path }: TraceGroup & { readonly path: string },
    signal: AbortSignal | undefined,
  ) {
    this.#skipped = files.flatMap(skippedOf);
    this.#files = files
      .filter(({ damage }) => damage === undefined)
      .sort((a, b) => compareRanks(a.identity, b.identity));
    this.#profileId = profileId;
    this.#stage = stage;
    this.#signal = signal;
    this.#output = new GzipFile(path);
  }

  async run(): Promise<MergeResult> {
    try {
      const devices = this.#writeHead();
      for (const file of this.#files) await this.#add(file);
      if (this.#sources.length === 0) throw nothingLeft(this.#skipped);
      this.#writeTail();
      this.#output.commit();
      return {
        output: this.#output.path,
        profileId: this.#profileId,
        stage: this.#stage,
        events: this.#events,
        sources: this.#sources,
        skipped: this.#skipped,
        devices,
        fileBytes: this.#output.fileBytes,
        textBytes: this.#output.textBytes,
        warnings: this.#warnings,
      };
    } catch (error) {
      this.#output.discard();
      throw error;
    }
  }

  get #baseNs(): bigint {
    return this.#files.find(({ identity }) => identity.baseNs !== undefined)?.identity.baseNs ?? 0n;
  }

  /** Everything but the events and what is only known after them. Returns the number of devices. */
  #writeHead(): number {
    const devices = this.#files.flatMap(({ members }) => {
      const list = JSON.parse(members.get('deviceProperties') ?? '[]') as unknown;
      return Array.isArray(list) ? list : [];
    });
    const members = new Map<string, string>();
    for (const file of this.#files) {
      for (const [key, text] of file.members) if (!members.has(key) && !OWN_MEMBERS.has(key)) members.set(key, text);
    }
    members.set('schemaVersion', members.get('schemaVersion') ?? '1');
    this.#output.write(`{"deviceProperties":${JSON.stringify(devices)}`);
    for (const [key, text] of members) this.#output.write(`,\n${quoteJson(key)}:${text}`);
    this.#output.write(`,\n"baseTimeNanoseconds":${this.#baseNs},\n"traceEvents":[`);
    return devices.length;
  }

  /** All of a file's events, or none. */
  async #add(file: InspectedTrace): Promise<void> {
    const { path, identity } = file;
    const mark = this.#output.mark();
    const label = this.#label(identity);
    try {
      const number = this.#sources.length;
      this.#ids.startFile(number);
      const rewriter = new EventRewriter({
        output: this.#output,
        ids: this.#ids,
        file: number,
        label,
        sortIndex: (pid) => rankSortIndex(pid, identity),
        shiftNs: this.#shiftNs(file),
        sharedCategories: identity.sharedFlowCategories,
        first: this.#events === 0,
      });
      const scanner = new TraceScanner(
        { event: (fields) => rewriter.write(fields), member: () => {} },
        REWRITTEN_FIELDS,
      );
      await scanTraceFile(path, scanner, this.#signal);
      if (scanner.repaired > 0)
        this.#warnings.push(`${path}: ${scanner.repaired} events were not UTF-8 and were repaired`);
      this.#events += scanner.events;
      this.#sources.push({ path, label, events: scanner.events });
      this.#merged.push(file);
    } catch (error) {
      if (!(error instanceof TraceDamage)) throw error;
      // Changed since it was inspected, or over a limit.
      this.#output.rollback(mark);
      this.#skipped.push({ path, reason: error.message });
    }
  }

  /** Two files of the same rank keep apart: equal process labels would mix their threads. */
  #label(identity: TraceIdentity): string {
    const label = rankLabel(identity);
    const taken = new Set(this.#sources.map((source) => source.label));
    let unique = label;
    for (let copy = 2; taken.has(unique); copy++) unique = label.replace(']', ` #${copy}]`);
    return unique;
  }

  /**
   * Brings a file's times onto the base and clock of the merged file. Files of one host share CLOCK_MONOTONIC, so their
   * wall clocks (read at different moments) are replaced by that of the host's first file; `clockOffsetNs` then takes
   * each host's clock to the reference host's.
   */
  #shiftNs({ path, identity }: InspectedTrace): number {
    const { hostId, monotonicToWallNs, clockOffsetNs, baseNs } = identity;
    let shift = clockOffsetNs;
    if (baseNs === undefined) this.#warnings.push(`${path}: no baseTimeNanoseconds, its times are taken as they are`);
    else shift += baseNs - this.#baseNs;
    if (hostId !== '' && monotonicToWallNs !== undefined) {
      const first = this.#files.find(
        (file) => file.identity.hostId === hostId && file.identity.monotonicToWallNs !== undefined,
      );
      shift += (first?.identity.monotonicToWallNs ?? monotonicToWallNs) - monotonicToWallNs;
    }
    return Number(shift);
  }

  #writeTail(): void {
    const dropped: Record<string, number> = {};
    for (const { identity } of this.#merged) {
      for (const [reason, count] of Object.entries(identity.dropped)) dropped[reason] = (dropped[reason] ?? 0) + count;
    }
    const own = {
      version: VERSION,
      merged: true,
      ...(this.#profileId === undefined ? {} : { profileId: this.#profileId }),
      ...(this.#stage === undefined ? {} : { stage: this.#stage }),
      sources: this.#sources,
      skipped: this.#skipped,
      droppedRecords: this.#merged.reduce((sum, { identity }) => sum + identity.droppedRecords, 0),
      dropped,
    };
    this.#output.write(`\n],\n"vitrine":${JSON.stringify(own)},\n"traceName":${quoteJson(this.#output.path)}}\n`);
  }
}

/**
 * Merges trace files: one merged file for each profile and stage among them. Source files stay.
 *
 * A damaged file (cut off, corrupt, no JSON, no trace) is left out whole, none of its events appear, and it is named in
 * `skipped`. Rejects with VitrineError TRACE_INVALID where nothing is left to merge or the request makes no sense, and
 * TRACE_NOT_WRITTEN where the output cannot be written; no partial output is left.
 */
export async function mergeTraces(options: MergeTracesOptions): Promise<MergeResult[]> {
  const { paths, groups } = await inspectTraces(options);
  // Files of which nothing could be read are reported with the first merged file, and make no file of their own.
  const isLost = ({ files }: TraceGroup) => files.every(({ damage }) => damage !== undefined);
  const sound = groups.filter((group) => !isLost(group));
  const lost = groups.filter(isLost).flatMap(({ files }) => files);
  if (sound.length === 0) throw nothingLeft(lost.flatMap(skippedOf));
  if (options.output !== undefined && sound.length > 1) {
    const names = sound.map(({ profileId, stage }) => [profileId ?? 'unknown', stage].join(' ').trim());
    throw invalidTrace(
      `The files are of several profiles or stages (${names.join(', ')}), which are merged into a file each: leave out the output, or name the files of one.`,
      'output',
    );
  }
  const targets = sound.map((group) => ({ ...group, path: options.output ?? defaultOutput(group) }));
  for (const { path } of targets) {
    if (paths.some((input) => resolve(input) === resolve(path))) {
      throw invalidTrace(`The output ${path} is one of the files to merge.`, 'output');
    }
  }
  const results: MergeResult[] = [];
  for (const target of targets) {
    results.push(
      await new TraceMerge({ ...target, files: [...target.files, ...lost.splice(0)] }, options.signal).run(),
    );
  }
  return results;
}

function defaultOutput({ profileId, stage, files }: TraceGroup): string {
  const { path } = files[0]!;
  if (profileId !== undefined) return join(dirname(path), mergedFileName(profileId, stage));
  throw invalidTrace(`${path} does not say of which profile it is: give a profile id or an output.`, 'profile_id');
}
