// Streams a trace file, compressed or not, through a TraceScanner.
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { toError, VitrineError } from '../../util/errors.js';
import { TraceDamage, type TraceScanner } from './trace-scanner.js';

const READ_BYTES = 1 << 18;
const TEXT_BYTES = 1 << 20;

async function isGzip(path: string): Promise<boolean> {
  const stats = await stat(path);
  if (stats.isDirectory()) throw new TraceDamage('it is a directory');
  // Opening a pipe waits for somebody to write into it.
  if (!stats.isFile()) throw new TraceDamage('it is not a file');
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}

function damageOf(error: NodeJS.ErrnoException): TraceDamage | undefined {
  if (error instanceof TraceDamage) return error;
  if (error.code === 'Z_BUF_ERROR') return new TraceDamage('its compressed data is cut off');
  if (error.code?.startsWith('Z_')) return new TraceDamage(`its compressed data is corrupt (${error.message})`);
  if (error.code === 'ENOENT') return new TraceDamage('it does not exist');
  if (error.code !== undefined && error.syscall !== undefined)
    return new TraceDamage(`it cannot be read (${error.code})`);
  return undefined;
}

/** The file's text in parts. Members of a gzip file follow each other; zeros after the last are no text. */
async function* readText(path: string): AsyncGenerator<Buffer> {
  const compressed = await isGzip(path);
  const file = createReadStream(path, { highWaterMark: compressed ? READ_BYTES : TEXT_BYTES });
  if (!compressed) {
    yield* file as AsyncIterable<Buffer>;
    return;
  }
  // Not pipeline(): it takes it for a failure when gunzip is done before the file is.
  const gunzip = createGunzip({ chunkSize: TEXT_BYTES });
  file.on('error', (error) => gunzip.destroy(error));
  file.pipe(gunzip);
  try {
    yield* gunzip as AsyncIterable<Buffer>;
  } finally {
    file.destroy();
    gunzip.destroy();
  }
}

/** Reads the whole file. Rejects with TraceDamage where it is no whole, readable trace. Memory: a few MiB. */
export async function scanTraceFile(path: string, scanner: TraceScanner, signal?: AbortSignal): Promise<void> {
  const isAborted = () => signal?.aborted === true;
  try {
    for await (const part of readText(path)) {
      if (isAborted()) break;
      scanner.push(part);
    }
    if (!isAborted()) scanner.end();
  } catch (thrown) {
    const error = toError(thrown);
    throw damageOf(error) ?? error;
  }
  if (isAborted()) throw new VitrineError('ABORTED', `Reading the trace file ${path} was aborted.`);
}
