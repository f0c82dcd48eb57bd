// Loads a model and starts its scheduler on a channel: what a rank process does, and the in-process engine too.
import { ModelRunner, type RunnerDeps } from '../engine/model-runner.js';
import type { SchedulerChannel } from '../messages/channel.js';
import { Scheduler } from './scheduler.js';

export interface SchedulerHandle {
  /** Resolves with the exit code. */
  readonly closed: Promise<number>;
  shutdown(): void;
}

/** Blocks while the weights load; then sends `ready` and serves the channel. */
export function startScheduler(deps: RunnerDeps & { readonly channel: SchedulerChannel }): SchedulerHandle {
  const { addon, model, channel, log } = deps;
  const runner = ModelRunner.create(deps);
  const scheduler = new Scheduler({
    ...{ runner, channel, log, addon },
    spec: model.spec,
    eosTokenIds: model.eosTokenIds,
  });
  const { limits, device, options } = runner;
  channel.send({
    kind: 'ready',
    info: {
      maxTotalTokens: limits.numBlocks * limits.blockSize,
      maxRunningRequests: limits.maxRequests,
      chunkedPrefillSize: options.chunkedPrefillSize,
      memFractionStatic: options.memFractionStatic,
      contextLength: limits.contextLength,
      vocabSize: limits.vocabSize,
      weightBytes: limits.weightBytes,
      kvCacheBytes: limits.kvCacheBytes,
      graphBytes: limits.graphBytes,
      dtype: model.spec.dtype,
      kvCacheDtype: model.spec.kvCache.dtype,
      quantization: model.quantization,
      cudaGraphBatchSizes: limits.graphBatchSizes,
      device: device.kind,
      deviceName: device.name,
      loadSeconds: limits.loadSeconds,
    },
  });
  return scheduler;
}
