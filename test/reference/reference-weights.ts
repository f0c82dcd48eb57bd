// Weights of a load plan, widened to float64, float8 as what its codes and scales stand for. Reads the same bytes as the
// native loader, by other code.
import { readFile } from 'node:fs/promises';
import type { LoadPlan, ParameterPlan, StoredDType, TensorPiece } from '#vitrine/native/addon.js';
import { dequantizedRow, float8Value } from './float8.js';

/** Row-major [rows, cols] by parameter name. */
export type Weights = ReadonlyMap<string, Float64Array>;

/** `isFloat8`: which parameters are held so; their rows are quantized unless they are stored so. */
export async function readWeights(
  { files, parameters }: LoadPlan,
  isFloat8: (parameter: string) => boolean,
): Promise<Weights> {
  const contents = await Promise.all(files.map(({ path }) => readFile(path)));
  return new Map(
    parameters.map((parameter) => [parameter.name, readParameter(parameter, contents, isFloat8(parameter.name))]),
  );
}

function readParameter(
  { name, rows, cols, pieces }: ParameterPlan,
  contents: readonly Buffer[],
  isFloat8: boolean,
): Float64Array {
  const values = new Float64Array(rows * cols);
  let at = 0;
  for (const piece of pieces) {
    const bytes = contents[piece.file];
    if (bytes === undefined) throw new Error(`${name}: ${piece.source} has no file (dummy weights have no reference)`);
    const first = at;
    at = readPiece(bytes, piece, cols, values, at);
    for (let row = first; isFloat8 && row < at; row += cols) {
      if (piece.scales === undefined) values.set(dequantizedRow(values.subarray(row, row + cols)), row);
      else scaleRow(values.subarray(row, row + cols), (row - first) / cols, piece.scales, contents);
    }
  }
  if (at !== values.length) throw new Error(`${name}: pieces hold ${at} of ${values.length} values`);
  return values;
}

function scaleRow(
  row: Float64Array,
  index: number,
  { file, offset, dtype, count }: NonNullable<TensorPiece['scales']>,
  contents: readonly Buffer[],
): void {
  const bytes = contents[file]!;
  const scale = readValue(new DataView(bytes.buffer, bytes.byteOffset + offset), count === 1 ? 0 : index, dtype);
  for (let i = 0; i < row.length; i++) row[i]! *= scale;
}

function readPiece(bytes: Buffer, { offset, dtype, rows }: TensorPiece, cols: number, into: Float64Array, at: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
  for (let i = 0; i < rows * cols; i++) into[at + i] = readValue(view, i, dtype);
  return at + rows * cols;
}

function readValue(view: DataView, index: number, dtype: StoredDType): number {
  if (dtype === 'float32') return view.getFloat32(4 * index, true);
  if (dtype === 'float8_e4m3fn') return float8Value(view.getUint8(index));
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
