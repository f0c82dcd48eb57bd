// Headers of safetensors files, checked field by field; no tensor data is read here.
// Format: https://huggingface.co/docs/safetensors (8-byte little-endian header length, JSON header, data).
import { type FileHandle, open } from 'node:fs/promises';
import { toError, VitrineError } from '../util/errors.js';
import { describeJson, isJsonObject } from '../util/read-json.js';

/** Bits per element of every dtype of the format. */
const DTYPE_BITS: Readonly<Record<string, number>> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
  C64: 64,
};

/** The reference implementation refuses larger headers too. */
const MAX_HEADER_BYTES = 100_000_000;

export interface StoredTensor {
  readonly name: string;
  /** As written in the file: F32, BF16, I64, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsFile {
  readonly path: string;
  /** Size of the whole file. */
  readonly bytes: number;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Reads and checks the header of one file. Errors are MODEL_INVALID and name the file and, where there is one, the tensor. */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsFile> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (thrown) {
    throw new VitrineError('MODEL_INVALID', `Cannot open ${path}: ${toError(thrown).message}`, { cause: thrown });
  }
  try {
    const { size } = await file.stat();
    const { header, dataStart } = await readHeader(file, path, size);
    return { path, bytes: size, tensors: parseTensors(path, header, dataStart, size) };
  } finally {
    await file.close();
  }
}

async function readHeader(
  file: FileHandle,
  path: string,
  size: number,
): Promise<{ header: string; dataStart: number }> {
  if (size < 8) throw invalid(path, `is ${size} bytes long, too short for the 8-byte header length; is it truncated?`);
  const prefix = Buffer.alloc(8);
  await file.read(prefix, 0, 8, 0);
  const length = prefix.readBigUInt64LE();
  if (length > MAX_HEADER_BYTES) {
    throw invalid(
      path,
      `announces a header of ${length} bytes (at most ${MAX_HEADER_BYTES}); is it a safetensors file?`,
    );
  }
  const headerBytes = Number(length);
  const dataStart = 8 + headerBytes;
  if (dataStart > size) {
    throw invalid(path, `announces a header of ${headerBytes} bytes but is only ${size} bytes long; is it truncated?`);
  }
  const bytes = Buffer.alloc(headerBytes);
  let filled = 0;
  while (filled < headerBytes) {
    const { bytesRead } = await file.read(bytes, filled, headerBytes - filled, 8 + filled);
    if (bytesRead === 0) throw invalid(path, `ended after ${8 + filled} bytes while its header was read.`);
    filled += bytesRead;
  }
  try {
    return { header: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), dataStart };
  } catch {
    throw invalid(path, 'has a header that is not UTF-8.');
  }
}

function parseTensors(path: string, header: string, dataStart: number, fileBytes: number): Map<string, StoredTensor> {
  let entries: unknown;
  try {
    entries = JSON.parse(header);
  } catch (thrown) {
    throw invalid(path, `has a header that is not JSON: ${toError(thrown).message}`);
  }
  if (!isJsonObject(entries)) throw invalid(path, `has a header that is ${describeJson(entries)}, not an object.`);
  const duplicate = firstDuplicateKey(header);
  if (duplicate !== undefined) throw invalid(path, `lists tensor "${duplicate}" twice.`);

  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(entries)) {
    if (name !== '__metadata__') tensors.push(parseTensor(path, name, entry, dataStart));
  }
  checkLayout(path, tensors, dataStart, fileBytes);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

function parseTensor(path: string, name: string, entry: unknown, dataStart: number): StoredTensor {
  if (!isJsonObject(entry))
    throw invalidTensor(path, name, `is described by ${describeJson(entry)}, not by an object.`);
  const { dtype, shape, data_offsets: offsets } = entry;
  const bits = typeof dtype === 'string' && Object.hasOwn(DTYPE_BITS, dtype) ? DTYPE_BITS[dtype]! : undefined;
  if (bits === undefined) throw invalidTensor(path, name, `has the unknown dtype ${describeJson(dtype)}.`);
  if (!isSizeList(shape)) throw invalidTensor(path, name, `needs a shape of non-negative integers.`);
  if (!isSizeList(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw invalidTensor(path, name, 'needs data_offsets [begin, end] with begin <= end.');
  }
  const bytes = offsets[1]! - offsets[0]!;
  const wanted = (shape.reduce((product, size) => product * size, 1) * bits) / 8;
  if (bytes !== wanted) {
    const what = `${dtype} [${shape.join(', ')}]`;
    throw invalidTensor(path, name, `is ${what} and needs ${wanted} bytes, but its data_offsets span ${bytes}.`);
  }
  return { name, dtype: dtype as string, shape, offset: dataStart + offsets[0]!, bytes };
}

function isSizeList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}

/** The tensors must fill the data part exactly: no overlap, no gap, nothing beyond the end, nothing left over. */
function checkLayout(path: string, tensors: readonly StoredTensor[], dataStart: number, fileBytes: number): void {
  const ordered = tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  let before = '';
  for (const { name, offset, bytes } of ordered) {
    if (offset < end) throw invalidTensor(path, name, `overlaps "${before}" by ${end - offset} bytes.`);
    if (offset > end) {
      const where = before === '' ? 'the start of the data' : `"${before}"`;
      throw invalidTensor(path, name, `leaves a gap of ${offset - end} bytes after ${where}.`);
    }
    end = offset + bytes;
    before = name;
    if (end > fileBytes) {
      throw invalidTensor(path, name, `ends at byte ${end}, but the file has only ${fileBytes}; is it truncated?`);
    }
  }
  if (end < fileBytes) throw invalid(path, `has ${fileBytes - end} bytes after its last tensor.`);
}

/** The first top-level key that comes twice. JSON.parse keeps the last one, silently. */
function firstDuplicateKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (char === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
      if (depth !== 1 || !isKeyEnd(json, i)) continue;
      const key = JSON.parse(json.slice(start, i + 1)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

/** Whether the string that ends at `quote` is followed by a colon. */
function isKeyEnd(json: string, quote: number): boolean {
  let next = quote + 1;
  while (' \t\n\r'.includes(json[next] ?? 'x')) next++;
  return json[next] === ':';
}

function invalid(path: string, problem: string): VitrineError {
  return new VitrineError('MODEL_INVALID', `${path} ${problem}`);
}

function invalidTensor(path: string, name: string, problem: string): VitrineError {
  return new VitrineError('MODEL_INVALID', `${path}: tensor "${name}" ${problem}`);
}
