// Puts the calling thread behind the ones that serve.
import { constants, setPriority } from 'node:os';

/** Lowest priority for this thread alone: on Linux, priority 0's "process" is the calling thread. */
export function lowerThreadPriority(): void {
  try {
    setPriority(0, constants.priority.PRIORITY_LOW);
  } catch {
    // A sandbox may forbid it; the work is the same, only less polite.
  }
}
