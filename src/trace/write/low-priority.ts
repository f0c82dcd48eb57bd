// Puts the calling thread behind the ones that serve.
import { constants, setPriority } from 'node:os';
import { loadAddon } from '../../native/load.js';

/**
 * Idle priority for this thread alone, else the lowest there is. Returns what the thread shall call every tenth of a
 * millisecond of work: an idle thread gives its processor up at once when another one wakes, but not when one that was
 * polling wants it back; that it would notice a clock tick later, after milliseconds.
 */
export function lowerThreadPriority(): () => void {
  try {
    const addon = loadAddon();
    if (addon.setIdlePriority()) return () => addon.giveWay();
  } catch {
    // Traces are read and merged also where the addon cannot be loaded.
  }
  try {
    setPriority(0, constants.priority.PRIORITY_LOW); // priority 0's "process" is the calling thread
  } catch {
    // A sandbox may forbid it; the work is the same, only less polite.
  }
  return () => {};
}
