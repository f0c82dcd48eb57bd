// What the head of a rank's trace says of the machine and of the rank, under Kineto's keys.
import type { DeviceInfo } from '../../native/addon.js';
import type { DeviceProperties } from '../trace-event.js';
import type { TraceDocumentOptions } from './trace-document.js';

export interface RankDescription {
  readonly devices: readonly DeviceInfo[];
  /** Over all axes of parallelism. */
  readonly rank: number;
  readonly worldSize: number;
  /** How the ranks talk with each other. */
  readonly backend: string;
  readonly withStack: boolean;
  readonly recordShapes: boolean;
}

/** Kineto writes flags as 0 and 1. */
export function rankMetadata({
  devices,
  rank,
  worldSize,
  backend,
  withStack,
  recordShapes,
}: RankDescription): Required<Pick<TraceDocumentOptions, 'deviceProperties' | 'distributedInfo' | 'metadata'>> &
  Pick<TraceDocumentOptions, 'recordShapes'> {
  return {
    deviceProperties: devices.map(deviceProperties),
    distributedInfo: { backend, rank, world_size: worldSize },
    metadata: { with_stack: Number(withStack), record_shapes: Number(recordShapes) },
    recordShapes,
  };
}

function deviceProperties(device: DeviceInfo, id: number): DeviceProperties {
  const { kind, name, totalBytes: totalGlobalMem } = device;
  if (device.kind === 'cpu') return { id, kind, name, totalGlobalMem, threads: device.threads };
  const [computeMajor, computeMinor] = device.computeCapability.split('.').map(Number);
  return {
    id,
    kind,
    name,
    totalGlobalMem,
    computeMajor: computeMajor!,
    computeMinor: computeMinor!,
    numSms: device.multiprocessors,
  };
}
