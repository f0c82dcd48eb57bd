// What the trace writer and its thread say to each other.
import type { ErrorCode } from '../../util/errors.js';
import type { CpuProfile } from '../record/cpu-profile.js';
import type { SourceTables, SpanChunk, SpanProcess, SpanThread } from '../record/span-source.js';
import type { TraceDocumentOptions, TraceFileInfo } from './trace-document.js';

export type ToTraceWriter =
  | { readonly kind: 'open'; readonly options: TraceDocumentOptions }
  | { readonly kind: 'source'; readonly process: SpanProcess; readonly tables: SourceTables }
  | { readonly kind: 'chunk'; readonly source: number; readonly chunk: SpanChunk }
  | { readonly kind: 'cpu-profile'; readonly pid: number; readonly thread: SpanThread; readonly profile: CpuProfile }
  | { readonly kind: 'dropped'; readonly reason: string; readonly count: number }
  | { readonly kind: 'finish'; readonly warnings: readonly string[] }
  | { readonly kind: 'discard' };

export type FromTraceWriter =
  /** `spares`: buffers to begin with. */
  | { readonly kind: 'opened'; readonly spares: readonly SharedArrayBuffer[] }
  /** A chunk was taken in; the file has now this many bytes. `spare`: its buffer, which nobody reads any more. */
  | {
      readonly kind: 'taken';
      readonly recordBytes: number;
      readonly fileBytes: number;
      readonly spare: SharedArrayBuffer | null;
    }
  | { readonly kind: 'finished'; readonly info: TraceFileInfo }
  | { readonly kind: 'discarded' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly param: string | undefined };
