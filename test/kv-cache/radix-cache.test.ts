import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockAllocator } from '#vitrine/kv-cache/block-allocator.js';
import { BlockTable } from '#vitrine/kv-cache/block-table.js';
import { RadixCache } from '#vitrine/kv-cache/radix-cache.js';
import { hashBlock } from '#vitrine/kv-cache/radix-node.js';
import { RandomChoices } from '../support/random-choices.js';

const ids = (...tokens: number[]) => Int32Array.from(tokens);

class Fixture {
  readonly allocator: BlockAllocator;
  readonly cache: RadixCache;

  constructor(
    readonly blockSize: number,
    numBlocks = 64,
  ) {
    this.allocator = new BlockAllocator(numBlocks);
    this.cache = new RadixCache(this.allocator, blockSize);
  }

  /** A table whose prefix is locked and which has fresh blocks for the rest of the tokens. */
  open(tokens: Int32Array, limit = tokens.length): BlockTable {
    const table = new BlockTable();
    this.cache.lock(table, tokens, limit);
    while (table.length * this.blockSize < tokens.length) table.push(this.allocator.allocate());
    return table;
  }

  /** Computes tokens, caches their whole blocks and lets go of them; returns the blocks. */
  put(tokens: Int32Array): number[] {
    const table = this.open(tokens);
    this.insert(table, tokens);
    const blocks = [...table.ids.subarray(0, table.shared)];
    this.close(table);
    return blocks;
  }

  insert(table: BlockTable, tokens: Int32Array): number[] {
    const replaced: number[] = [];
    this.cache.insert(table, tokens, Math.floor(tokens.length / this.blockSize), (block) => replaced.push(block));
    for (const block of replaced) this.allocator.release(block);
    return replaced;
  }

  close(table: BlockTable): void {
    for (let i = table.shared; i < table.length; i++) this.allocator.release(table.ids[i]!);
    this.cache.unlock(table);
    table.clear();
  }

  prefix(tokens: Int32Array, limit = tokens.length): number[] {
    const table = new BlockTable();
    this.cache.lock(table, tokens, limit);
    const blocks = [...table.ids.subarray(0, table.length)];
    this.cache.unlock(table);
    return blocks;
  }
}

test('only whole blocks are cached and matched, up to the limit', () => {
  const fixture = new Fixture(4);
  const blocks = fixture.put(ids(1, 2, 3, 4, 5, 6, 7, 8, 9));
  assert.equal(blocks.length, 2);
  assert.equal(fixture.cache.match(ids(1, 2, 3, 4, 5, 6, 7, 8, 9), 9), 2);
  assert.equal(fixture.cache.match(ids(1, 2, 3, 4, 5, 6, 7, 8), 7), 1);
  assert.equal(fixture.cache.match(ids(1, 2, 3, 4, 5, 6, 7, 0), 8), 1);
  assert.equal(fixture.cache.match(ids(1, 2, 3), 3), 0);
  assert.deepEqual(fixture.prefix(ids(1, 2, 3, 4, 5, 6, 7, 8)), blocks);
});

test('sequences that part within an edge share what they have in common', () => {
  const fixture = new Fixture(2);
  const first = fixture.put(ids(1, 2, 3, 4, 5, 6, 7, 8));
  const second = fixture.put(ids(1, 2, 3, 4, 9, 9));
  assert.deepEqual(second.slice(0, 2), first.slice(0, 2));
  assert.equal(fixture.cache.cachedBlocks, 5);
  assert.deepEqual(fixture.prefix(ids(1, 2, 3, 4, 5, 6, 7, 8)), first);
  fixture.cache.checkIntegrity([]);
});

test('a match changes nothing: neither the tree nor what is evicted next', () => {
  const fixture = new Fixture(1);
  fixture.put(ids(1, 2));
  fixture.put(ids(8, 9));
  fixture.cache.match(ids(1, 2), 2);
  fixture.cache.match(ids(1), 1);
  fixture.cache.evict(1);
  assert.deepEqual([fixture.cache.match(ids(1, 2), 2), fixture.cache.match(ids(8, 9), 2)], [1, 2]);
});

test('the least recently used leaf goes first, block by block from its end', () => {
  const fixture = new Fixture(1);
  fixture.put(ids(1, 2, 3));
  fixture.put(ids(4, 5, 6));
  fixture.prefix(ids(1, 2, 3));
  assert.equal(fixture.cache.evict(2), 2);
  assert.deepEqual([fixture.cache.match(ids(1, 2, 3), 3), fixture.cache.match(ids(4, 5, 6), 3)], [3, 1]);
  assert.equal(fixture.cache.evict(2), 2);
  assert.deepEqual([fixture.cache.match(ids(1, 2, 3), 3), fixture.cache.match(ids(4, 5, 6), 3)], [2, 0]);
  assert.equal(fixture.cache.evict(9), 2);
  assert.equal(fixture.allocator.freeCount, 64);
});

test('a locked path stays; its unlocked continuation may go', () => {
  const fixture = new Fixture(1);
  fixture.put(ids(1, 2, 3, 4));
  const table = fixture.open(ids(1, 2, 7), 2);
  assert.equal(table.shared, 2);
  assert.equal(fixture.cache.evictableBlocks, 2);
  fixture.cache.checkIntegrity([table]);
  assert.equal(fixture.cache.evict(10), 2);
  assert.equal(fixture.cache.match(ids(1, 2, 3, 4), 4), 2);
  fixture.close(table);
  fixture.cache.clear();
  assert.equal(fixture.cache.cachedBlocks, 0);
  assert.equal(fixture.allocator.freeCount, 64);
});

test('of two that computed the same tokens, the second goes on with the blocks of the first', () => {
  const fixture = new Fixture(2);
  const tokens = ids(1, 2, 3, 4, 5);
  const first = fixture.open(tokens);
  const second = fixture.open(tokens);
  const own = [...second.ids.subarray(0, 3)];
  assert.deepEqual(fixture.insert(first, tokens), []);
  assert.deepEqual(fixture.insert(second, tokens), own.slice(0, 2));
  assert.deepEqual([...second.ids.subarray(0, 2)], [...first.ids.subarray(0, 2)]);
  assert.equal(second.ids[2], own[2], 'the last, partial block stays its own');
  fixture.cache.checkIntegrity([first, second]);
  fixture.close(first);
  assert.equal(fixture.cache.evictableBlocks, 0, 'the second holds them');
  fixture.close(second);
  assert.equal(fixture.cache.evictableBlocks, 2);
});

test('a sequence that grows chunk by chunk stays one edge, and can still be parted by others', () => {
  const fixture = new Fixture(1);
  const tokens = ids(1, 2, 3, 4, 5, 6);
  const table = fixture.open(tokens);
  for (let count = 1; count <= 6; count++) fixture.insert(table, tokens.subarray(0, count));
  assert.equal(table.shared, 6);
  const other = fixture.open(ids(1, 2, 3, 9));
  assert.equal(other.shared, 3);
  fixture.insert(other, ids(1, 2, 3, 9));
  fixture.cache.checkIntegrity([table, other]);
  fixture.close(table);
  fixture.close(other);
  assert.equal(fixture.cache.cachedBlocks, 7);
  fixture.cache.checkIntegrity([]);
});

test('unlocking twice is an error', () => {
  const fixture = new Fixture(1);
  const table = fixture.open(ids(1));
  const { node } = table;
  fixture.close(table);
  table.node = node;
  assert.throws(() => fixture.cache.unlock(table), /not locked/);
});

/** Every cached prefix as a string, mapped to its block: what a radix tree over whole blocks must agree with. */
function expectedPrefix(known: ReadonlyMap<string, number>, tokens: Int32Array, blockSize: number): number[] {
  const blocks: number[] = [];
  for (let end = blockSize; end <= tokens.length; end += blockSize) {
    const block = known.get(tokens.subarray(0, end).join());
    if (block === undefined) break;
    blocks.push(block);
  }
  return blocks;
}

for (const blockSize of [1, 2, 5]) {
  test(`random use agrees with a map of prefixes, blocks of ${blockSize}`, () => {
    const random = new RandomChoices(blockSize);
    const fixture = new Fixture(blockSize, 200);
    const known = new Map<string, number>();
    const open: { table: BlockTable; tokens: Int32Array }[] = [];
    const randomTokens = () =>
      Int32Array.from({ length: random.integer(1, 8 * blockSize) }, () => random.integer(1, 2));
    for (let round = 0; round < 4000; round++) {
      const action = random.integer(0, 4);
      if (action <= 1 && open.length < 8) {
        const tokens = randomTokens();
        const expected = expectedPrefix(known, tokens, blockSize);
        assert.equal(fixture.cache.match(tokens, tokens.length), expected.length);
        const needed = Math.ceil(tokens.length / blockSize);
        if (fixture.allocator.freeCount >= needed) {
          const table = fixture.open(tokens);
          assert.deepEqual([...table.ids.subarray(0, table.shared)], expected);
          open.push({ table, tokens });
        }
      } else if (action === 2 && open.length > 0) {
        const { table, tokens } = random.pick(open);
        const count = random.integer(table.shared, Math.floor(tokens.length / blockSize));
        fixture.insert(table, tokens.subarray(0, count * blockSize));
        for (let i = 0; i < table.shared; i++) {
          const key = tokens.subarray(0, (i + 1) * blockSize).join();
          assert.equal(known.get(key) ?? table.ids[i], table.ids[i], 'a cached prefix keeps its block');
          known.set(key, table.ids[i]!);
        }
      } else if (action === 3 && open.length > 0) {
        const at = random.integer(0, open.length - 1);
        fixture.close(open[at]!.table);
        open.splice(at, 1);
      } else if (action === 4) {
        const wanted = random.integer(1, 10);
        const evictable = fixture.cache.evictableBlocks;
        assert.equal(fixture.cache.evict(wanted), Math.min(wanted, evictable));
        const cached = new Set(fixture.cache.blocks());
        for (const [key, block] of known) if (!cached.has(block)) known.delete(key);
        for (const { table } of open) {
          for (let i = 0; i < table.shared; i++) assert.ok(cached.has(table.ids[i]!), 'a locked block was evicted');
        }
        for (const key of known.keys()) {
          const tokens = Int32Array.from(key.split(',').map(Number));
          assert.deepEqual(expectedPrefix(known, tokens, blockSize).length * blockSize, tokens.length, 'a hole');
        }
      }
      fixture.cache.checkIntegrity(open.map(({ table }) => table));
      const held = open.reduce((sum, { table }) => sum + table.length - table.shared, 0);
      assert.equal(fixture.allocator.freeCount + fixture.cache.cachedBlocks + held, 200);
    }
    for (const { table } of open) fixture.close(table);
    fixture.cache.clear();
    assert.equal(fixture.allocator.freeCount, 200);
  });
}

test('blocks with the same hash are told apart', () => {
  const random = new RandomChoices(11);
  const seen = new Map<number, Int32Array>();
  const pairs: [Int32Array, Int32Array][] = [];
  while (pairs.length < 3) {
    const block = ids(random.integer(0, 2 ** 30), random.integer(0, 2 ** 30));
    const hash = hashBlock(block, 0, 2);
    const other = seen.get(hash);
    if (other === undefined) seen.set(hash, block);
    else pairs.push([other, block]);
  }
  const fixture = new Fixture(2);
  const blocks = pairs.map((pair) => pair.map((block) => fixture.put(block)));
  pairs.forEach((pair, i) => {
    pair.forEach((block, k) => {
      assert.deepEqual(fixture.prefix(block), blocks[i]![k]);
    });
  });
  const tables = pairs.map(([kept]) => fixture.open(kept));
  assert.equal(fixture.cache.evict(9), 3);
  for (const [kept, evicted] of pairs) {
    assert.deepEqual([fixture.cache.match(kept, 2), fixture.cache.match(evicted, 2)], [1, 0]);
  }
  fixture.cache.checkIntegrity(tables);
});
