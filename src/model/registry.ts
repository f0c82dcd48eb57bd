// The supported architectures, and which of them a config.json asks for.
import { VitrineError } from '../util/errors.js';
import type { Architecture } from './architecture.js';
import { llama } from './architectures/llama.js';
import { mistral } from './architectures/mistral.js';
import { mixtral } from './architectures/mixtral.js';
import { qwen2 } from './architectures/qwen2.js';
import { qwen3 } from './architectures/qwen3.js';
import { qwen3Moe } from './architectures/qwen3-moe.js';
import type { HfConfig } from './hf-config.js';

export const ARCHITECTURES: readonly Architecture[] = [llama, mistral, mixtral, qwen2, qwen3, qwen3Moe];

/** By `architectures`, or by `model_type` in a config without them. */
export function findArchitecture(config: HfConfig): Architecture {
  const supported = ARCHITECTURES.map((architecture) => architecture.name).join(', ');
  if (config.has('architectures')) {
    const names = config.strings('architectures');
    const found = ARCHITECTURES.find((architecture) => names.includes(architecture.name));
    if (found !== undefined) return found;
    const asked = names.length === 0 ? 'no architecture' : names.join(', ');
    throw new VitrineError(
      'MODEL_UNSUPPORTED',
      `${config.source} asks for ${asked}, which is not supported; supported are ${supported}.`,
      { param: 'architectures' },
    );
  }
  if (!config.has('model_type')) throw config.invalid('architectures', `an array with one of ${supported}`);
  const modelType = config.string('model_type');
  const found = ARCHITECTURES.find((architecture) => architecture.modelType === modelType);
  if (found !== undefined) return found;
  throw new VitrineError(
    'MODEL_UNSUPPORTED',
    `${config.source}: model_type "${modelType}" is not supported; supported architectures are ${supported}.`,
    { param: 'model_type' },
  );
}
