// Which device a model runs on.
import { toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import type { DeviceInfo, NativeAddon } from './addon.js';
import { findCudaLibrary } from './cuda-library.js';

export interface ChosenDevice {
  readonly info: DeviceInfo;
  /** Of a GPU: the path of its kernels. */
  readonly cudaLibrary?: string;
}

export interface DeviceChoice {
  readonly addon: NativeAddon;
  readonly device: 'auto' | 'cpu' | 'cuda';
  readonly log: Log;
  readonly findLibrary?: () => string;
}

/**
 * `auto` takes the first GPU, or the CPU when there is none to use; the log says why.
 * Errors: DEVICE_UNAVAILABLE with the reason when `cuda` was asked for.
 */
export function chooseDevice({ addon, device, log, findLibrary = findCudaLibrary }: DeviceChoice): ChosenDevice {
  const cpu = () => ({ info: addon.devices()[0]! });
  if (device === 'cpu') return cpu();
  try {
    const cudaLibrary = findLibrary();
    return { info: addon.cudaDevices(cudaLibrary)[0]!, cudaLibrary };
  } catch (thrown) {
    const reason = toError(thrown).message;
    if (device === 'auto') {
      log.info(`Running on the CPU: ${reason}`);
      return cpu();
    }
    throw new VitrineError('DEVICE_UNAVAILABLE', `--device cuda: ${reason}`, { param: '--device', cause: thrown });
  }
}
