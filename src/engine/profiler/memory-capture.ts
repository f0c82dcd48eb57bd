// The memory side of a profile's window: samples after its steps, and the snapshot file at its end. Runs on the JavaScript
// thread of the rank.
import type { MemoryInfo } from '../../native/addon.js';
import {
  heapState,
  type MemoryFileOptions,
  type MemorySnapshot,
  MemoryTimeline,
  sampleProcessMemory,
} from '../../trace/write/memory-snapshot.js';
import type { TraceFileInfo } from '../../trace/write/trace-document.js';
import { monotonicNs } from '../../util/clock.js';
import type { LoadGauges } from './rank-tracer.js';

/** 80 bytes each; longer profiles keep every n-th. */
const CAPACITY = 4096;
/** Asking the process costs some ten microseconds. */
const PROCESS_INTERVAL_NS = 10e6;

export class MemoryCapture {
  readonly #timeline = new MemoryTimeline({ capacity: CAPACITY });
  #process = sampleProcessMemory();
  #processAt = 0;

  /** State after a step. */
  sample(load: LoadGauges): void {
    const ns = Number(monotonicNs());
    if (ns - this.#processAt >= PROCESS_INTERVAL_NS) {
      this.#process = sampleProcessMemory();
      this.#processAt = ns;
    }
    this.#timeline.add({ ns, ...load, ...this.#process });
  }

  /** Error: TRACE_NOT_WRITTEN. */
  write(
    file: Omit<MemoryFileOptions, 'snapshot'>,
    memory: MemoryInfo,
    load: LoadGauges,
    blockSize: number,
  ): Promise<TraceFileInfo> {
    return this.#timeline.write({ ...file, snapshot: snapshotOf(memory, load, blockSize) });
  }
}

function snapshotOf(memory: MemoryInfo, load: LoadGauges, blockSize: number): MemorySnapshot {
  const { weightBytes, kvCacheBytes, workspaceBytes, kvBytesPerToken, residentBytes, availableBytes } = memory;
  const blocks = {
    free: load.freeTokens / blockSize,
    cached: load.cachedTokens / blockSize,
    held: load.usedTokens / blockSize,
  };
  return {
    ...{ weightBytes, kvCacheBytes, workspaceBytes, kvBytesPerToken, blockSize, blocks },
    totalBlocks: blocks.free + blocks.cached + blocks.held,
    ...{ residentBytes, availableBytes, heap: heapState() },
  };
}
