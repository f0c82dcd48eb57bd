import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockAllocator } from '#vitrine/kv-cache/block-allocator.js';
import { BlockManager } from '#vitrine/kv-cache/block-manager.js';
import { RandomChoices } from '../support/random-choices.js';

const tokens = (count: number, first = 1) => Int32Array.from({ length: count }, (_, i) => first + i);

test('the allocator hands out every block once, and refuses to take more than it has', () => {
  const allocator = new BlockAllocator(3);
  assert.deepEqual([allocator.allocate(), allocator.allocate(), allocator.allocate()], [0, 1, 2]);
  assert.throws(() => allocator.allocate(), /no free block/);
  allocator.release(1);
  assert.equal(allocator.allocate(), 1);
  for (const block of [0, 1, 2]) allocator.release(block);
  assert.throws(() => allocator.release(0), /released twice/);
});

test('a table grows to what was asked for, or not at all', () => {
  const blocks = new BlockManager(4, 2, { prefixCache: true });
  const table = blocks.open(tokens(4), 3);
  assert.equal(blocks.grow(table, 3), true);
  assert.equal(blocks.grow(table, 2), true);
  assert.equal(table.length, 3);
  assert.equal(blocks.grow(table, 5), false);
  assert.equal(table.length, 3);
  assert.equal(blocks.availableBlocks, 1);
  blocks.close(table);
  assert.equal(blocks.availableBlocks, 4);
  blocks.checkIdle();
});

test('growing evicts only what it needs', () => {
  const blocks = new BlockManager(4, 1, { prefixCache: true });
  const first = blocks.open(tokens(3), 2);
  blocks.grow(first, 3);
  blocks.share(first, tokens(3), 3);
  blocks.close(first);
  assert.deepEqual([blocks.cachedBlocks, blocks.availableBlocks], [3, 4]);
  const second = blocks.open(tokens(2, 50), 1);
  assert.equal(blocks.grow(second, 2), true);
  assert.equal(blocks.cachedBlocks, 2);
  blocks.checkIntegrity(true);
  assert.equal(blocks.match(tokens(3), 3), 2);
});

test('blocks replaced by cached ones are free only after settle()', () => {
  const blocks = new BlockManager(4, 1, { prefixCache: true });
  const first = blocks.open(tokens(2), 0);
  const second = blocks.open(tokens(2), 0);
  blocks.grow(first, 2);
  blocks.grow(second, 2);
  blocks.share(first, tokens(2), 2);
  blocks.share(second, tokens(2), 2);
  blocks.checkIntegrity(true);
  assert.equal(blocks.availableBlocks, 0);
  blocks.settle();
  blocks.checkIntegrity(true);
  assert.equal(blocks.availableBlocks, 2);
  blocks.close(first);
  assert.throws(() => blocks.checkIdle(), /1 block tables are open/);
  blocks.close(second);
  blocks.checkIdle();
  blocks.clearCache();
  assert.equal(blocks.cachedBlocks, 0);
});

test('without a prefix cache nothing is kept', () => {
  const blocks = new BlockManager(4, 2, { prefixCache: false });
  const table = blocks.open(tokens(6), 5);
  blocks.grow(table, 3);
  blocks.share(table, tokens(6), 6);
  assert.deepEqual([table.shared, blocks.cachedBlocks], [0, 0]);
  blocks.checkIntegrity(true);
  blocks.close(table);
  assert.equal(blocks.match(tokens(6), 6), 0);
  assert.equal(blocks.availableBlocks, 4);
});

test('the integrity check sees a block with two owners', () => {
  const blocks = new BlockManager(4, 1, { prefixCache: true });
  const table = blocks.open(tokens(2), 0);
  blocks.grow(table, 2);
  table.ids[1] = table.ids[0]!;
  assert.throws(() => blocks.checkIntegrity(true), /block 0 has 2 owners|block 1 has 0 owners/);
});

for (const prefixCache of [true, false]) {
  test(`random tables keep the books balanced, prefix cache ${prefixCache ? 'on' : 'off'}`, () => {
    const random = new RandomChoices(prefixCache ? 1 : 2);
    const blocks = new BlockManager(40, 4, { prefixCache });
    const open: { table: ReturnType<BlockManager['open']>; ids: Int32Array }[] = [];
    for (let round = 0; round < 3000; round++) {
      const action = random.integer(0, 5);
      if (action <= 1) {
        const ids = Int32Array.from({ length: random.integer(1, 40) }, () => random.integer(0, 1));
        open.push({ table: blocks.open(ids, ids.length - 1), ids });
      } else if (open.length > 0) {
        const at = random.integer(0, open.length - 1);
        const { table, ids } = open[at]!;
        const available = blocks.availableBlocks;
        const wanted = random.integer(1, Math.ceil(ids.length / 4));
        if (action === 2) {
          const length = table.length;
          assert.equal(blocks.grow(table, wanted), wanted - length <= available);
        } else if (action === 3) {
          blocks.share(table, ids, Math.min(ids.length, table.length * 4));
        } else if (action === 4) {
          blocks.settle();
        } else {
          blocks.close(table);
          open.splice(at, 1);
        }
      }
      blocks.checkIntegrity(true);
    }
    for (const { table } of open) blocks.close(table);
    blocks.checkIdle();
    assert.equal(blocks.availableBlocks, 40);
  });
}
