// Has the engine load its weights, and says where they are when a cache of packed ones was asked for.
import type { LoadPlan, NativeEngine } from '../native/addon.js';
import { toError } from '../util/errors.js';
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
  const { place, path, problem } = engine.loadWeights(plan);
  if (place === 'memory') warn(problem);
  else if (place === 'mapped') log.info(`Weights mapped from ${path}`);
  else log.info(`Packed weights written to ${path}${problem === '' ? '' : `, in place of what was there: ${problem}`}`);

  function warn(why: string): void {
    log.warn(`Weights loaded without --weight-cache-dir: ${why}`);
  }
}
