// What a producer of span records (a JavaScript thread, the native engine) tells the trace writer about itself.

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

/** Records of one source, in the layout of span-layout.ts, with what its tables gained since the chunk before. */
export interface SpanChunk {
  readonly records: ArrayBuffer;
  /** Ids follow those of the chunks before. */
  readonly names: readonly string[];
  /** Indices follow those of the chunks before. */
  readonly threads: readonly SpanThread[];
}
