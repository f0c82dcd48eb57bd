// The module tree of a decoder in traces: one TraceSite for every module of SGLang's model classes that runs here as an
// op of its own, and for the blocks around them. Spans call a module by its path in the checkpoint (`model.norm`), NVTX
// ranges by SGLang's (`model.model.norm`). Built once, read-only.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "model/model_spec.h"
#include "profiler/tracer.h"

namespace vitrine {

inline TraceShape trace_shape(const Tensor& tensor) { return {tensor.rows, tensor.cols}; }

/// Sites that the layer's spec has no module for stay empty.
struct LayerSites {
  TraceSite layer;
  TraceSite input_layernorm;
  TraceSite self_attn;
  TraceSite qkv_proj;
  TraceSite rotary_emb;  ///< with q_norm and k_norm, and the KV cache's write: they are one op
  TraceSite attn;
  TraceSite o_proj;
  TraceSite post_attention_layernorm;
  TraceSite mlp;
  TraceSite gate_up_proj;
  TraceSite act_fn;
  TraceSite down_proj;
  TraceSite gate;  ///< of a mixture of experts: the router
  TraceSite topk;
  TraceSite experts;
};

struct DecoderSites {
  TraceSite root;
  TraceSite plan_attention;
  TraceSite resolve_token_ids;
  TraceSite model;
  TraceSite embed_tokens;
  std::vector<LayerSites> layers;
  TraceSite gather_rows;
  TraceSite norm;
  TraceSite logits_processor;
  TraceSite lm_head;
};

/// `activation`: the backend's dtype.
DecoderSites decoder_sites(const ModelSpec& spec, DType activation, Tracer& tracer);

}  // namespace vitrine
