// Weights of a load plan, widened to float64. Reads the same bytes as the native loader, by other code.
import { readFile } from 'node:fs/promises';
import type { DType, LoadPlan, ParameterPlan, TensorPiece } from '#vitrine/native/addon.js';

/** Row-major [rows, cols] by parameter name. */
export type Weights = ReadonlyMap<string, Float64Array>;

export async function readWeights({ files, parameters }: LoadPlan): Promise<Weights> {
  const contents = await Promise.all(files.map(({ path }) => readFile(path)));
  return new Map(parameters.map((parameter) => [parameter.name, readParameter(parameter, contents)]));
}

function readParameter({ name, rows, cols, pieces }: ParameterPlan, contents: readonly Buffer[]): Float64Array {
  const values = new Float64Array(rows * cols);
  let at = 0;
  for (const piece of pieces) {
    const bytes = contents[piece.file];
    if (bytes === undefined) throw new Error(`${name}: ${piece.source} has no file (dummy weights have no reference)`);
    at = readPiece(bytes, piece, cols, values, at);
  }
  if (at !== values.length) throw new Error(`${name}: pieces hold ${at} of ${values.length} values`);
  return values;
}

function readPiece(bytes: Buffer, { offset, dtype, rows }: TensorPiece, cols: number, into: Float64Array, at: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, rows * cols * (dtype === 'float32' ? 4 : 2));
  for (let i = 0; i < rows * cols; i++) into[at + i] = readValue(view, i, dtype);
  return at + rows * cols;
}

function readValue(view: DataView, index: number, dtype: DType): number {
  if (dtype === 'float32') return view.getFloat32(4 * index, true);
  const bits = view.getUint16(2 * index, true);
  return dtype === 'float16' ? float16(bits) : bfloat16(bits);
}

function bfloat16(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, bits * 0x10000);
  return view.getFloat32(0);
}

function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
