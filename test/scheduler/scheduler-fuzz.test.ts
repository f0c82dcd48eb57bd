// Random loads under every combination of options.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runLoad } from '../support/scheduler-load.js';

const PAGE_SIZES = [1, 3, 16];
const CHUNK_SIZES = [1, 7, 64, -1];
const SWITCHES = [false, true];

const combinations = SWITCHES.flatMap((enableMixedChunk) =>
  SWITCHES.flatMap((disableOverlapSchedule) =>
    SWITCHES.flatMap((disableRadixCache) =>
      (['fcfs', 'lpm'] as const).map((schedulePolicy) => ({
        enableMixedChunk,
        disableOverlapSchedule,
        disableRadixCache,
        schedulePolicy,
      })),
    ),
  ),
);

describe('every combination of options gives each request what it gets alone', () => {
  for (const pageSize of PAGE_SIZES) {
    for (const chunkedPrefillSize of CHUNK_SIZES) {
      test(`pages of ${pageSize}, chunks of ${chunkedPrefillSize}`, async () => {
        for (const [index, switches] of combinations.entries()) {
          const sizes = {
            pageSize,
            chunkedPrefillSize,
            maxTotalTokens: 192,
            maxPrefillTokens: 96,
            maxRunningRequests: 6,
          };
          const seed = index + 100 * PAGE_SIZES.indexOf(pageSize) + 1000 * CHUNK_SIZES.indexOf(chunkedPrefillSize);
          await runLoad(seed, { ...sizes, ...switches }, { requests: 14, abortRate: 0.15 });
        }
      });
    }
  }
});

describe('long outputs in a small cache', () => {
  const small = { pageSize: 4, maxTotalTokens: 160, chunkedPrefillSize: 32, maxRunningRequests: 12 };
  const load = { requests: 40, maxOwnTokens: 12, maxNewTokens: 90, ignoreEosRate: 0.95, abortRate: 0.05 };
  for (const [index, switches] of combinations.entries()) {
    test(`${JSON.stringify(switches)}: requests are retracted and lose no token`, async () => {
      const harness = await runLoad(5000 + index, { ...small, ...switches }, load);
      assert.ok(harness.scheduler.state.retractionsTotal > 0, 'nothing was retracted: the load is too small');
    });
  }
});

test('requests arrive while steps take their time', async () => {
  const options = { pageSize: 4, maxTotalTokens: 400, chunkedPrefillSize: 16, maxRunningRequests: 8 };
  await runLoad(1, options, { requests: 60, abortRate: 0.3, spreadMs: 120, stepMs: (step) => step % 3 });
});
