// Reads the buffers of forward-batch-layout: header words and sections as typed-array views. No copies.
import { VitrineError } from '../util/errors.js';
import { DIRECTORY_START, HEADER_WORDS, LAYOUT_VERSION, type SectionSpec } from './forward-batch-layout.js';

/** The tables of one kind of buffer. */
export interface BufferLayout<Word extends string, Name extends string> {
  readonly what: string;
  readonly magic: number;
  readonly header: readonly Word[];
  readonly sections: readonly (SectionSpec & { readonly name: Name })[];
}

export class SectionReader<Word extends string, Name extends string> {
  readonly #words: Int32Array;
  readonly #floats: Float32Array;
  readonly #headerIndex: Record<Word, number>;
  readonly #directory: Record<Name, number>;

  private constructor(buffer: ArrayBuffer, headerIndex: Record<Word, number>, directory: Record<Name, number>) {
    this.#words = new Int32Array(buffer);
    this.#floats = new Float32Array(buffer);
    this.#headerIndex = headerIndex;
    this.#directory = directory;
  }

  /** A function that opens buffers of one layout. It throws INTERNAL for a buffer of another kind or version. */
  static of<Word extends string, Name extends string>(layout: BufferLayout<Word, Name>) {
    const headerIndex = Object.fromEntries(layout.header.map((name, i) => [name, i])) as Record<Word, number>;
    const directory = Object.fromEntries(
      layout.sections.map(({ name }, i) => [name, DIRECTORY_START + 2 * i]),
    ) as Record<Name, number>;
    return (buffer: ArrayBuffer): SectionReader<Word, Name> => {
      if (buffer.byteLength % 4 !== 0 || buffer.byteLength < 4 * HEADER_WORDS) {
        throw new VitrineError('INTERNAL', `Not a ${layout.what}: ${buffer.byteLength} bytes`);
      }
      const reader = new SectionReader(buffer, headerIndex, directory);
      const [magic, version] = [reader.#words[0], reader.#words[1]];
      if (magic !== layout.magic || version !== LAYOUT_VERSION) {
        throw new VitrineError('INTERNAL', `Not a ${layout.what}: magic ${magic}, version ${version}`);
      }
      return reader;
    };
  }

  header(name: Word): number {
    return this.#words[this.#headerIndex[name]]!;
  }

  ints(name: Name): Int32Array {
    const at = this.#directory[name];
    const start = this.#words[at]!;
    return this.#words.subarray(start, start + this.#words[at + 1]!);
  }

  floats(name: Name): Float32Array {
    const at = this.#directory[name];
    const start = this.#words[at]!;
    return this.#floats.subarray(start, start + this.#words[at + 1]!);
  }

  /** Entries [start[row], start[row + 1]) of a CSR section. */
  intRow(start: Name, values: Name, row: number): Int32Array {
    const bounds = this.ints(start);
    return this.ints(values).subarray(bounds[row], bounds[row + 1]);
  }

  floatRow(start: Name, values: Name, row: number): Float32Array {
    const bounds = this.ints(start);
    return this.floats(values).subarray(bounds[row], bounds[row + 1]);
  }
}
