// Finds libvitrine_cuda.so, the GPU kernels: they come in a package of their own, installed only where they are wanted.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { VitrineError } from '../util/errors.js';

/** Its `main` is the library. */
export const CUDA_PACKAGE = 'vitrine-cuda-linux-x64';
/** Path of a library to use instead, for development. */
export const CUDA_LIBRARY_VARIABLE = 'VITRINE_CUDA_LIBRARY';

export interface CudaLibrarySearch {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** What `npm run build:cuda` makes. */
  readonly localBuild: string;
  /** Path of the package's library; throws when it is not installed. */
  readonly resolvePackage: () => string;
}

const require = createRequire(import.meta.url);
const SEARCH: CudaLibrarySearch = {
  environment: process.env,
  localBuild: fileURLToPath(new URL('../../build/cuda/libvitrine_cuda.so', import.meta.url)),
  resolvePackage: () => require.resolve(CUDA_PACKAGE),
};

/**
 * The environment's library, else a local build, else the package's. The file need not be a good one.
 * Errors: DEVICE_UNAVAILABLE when there is none.
 */
export function findCudaLibrary(search: CudaLibrarySearch = SEARCH): string {
  const named = search.environment[CUDA_LIBRARY_VARIABLE];
  if (named !== undefined && named !== '') return named;
  if (existsSync(search.localBuild)) return search.localBuild;
  try {
    return search.resolvePackage();
  } catch (thrown) {
    throw new VitrineError(
      'DEVICE_UNAVAILABLE',
      `the package ${CUDA_PACKAGE} is not installed, there is no local build (npm run build:cuda), and ` +
        `${CUDA_LIBRARY_VARIABLE} names no library`,
      { cause: thrown },
    );
  }
}
