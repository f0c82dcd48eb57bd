// Fault injection for tests: an addon whose engine gets one corrupt step. Used by rank-process.ts alone.
import type { NativeAddon } from '../native/addon.js';

/** The `step`-th submitted buffer (from 1) is overwritten, so that the native engine refuses it and dies. */
export function withFailingStep(addon: NativeAddon, step: number): NativeAddon {
  class FailingEngine extends addon.Engine {
    #submitted = 0;

    override submit(batch: ArrayBuffer): void {
      this.#submitted += 1;
      if (this.#submitted === step) new Uint8Array(batch).fill(0xff);
      super.submit(batch);
    }
  }
  return {
    buildInfo: () => addon.buildInfo(),
    devices: () => addon.devices(),
    cudaDevices: (library) => addon.cudaDevices(library),
    machineLimits: (seconds, threads) => addon.machineLimits(seconds, threads),
    setIdlePriority: () => addon.setIdlePriority(),
    giveWay: () => addon.giveWay(),
    rangePush: (name) => addon.rangePush(name),
    rangePop: () => addon.rangePop(),
    cudaProfilerStart: () => addon.cudaProfilerStart(),
    cudaProfilerStop: () => addon.cudaProfilerStop(),
    Engine: FailingEngine,
  };
}
