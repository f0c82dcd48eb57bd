// What a producer of span records (a JavaScript thread, the native engine) tells the trace writer about itself.
import type { SpanTables } from '../../native/addon.js';

export interface SpanThread {
  /** `tid` in the trace: the kernel's thread id where there is one. Unique in its process. */
  readonly tid: number;
  readonly name: string;
  readonly sortIndex: number;
}

/** One process of the trace. Several sources may belong to one process. */
export interface SpanProcess {
  readonly pid: number;
  readonly name: string;
  readonly labels?: string;
  readonly sortIndex: number;
}

/** What the numbers in a source's records stand for. */
export interface SourceTables {
  readonly names: readonly string[];
  readonly threads: readonly SpanThread[];
}

export const NO_TABLES: SourceTables = { names: [], threads: [] };

/** Tables of a native engine, whose threads get sort indices from `sortIndex` on. */
export function engineTables({ names, threads }: SpanTables, sortIndex: number): SourceTables {
  return { names, threads: threads.map(({ tid, name }, index) => ({ tid, name, sortIndex: sortIndex + index })) };
}

/**
 * Records of one source, in the layout of span-layout.ts, with what its tables gained since the chunk before: ids and
 * indices follow on. Of a source whose tables are complete: `{ records, ...NO_TABLES }`.
 */
export interface SpanChunk extends SourceTables {
  /** The receiver copies what it wants to keep: the bytes may be the producer's own, and change with its next chunk. */
  readonly records: Uint8Array;
}
