// What a trace file says of the devices behind it.
import type { DeviceInfo } from '../native/addon.js';
import type { DeviceProperties } from '../trace/trace-event.js';

/** `deviceProperties` of a trace, in the order of the devices. */
export function deviceProperties(devices: readonly DeviceInfo[]): DeviceProperties[] {
  return devices.map(({ kind, name, threads, totalBytes }, id) => ({
    ...{ id, kind, name, totalGlobalMem: totalBytes, threads },
  }));
}
