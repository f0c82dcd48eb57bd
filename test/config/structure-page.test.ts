// docs/structure.md names folders and files as they are: every name that it lists is there, and no floor is left out.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Entry {
  readonly folder: string;
  readonly text: string;
}

/** `F3 engine/     what is in it`, with the indented lines below it. */
function entriesOf(block: string): Entry[] {
  return block.split(/\n(?=(?:[FN]\d | {3})?[\w-]+\/ )/).map((entry) => {
    const [, folder, text] = /^(?:[FN]\d | {3})?([\w-]+)\/ +(.*)$/s.exec(entry)!;
    return { folder: folder!, text: text! };
  });
}

const page = readFileSync(`${root}docs/structure.md`, 'utf8');
const [floors, native, beside] = [...page.matchAll(/^```\n(.*?)^```/gms)].map(([, block]) => entriesOf(block!));

const foldersIn = (path: string): string[] =>
  readdirSync(`${root}${path}`, { withFileTypes: true })
    .filter((each) => each.isDirectory())
    .map(({ name }) => name);

/** What an entry lists, by words of the form that files have there, and is not in its folder at any depth. */
function missing(entries: readonly Entry[], parent: string, nameOfFile: RegExp, others: readonly string[]): string[] {
  return entries.flatMap(({ folder, text }) => {
    const paths = readdirSync(`${root}${parent}${folder}`, { recursive: true }) as string[];
    const there = new Set([...others, ...paths.map((path) => basename(path).replace(/\..*$/, ''))]);
    const names = [...text.matchAll(nameOfFile), ...text.matchAll(/(?<![\w-])[a-z]+(?=\/)/g)].map(([name]) => name);
    return names.filter((name) => !there.has(name)).map((name) => `${folder}: ${name}`);
  });
}

test('the floors of src/', () => {
  assert.deepEqual(floors!.map(({ folder }) => folder).toSorted(), foldersIn('src'));
  assert.deepEqual(missing(floors!, 'src/', /[a-z]+(?:-[a-z]+)+/g, []), []);
});

test('the floors of native/', () => {
  assert.deepEqual(native!.map(({ folder }) => folder).toSorted(), foldersIn('native'));
  assert.deepEqual(missing(native!, 'native/', /[a-z0-9]+(?:_[a-z0-9]+)+/g, ['libvitrine_cuda', 'native_tests']), []);
});

test('what is beside them', () => {
  assert.deepEqual(missing(beside!, '', /[a-z]+(?:-[a-z]+)+/g, ['node-llama-cpp', 'src']), []);
});
