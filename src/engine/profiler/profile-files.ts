// The files of a profile on one rank: their names, and what each says of the rank that wrote it.
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProfileRequest, ProfileStage } from '../../messages/profile.js';
import type { DeviceInfo, SpanTables } from '../../native/addon.js';
import type { SpanProcess } from '../../trace/record/span-source.js';
import { hostId, monotonicToWallNs } from '../../trace/trace-clock.js';
import type { TraceRanks } from '../../trace/trace-event.js';
import { memoryFileName, type TraceName, traceFileName } from '../../trace/trace-file-name.js';
import { notWritten } from '../../trace/write/gzip-file.js';
import { rankMetadata } from '../../trace/write/rank-metadata.js';
import type { TraceWriterThreads } from '../../trace/write/trace-writer-threads.js';
import { makeDirectory } from '../../util/make-directory.js';
import { packageVersion } from '../../util/package-version.js';
import { StepTrace } from './step-trace.js';

/** The rank that writes them. */
export interface RankIdentity {
  readonly ranks: TraceRanks;
  readonly devices: readonly DeviceInfo[];
}

/** The parts of a file's name. */
function fileName(
  { prefix, profileId }: ProfileRequest,
  { ranks }: RankIdentity,
  stage: ProfileStage | null,
): TraceName {
  return { prefix, profileId, ranks, ...(stage === null ? {} : { stage }) };
}

/** What a file says of its rank. */
export function describeRank(request: ProfileRequest, { ranks, devices }: RankIdentity, stage: ProfileStage | null) {
  const { profileId, withStack, recordShapes } = request;
  const { deviceProperties, distributedInfo, metadata } = rankMetadata({
    ...{ devices, rank: 0, worldSize: 1, backend: 'none', withStack, recordShapes },
  });
  return {
    ...{ deviceProperties, distributedInfo, metadata },
    vitrine: {
      ...{ version: packageVersion(), profileId, ranks, ...(stage === null ? {} : { stage }) },
      ...{ hostId: hostId(), monotonicToWallNs: String(monotonicToWallNs()) },
    },
  };
}

export function memoryPath(request: ProfileRequest, rank: RankIdentity, stage: ProfileStage | null): string {
  return join(request.outputDir, memoryFileName(fileName(request, rank, stage)));
}

/** Error: TRACE_NOT_WRITTEN. */
export function openTrace(
  request: ProfileRequest,
  rank: RankIdentity,
  stage: ProfileStage | null,
  engine: { readonly process: SpanProcess; readonly tables: SpanTables; readonly threads: TraceWriterThreads },
): Promise<StepTrace> {
  const { outputDir, activities, recordShapes, maxBytes } = request;
  const { metadata, ...description } = describeRank(request, rank, stage);
  return StepTrace.open({
    path: join(outputDir, traceFileName(fileName(request, rank, stage))),
    ...description,
    metadata: { ...metadata, activities },
    ...{ recordShapes, maxFileBytes: maxBytes, ...engine },
    withoutEngineSpans: !activities.includes('CPU'),
  });
}

/** As opening a file there would find out. Error: TRACE_NOT_WRITTEN. */
export async function checkWritable(directory: string): Promise<void> {
  try {
    await makeDirectory(directory);
    await access(directory, constants.W_OK);
  } catch (error) {
    throw notWritten(directory, error);
  }
}
