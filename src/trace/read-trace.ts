// Streams a trace file, compressed or not, through a TraceScanner.
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { toError, VitrineError } from '../util/errors.js';
import { TraceDamage, type TraceScanner } from './trace-scanner.js';

const READ_BYTES = 1 << 18;
const TEXT_BYTES = 1 << 20;

async function isGzip(path: string): Promise<boolean> {
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
  if (error.code === 'EISDIR') return new TraceDamage('it is a directory');
  if (error.code !== undefined && error.syscall !== undefined)
    return new TraceDamage(`it cannot be read (${error.code})`);
  return undefined;
}

/** Reads the whole file. Rejects with TraceDamage where it is no whole, readable trace. Memory: a few MiB. */
export async function scanTraceFile(path: string, scanner: TraceScanner, signal?: AbortSignal): Promise<void> {
  // What the scanner throws is kept: pipeline() may report the abort of the stream that follows from it instead.
  let thrownByScanner: unknown;
  const consume = async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) {
      try {
        scanner.push(chunk);
      } catch (error) {
        thrownByScanner = error;
        throw error;
      }
    }
    scanner.end();
  };
  try {
    const compressed = await isGzip(path);
    const file: Readable = createReadStream(path, { highWaterMark: compressed ? READ_BYTES : TEXT_BYTES });
    const options = signal === undefined ? {} : { signal };
    if (compressed) await pipeline(file, createGunzip({ chunkSize: TEXT_BYTES }), consume, options);
    else await pipeline(file, consume, options);
  } catch (thrown) {
    const error = toError(thrownByScanner ?? thrown);
    if (signal?.aborted) throw new VitrineError('ABORTED', `Reading the trace file ${path} was aborted.`);
    throw damageOf(error) ?? error;
  }
}
