// What the server tells about itself: /model_info and /server_info (and their older names).
import type { FastifyInstance } from 'fastify';
import { SERVER_OPTIONS, type ServerOptions } from '../config/tables/server-options.js';
import type { RankInfo, SchedulerState } from '../messages/control.js';
import type { Lifecycle } from './lifecycle.js';
import type { ServedModel } from './served-model.js';

const SECRETS = new Set(['apiKey', 'adminApiKey']);
const GIB = 2 ** 30;

export function installInfo(app: FastifyInstance, lifecycle: Lifecycle, options: ServerOptions, version: string): void {
  const modelInfo = async () => {
    const { model } = lifecycle.services();
    return {
      model_path: model.path,
      tokenizer_path: model.tokenizerPath,
      is_generation: true,
      preferred_sampling_params: null,
      weight_version: 'default',
      has_image_understanding: false,
      has_audio_understanding: false,
      model_type: model.modelType,
      architectures: [model.architecture],
    };
  };
  const serverInfo = async () => {
    const { scheduler, manager, model } = lifecycle.services();
    const { info } = manager;
    const facts = optionFacts(options, model, info);
    return {
      ...facts,
      status: 'ready',
      max_total_num_tokens: info.maxTotalTokens,
      max_req_input_len: Math.min(info.contextLength, info.maxTotalTokens) - 1,
      device_name: info.deviceName,
      internal_states: [{ ...facts, ...internalState(info, await scheduler.state()) }],
      version,
    };
  };
  for (const url of ['/model_info', '/get_model_info']) app.get(url, modelInfo);
  for (const url of ['/server_info', '/get_server_info']) app.get(url, serverInfo);
}

/**
 * All options under SGLang's names but the keys, those that were left open as the rank decided them, and the sizes of the
 * parallel groups, which are all 1.
 */
function optionFacts(options: ServerOptions, model: ServedModel, info: RankInfo): Record<string, unknown> {
  const facts: Record<string, unknown> = {};
  for (const { flag, key } of SERVER_OPTIONS) {
    if (!SECRETS.has(key)) facts[flag.replaceAll('-', '_')] = options[key] ?? null;
  }
  return {
    ...facts,
    tokenizer_path: model.tokenizerPath,
    served_model_name: model.name,
    device: info.device,
    dtype: info.dtype,
    kv_cache_dtype: info.kvCacheDtype === 'float8_e4m3fn' ? 'fp8_e4m3' : info.kvCacheDtype,
    quantization: info.quantization,
    cuda_graph_bs: info.cudaGraphBatchSizes,
    cuda_graph_max_bs: info.cudaGraphBatchSizes.at(-1) ?? null,
    context_length: info.contextLength,
    chunked_prefill_size: info.chunkedPrefillSize,
    mem_fraction_static: info.memFractionStatic,
    max_running_requests: info.maxRunningRequests,
    tp_size: 1,
    pp_size: 1,
    dp_size: 1,
    ep_size: 1,
    disaggregation_mode: 'null',
  };
}

function internalState(info: RankInfo, state: SchedulerState): Record<string, unknown> {
  return {
    last_gen_throughput: state.lastGenThroughput,
    memory_usage: {
      weight: gib(info.weightBytes),
      kvcache: gib(info.kvCacheBytes),
      token_capacity: info.maxTotalTokens,
      graph: gib(info.graphBytes),
    },
    effective_max_running_requests_per_dp: info.maxRunningRequests,
    num_running_reqs: state.runningRequests,
    num_queue_reqs: state.queuedRequests,
    num_used_tokens: state.usedTokens,
    num_cached_tokens: state.cachedTokens,
    forward_ct: state.forwardSteps,
    step_work: state.stepWork,
    load_seconds: info.loadSeconds,
  };
}

function gib(bytes: number): number {
  return Number((bytes / GIB).toFixed(4));
}
