// The weight files of a model folder: one file, or shards listed by model.safetensors.index.json.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { VitrineError } from '../util/errors.js';
import { isJsonObject, type JsonObject, readJsonObject } from '../util/read-json.js';
import { readSafetensorsHeader, type SafetensorsFile, type StoredTensor } from './safetensors.js';

const SINGLE_FILE = 'model.safetensors';
const INDEX_FILE = 'model.safetensors.index.json';

export interface Checkpoint {
  readonly directory: string;
  readonly files: readonly SafetensorsFile[];
  /** By tensor name: which of `files`, and where in it. */
  readonly tensors: ReadonlyMap<string, { readonly file: number; readonly tensor: StoredTensor }>;
}

/** Which files hold the weights, given the names in a folder; `shards` come from the index if there is one. */
export function weightFileNames(names: readonly string[], shards: readonly string[] | undefined): readonly string[] {
  if (names.includes(SINGLE_FILE)) return [SINGLE_FILE];
  if (shards !== undefined) return shards;
  // Repositories of Mistral carry the same weights twice, the second time in its own naming.
  return names.filter((name) => name.endsWith('.safetensors') && !name.startsWith('consolidated')).toSorted();
}

/** Reads and checks all headers; errors are MODEL_INVALID and name file and tensor. */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const names = await readdir(directory);
  const useIndex = names.includes(INDEX_FILE) && !names.includes(SINGLE_FILE);
  const index = useIndex ? await readWeightMap(join(directory, INDEX_FILE)) : undefined;
  const shards = index === undefined ? undefined : [...new Set(index.values())].toSorted();
  const wanted = weightFileNames(names, shards);
  if (wanted.length === 0) throw noWeights(directory, names);
  const missing = wanted.find((name) => !names.includes(name));
  if (missing !== undefined) {
    throw new VitrineError(
      'MODEL_INVALID',
      `${join(directory, INDEX_FILE)} lists ${missing}, which is not in the folder.`,
    );
  }

  const files: SafetensorsFile[] = [];
  for (const name of wanted) files.push(await readSafetensorsHeader(join(directory, name)));
  const tensors = new Map<string, { file: number; tensor: StoredTensor }>();
  for (const [file, { path, tensors: stored }] of files.entries()) {
    for (const tensor of stored.values()) {
      const other = tensors.get(tensor.name);
      if (other !== undefined) {
        const twice = `${path}: tensor "${tensor.name}" is also in ${files[other.file]!.path}.`;
        throw new VitrineError('MODEL_INVALID', twice);
      }
      tensors.set(tensor.name, { file, tensor });
    }
  }
  if (index !== undefined) checkIndex(join(directory, INDEX_FILE), index, wanted, tensors);
  return { directory, files, tensors };
}

async function readWeightMap(path: string): Promise<Map<string, string>> {
  const index: JsonObject = await readJsonObject(path, 'MODEL_INVALID');
  const { weight_map: weightMap } = index;
  if (!isJsonObject(weightMap)) throw new VitrineError('MODEL_INVALID', `${path} has no object "weight_map".`);
  for (const [tensor, file] of Object.entries(weightMap)) {
    if (typeof file !== 'string' || !file.endsWith('.safetensors') || /[/\\]/.test(file)) {
      throw new VitrineError('MODEL_INVALID', `${path}: "${tensor}" must name a .safetensors file in the same folder.`);
    }
  }
  return new Map(Object.entries(weightMap as Record<string, string>));
}

function checkIndex(
  path: string,
  index: ReadonlyMap<string, string>,
  files: readonly string[],
  tensors: Checkpoint['tensors'],
): void {
  for (const [name, file] of index) {
    const found = tensors.get(name);
    if (found === undefined) {
      throw new VitrineError(
        'MODEL_INVALID',
        `${path} says that tensor "${name}" is in ${file}, but it is in no file.`,
      );
    }
    if (files[found.file] !== file) {
      const where = `${path} says that tensor "${name}" is in ${file}, but it is in ${files[found.file]}.`;
      throw new VitrineError('MODEL_INVALID', where);
    }
  }
  for (const [name, { file }] of tensors) {
    if (!index.has(name)) {
      throw new VitrineError('MODEL_INVALID', `${files[file]}: tensor "${name}" is not listed in ${path}.`);
    }
  }
}

function noWeights(directory: string, names: readonly string[]): VitrineError {
  const other = names.find((name) => /\.(bin|pt|pth|gguf|h5|msgpack)$/.test(name));
  const hint = other === undefined ? '' : ` ${other} is there, but only the safetensors format is read.`;
  return new VitrineError(
    'MODEL_INVALID',
    `${directory} holds no ${SINGLE_FILE} and no ${INDEX_FILE}.${hint} (--load-format dummy needs no weights.)`,
  );
}
