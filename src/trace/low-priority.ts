// Puts the calling thread behind the ones that serve.
import { constants, setPriority } from 'node:os';
import { loadAddon } from '../native/load.js';

/**
 * Idle priority for this thread alone, else the lowest there is. On Linux a thread of the lowest nice value keeps the
 * processor for a while when another one wakes; an idle one gives it up at once.
 */
export function lowerThreadPriority(): void {
  try {
    if (loadAddon().setIdlePriority()) return;
  } catch {
    // Traces are read and merged also where the addon cannot be loaded.
  }
  try {
    setPriority(0, constants.priority.PRIORITY_LOW); // priority 0's "process" is the calling thread
  } catch {
    // A sandbox may forbid it; the work is the same, only less polite.
  }
}
