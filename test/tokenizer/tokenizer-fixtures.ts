// The tokenizers in test/fixtures/tokenizers; large tokenizer.json files are kept compressed and unpacked on demand.
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

export interface TextVector {
  readonly text: string;
  readonly ids_with_special: readonly number[];
  readonly ids_without_special: readonly number[];
  readonly decoded_without_special: string;
  readonly decoded_with_special: string;
  readonly decoded_skip_special: string;
}

export interface ChatVector {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly add_generation_prompt: boolean;
  readonly rendered: string;
  readonly ids: readonly number[];
}

export interface Vectors {
  readonly vectors: readonly TextVector[];
  readonly chat?: readonly ChatVector[];
}

const FIXTURES = fileURLToPath(new URL('../fixtures/tokenizers/', import.meta.url));

export function tokenizerFixture(name: string): string {
  return join(FIXTURES, name);
}

export function readVectors(name: string): Vectors {
  return JSON.parse(readFileSync(join(FIXTURES, name, 'vectors.json'), 'utf8')) as Vectors;
}

/** A folder with tokenizer.json and tokenizer_config.json; `remove` when done. */
export async function unpackTokenizer(name: string): Promise<{ directory: string; remove(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'vitrine-test-'));
  await cp(join(FIXTURES, name, 'tokenizer_config.json'), join(directory, 'tokenizer_config.json'));
  await writeFile(
    join(directory, 'tokenizer.json'),
    gunzipSync(await readFile(join(FIXTURES, name, 'tokenizer.json.gz'))),
  );
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
}
