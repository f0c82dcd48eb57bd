// Which device a model runs on.
import { toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import type { CudaDeviceInfo, DeviceInfo, NativeAddon } from './addon.js';
import { findCudaLibrary } from './cuda-library.js';

export interface ChosenDevice {
  readonly info: DeviceInfo;
  /** Of a GPU: the path of its kernels. */
  readonly cudaLibrary?: string;
}

export interface DeviceChoice {
  readonly addon: NativeAddon;
  readonly device: 'auto' | 'cpu' | 'cuda';
  /** Which GPU, counted among those that CUDA_VISIBLE_DEVICES leaves. */
  readonly baseGpuId: number;
  readonly log: Log;
  readonly findLibrary?: () => string;
}

/**
 * `auto` takes the GPU that was asked for, or the CPU when there is no GPU at all to use; the log says why.
 * Errors: DEVICE_UNAVAILABLE with the reason when `cuda` was asked for, or when there are GPUs but not this one.
 */
export function chooseDevice(choice: DeviceChoice): ChosenDevice {
  const { addon, device, baseGpuId, log, findLibrary = findCudaLibrary } = choice;
  const cpu = () => ({ info: addon.devices()[0]! });
  if (device === 'cpu') return cpu();
  let cudaLibrary: string;
  let gpus: CudaDeviceInfo[];
  try {
    cudaLibrary = findLibrary();
    gpus = addon.cudaDevices(cudaLibrary);
  } catch (thrown) {
    const reason = toError(thrown).message;
    if (device === 'auto') {
      log.info(`Running on the CPU: ${reason}`);
      return cpu();
    }
    throw new VitrineError('DEVICE_UNAVAILABLE', `--device cuda: ${reason}`, { param: '--device', cause: thrown });
  }
  const info = gpus.find(({ index }) => index === baseGpuId);
  if (info !== undefined) return { info, cudaLibrary };
  const names = gpus.map(({ index, name }) => `${index} (${name})`).join(', ');
  throw new VitrineError(
    'DEVICE_UNAVAILABLE',
    `--base-gpu-id ${baseGpuId}: there is no such GPU, or it is older than compute capability 8.0; expected one of ${names}`,
    { param: '--base-gpu-id' },
  );
}
