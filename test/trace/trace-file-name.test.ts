import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergedFileName, parseTraceFileName, traceFileName } from '#vitrine/trace/trace-file-name.js';

test('names say TP always and the other axes when there are several ranks', () => {
  const profileId = '1769071195.6634595';
  assert.equal(traceFileName({ profileId, ranks: { tp: 0 } }), '1769071195.6634595-TP-0.trace.json.gz');
  assert.equal(traceFileName({ profileId, ranks: {} }), '1769071195.6634595-TP-0.trace.json.gz');
  assert.equal(
    traceFileName({ prefix: 'run-a', profileId, ranks: { ep: 4, pp: 3, dp: 2, tp: 1 }, stage: 'EXTEND' }),
    'run-a-1769071195.6634595-TP-1-DP-2-PP-3-EP-4-EXTEND.trace.json.gz',
  );
  assert.equal(mergedFileName(profileId), 'merged-1769071195.6634595.trace.json.gz');
  assert.equal(mergedFileName(profileId, 'DECODE'), 'merged-1769071195.6634595-DECODE.trace.json.gz');
});

test('names are read back, with and without knowing the id', () => {
  for (const prefix of [undefined, 'run', 'run-TP-9-DP-1']) {
    for (const ranks of [{ tp: 3 }, { tp: 0, dp: 1 }, { tp: 0, dp: 1, pp: 12, ep: 0 }]) {
      for (const stage of [undefined, 'EXTEND', 'DECODE']) {
        const parts = { prefix, profileId: '1769071195.66', ranks, stage };
        const name = traceFileName(parts);
        for (const read of [parseTraceFileName(name), parseTraceFileName(name, '1769071195.66')]) {
          assert.deepEqual({ prefix: undefined, ...read }, parts, name);
        }
      }
    }
  }
  assert.equal(parseTraceFileName('1.5-TP-0.trace.json.gz', '2.5'), undefined);
  assert.equal(parseTraceFileName('x1.5-TP-0.trace.json.gz', '1.5'), undefined);
  for (const other of [
    'merged-1.5.trace.json.gz',
    'merged-1.5-TP-0.trace.json.gz',
    '1.5.trace.json.gz',
    'a-TP-x.trace.json',
  ]) {
    assert.equal(parseTraceFileName(other), undefined, other);
  }
});

test('parts that could leave the directory or upset a shell are refused', () => {
  for (const bad of ['../x', 'a/b', '/abs', '..', '.', 'a\0b', 'a b', '-rf', '', 'é', 'x'.repeat(200), 'a\nb']) {
    if (bad !== '') {
      assert.throws(() => traceFileName({ prefix: bad, profileId: '1', ranks: {} }), {
        code: 'INVALID_REQUEST',
        param: 'profile_prefix',
      });
    }
    assert.throws(() => traceFileName({ profileId: bad, ranks: {} }), { code: 'INVALID_REQUEST', param: 'profile_id' });
    assert.throws(() => mergedFileName(bad), { code: 'INVALID_REQUEST' });
  }
});
