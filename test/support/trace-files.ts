// Makes trace files for tests: by the product's writer, or by hand.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { TraceWriterOptions } from '#vitrine/trace/write/trace-writer.js';

/** Options of a trace writer for `path`; wall clock = CLOCK_MONOTONIC + 1.75e18 ns. */
export function writerOptions(path: string, changes: Partial<TraceWriterOptions> = {}): TraceWriterOptions {
  return {
    path,
    deviceProperties: [{ id: 0, name: 'test cpu' }],
    distributedInfo: { backend: 'shm', rank: 0, world_size: 1 },
    metadata: { with_stack: 0, record_shapes: 1 },
    vitrine: {
      version: '0.0.0',
      profileId: '1769071195.5',
      ranks: { tp: 0 },
      hostId: 'host-a',
      monotonicToWallNs: '1750000000000000000',
    },
    recordShapes: true,
    maxFileBytes: 1 << 30,
    maxPendingBytes: 1 << 30,
    ...changes,
  };
}

/** Writes any object, or text, as a trace file; returns its path. */
export function writeTraceFile(directory: string, name: string, trace: unknown): string {
  const path = join(directory, name);
  const text = typeof trace === 'string' ? trace : JSON.stringify(trace);
  writeFileSync(path, name.endsWith('.gz') ? gzipSync(text) : text);
  return path;
}
