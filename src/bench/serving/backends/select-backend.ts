// --backend → its dialect, its default port and what it needs.
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';
import type { Backend } from './backend.js';
import { chatBackend } from './chat.js';
import { completionsBackend, textCompletionsBackend, trussBackend } from './completions.js';
import { nativeBackend } from './native.js';
import { trtBackend } from './trt.js';

export type BackendName = BenchServingOptions['backend'];

interface Entry {
  readonly backend: Backend;
  /** As in SGLang, where the chat variants share SGLang's port. */
  readonly port: number;
  /** The server has no route that names its models. */
  readonly needsModel?: true;
}

const ENTRIES: Readonly<Record<BackendName, Entry>> = {
  sglang: { backend: nativeBackend, port: 30000 },
  'sglang-native': { backend: nativeBackend, port: 30000 },
  'sglang-oai': { backend: completionsBackend, port: 30000 },
  'sglang-oai-chat': { backend: chatBackend, port: 30000 },
  vllm: { backend: completionsBackend, port: 8000 },
  'vllm-chat': { backend: chatBackend, port: 30000 },
  lmdeploy: { backend: textCompletionsBackend, port: 23333 },
  'lmdeploy-chat': { backend: chatBackend, port: 30000 },
  trt: { backend: trtBackend, port: 8000, needsModel: true },
  truss: { backend: trussBackend, port: 8080, needsModel: true },
};

export const selectBackend = (name: BackendName): Backend => ENTRIES[name].backend;

export const defaultPort = (name: BackendName): number => ENTRIES[name].port;

export const needsModel = (name: BackendName): boolean => ENTRIES[name].needsModel ?? false;
