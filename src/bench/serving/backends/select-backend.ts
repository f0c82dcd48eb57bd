// --backend → its dialect and default port.
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import type { Backend } from './backend.js';
import { chatBackend } from './chat.js';
import { completionsBackend } from './completions.js';
import { nativeBackend } from './native.js';

export type BackendName = BenchServingOptions['backend'];

const BACKENDS: Readonly<Record<BackendName, Backend>> = {
  sglang: nativeBackend,
  'sglang-native': nativeBackend,
  'sglang-oai': completionsBackend,
  vllm: completionsBackend,
  'sglang-oai-chat': chatBackend,
  'vllm-chat': chatBackend,
};

export function selectBackend(name: BackendName): Backend {
  return BACKENDS[name];
}

/** As in SGLang, where the chat variants share SGLang's port. */
export function defaultPort(name: BackendName): number {
  return name === 'vllm' ? 8000 : 30000;
}
