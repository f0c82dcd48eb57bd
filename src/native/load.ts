// Finds and loads the addon: a fresh local build first, then the prebuilt binary. No install script need have run.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { toError, VitrineError } from '../util/errors.js';
import type { NativeAddon } from './addon.js';

const packageRoot = fileURLToPath(new URL('../..', import.meta.url));
let loaded: NativeAddon | undefined;

/** The addon of this process. Throws NATIVE_UNAVAILABLE with what to do. */
export function loadAddon(): NativeAddon {
  if (loaded !== undefined) return loaded;
  const require = createRequire(import.meta.url);
  try {
    loaded = (require('node-gyp-build') as (dir: string) => NativeAddon)(packageRoot);
  } catch (thrown) {
    throw new VitrineError(
      'NATIVE_UNAVAILABLE',
      `The native addon cannot be loaded (${toError(thrown).message.split('\n')[0]}). ` +
        'There is no prebuilt binary for this machine and no local build: run `npm rebuild vitrine` ' +
        '(needs CMake and a C++20 compiler).',
      { cause: thrown },
    );
  }
  return loaded;
}
