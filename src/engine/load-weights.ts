// Has the engine load its weights, and says where they are when a cache of packed ones was asked for.
import type { LoadPlan, NativeEngine, WeightCachePlan, WeightOrigin } from '../native/addon.js';
import { monotonicSeconds } from '../util/clock.js';
import { hasCode, toError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { makeDirectorySync } from '../util/make-directory.js';

/** Blocks. A cache that cannot be used is a warning: the weights are then loaded without. */
export function loadWeights(engine: NativeEngine, plan: LoadPlan, log: Log): void {
  const { cache, ...uncached } = plan;
  if (cache === undefined) {
    engine.loadWeights(plan);
    return;
  }
  try {
    makeDirectorySync(cache.directory);
  } catch (thrown) {
    engine.loadWeights(uncached);
    warn(toError(thrown).message);
    return;
  }
  const { place, path, problem } = loadThroughCache(engine, uncached, cache, log);
  if (place === 'memory') warn(problem);
  else if (place === 'mapped') log.info(`Weights mapped from ${path}`);
  else log.info(`Packed weights written to ${path}${problem === '' ? '' : `, in place of what was there: ${problem}`}`);

  function warn(why: string): void {
    log.warn(`Weights loaded without --weight-cache-dir: ${why}`);
  }
}

/** Says that it waits before it does: this thread stands still then, and writing the weights of a large model takes minutes. */
function loadThroughCache(engine: NativeEngine, plan: LoadPlan, cache: WeightCachePlan, log: Log): WeightOrigin {
  try {
    return engine.loadWeights({ ...plan, cache: { ...cache, wait: false } });
  } catch (thrown) {
    if (!hasCode(thrown, 'WEIGHT_CACHE_LOCKED')) throw thrown;
    log.info(`Waiting for packed weights that another process writes: ${toError(thrown).message}`);
  }
  const started = monotonicSeconds();
  const origin = engine.loadWeights({ ...plan, cache });
  log.info(`Waited for them and had the weights after ${(monotonicSeconds() - started).toFixed(1)} s`);
  return origin;
}
