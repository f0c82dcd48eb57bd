/* The C boundary of libvitrine_cuda.so: one function is exported, vitrine_cuda_api(), and gives a table of functions.
 * Nothing of C++ crosses: no exception, no virtual function, no standard type. The core includes this file and no other
 * of this folder. Shapes and meanings are those of backend/backend.h.
 *
 * All calls about one context come from the thread that opened it, but for memory_info(). Ops are queued on the
 * context's stream and return at once, unless it is said otherwise; what they write to host memory is there after
 * finish_step() or synchronize(). A call returns VITRINE_CUDA_OK or an error code;
 * last_error() then has the sentence. */
#ifndef VITRINE_BACKEND_CUDA_CUDA_API_H
#define VITRINE_BACKEND_CUDA_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of this file. */
#define VITRINE_CUDA_ABI_VERSION 3u
#define VITRINE_CUDA_API_SYMBOL "vitrine_cuda_api"

enum VitrineCudaStatus {
  VITRINE_CUDA_OK = 0,
  VITRINE_CUDA_ERROR = 1,         /* wrong arguments, or a CUDA call or kernel failed */
  VITRINE_CUDA_OUT_OF_MEMORY = 2, /* of the device; the context stays usable */
  VITRINE_CUDA_NO_DRIVER = 3,
  VITRINE_CUDA_OLD_DRIVER = 4,
  VITRINE_CUDA_NO_DEVICE = 5
};

/* As vitrine::DType, WeightKind and Activation. */
enum VitrineDType { VITRINE_FLOAT32 = 0, VITRINE_FLOAT16 = 1, VITRINE_BFLOAT16 = 2, VITRINE_FLOAT8_E4M3 = 3 };
enum VitrineWeightKind { VITRINE_MATRIX = 0, VITRINE_VECTOR = 1 };
enum VitrineActivation { VITRINE_SILU = 0, VITRINE_GELU = 1, VITRINE_GELU_TANH = 2 };

typedef struct VitrineCudaContext VitrineCudaContext; /* a device, its stream and what ops need beside their tensors */
typedef struct VitrineCudaWeight VitrineCudaWeight;
typedef struct VitrineCudaGraph VitrineCudaGraph;

typedef struct VitrineTensor { /* row-major, device memory */
  void* data;
  int64_t rows;
  int64_t cols;
  int32_t dtype; /* VitrineDType */
} VitrineTensor;

/* K and V: [num_blocks, num_kv_heads, block_size, head_dim] */
typedef struct VitrineKvLayer {
  void* k;
  void* v;
  int64_t num_blocks;
  int32_t block_size;
  int32_t num_kv_heads;
  int32_t head_dim;
  int32_t dtype;
  float k_scale;
  float v_scale;
} VitrineKvLayer;

typedef struct VitrineRope {
  const float* cos_sin; /* [max_positions, rotary_dim] */
  int64_t max_positions;
  int32_t rotary_dim;
} VitrineRope;

typedef struct VitrineAttentionShape {
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t head_dim;
  int32_t block_size;
  float scale;
  int32_t cache_dtype;
} VitrineAttentionShape;

typedef struct VitrineAttentionBatch {
  int32_t num_requests;
  int32_t num_tokens;
  const int32_t* query_start; /* device [R+1] */
  const int32_t* seq_lens;    /* device [R] */
  const int32_t* block_start; /* device [R+1] */
  const int32_t* blocks;      /* device [block_start[R]] */
  const int32_t* host_query_start;
  const int32_t* host_seq_lens;
} VitrineAttentionBatch;

typedef struct VitrineMoeRouting {
  int32_t* expert_ids;   /* device [T, top_k] */
  float* expert_weights; /* device [T, top_k] */
  int32_t num_experts;
  int32_t top_k;
  int32_t normalize;
} VitrineMoeRouting;

typedef struct VitrineExpert {
  const VitrineCudaWeight* gate_up; /* [2I, hidden] */
  const VitrineCudaWeight* down;    /* [hidden, I] */
} VitrineExpert;

typedef struct VitrineMoeLayer {
  const VitrineExpert* experts; /* [num_experts] */
  int32_t num_experts;
  int32_t top_k;
} VitrineMoeLayer;

typedef struct VitrineStepLimits { /* pointers are host memory */
  int32_t max_requests;
  int32_t max_tokens;
  int64_t max_input_words;
  int64_t max_result_words;
  int64_t vocab_size;
  VitrineAttentionShape attention;
  const int32_t* windows; /* each sliding window that a layer has, 0 = all */
  const VitrineMoeLayer* moe_layers;
  int32_t num_windows;
  int32_t num_moe_layers;
} VitrineStepLimits;

typedef struct VitrineSampleRequest { /* pointers are host memory but for device_token */
  int32_t row;
  float temperature;
  int32_t top_k;
  float top_p;
  float min_p;
  float frequency_penalty;
  float presence_penalty;
  float repetition_penalty;
  int32_t position;
  uint64_t seed;
  const int32_t* history;
  const int32_t* bias_ids;
  const float* bias_values;
  int32_t history_count;
  int32_t bias_count;
  int32_t* token;
  int32_t* device_token; /* may be null */
} VitrineSampleRequest;

typedef struct VitrineLogprobRequest { /* pointers are host memory */
  int32_t row;
  int32_t target; /* -(i + 1): the token of planned sample i */
  int32_t top_count;
  int32_t watch_count;
  const int32_t* watch_ids;
  float* target_logprob;
  int32_t* top_ids;
  float* top_logprobs;
  float* watch_logprobs;
} VitrineLogprobRequest;

typedef struct VitrineCudaDevice {
  char name[256];
  int32_t index; /* among those that CUDA_VISIBLE_DEVICES leaves */
  int32_t compute_major;
  int32_t compute_minor;
  int32_t multiprocessors;
  int32_t driver_version;  /* 13000: CUDA 13.0, the newest that the driver runs */
  int32_t runtime_version; /* that this library was built with */
  size_t total_bytes;
} VitrineCudaDevice;

typedef struct VitrineCudaLimits {
  double copy_bytes_per_second;   /* of a copy within the device, read and written bytes together */
  double matmul_flops_per_second; /* of cublasLt in the context's dtype; 0 without cublasLt */
} VitrineCudaLimits;

enum VitrineActivityKind {
  VITRINE_KERNEL = 0,
  VITRINE_COPY = 1,
  VITRINE_SET = 2,
  VITRINE_RUNTIME_CALL = 3,
  VITRINE_DRIVER_CALL = 4,
  VITRINE_WAIT = 5
};

/* As vitrine::DeviceActivity. */
typedef struct VitrineCudaActivity {
  const char* name; /* valid until the process ends; equal names are one pointer */
  int64_t begin_ns;
  int64_t end_ns;
  uint64_t graph_node;
  int64_t bytes;
  int32_t kind; /* VitrineActivityKind */
  uint32_t correlation;
  uint32_t thread;
  uint32_t device;
  uint32_t context;
  uint32_t stream;
  uint32_t graph;
  int32_t grid[3];
  int32_t block[3];
  int32_t registers;
  int32_t shared_memory;
} VitrineCudaActivity;

typedef struct VitrineCudaApi {
  uint32_t abi_version; /* first, in every version */
  uint32_t struct_bytes;

  const char* (*last_error)(void); /* of the calling thread; valid until its next call that fails */
  /* VITRINE_CUDA_NO_DRIVER, ..OLD_DRIVER or ..NO_DEVICE when there is none to use. */
  int (*device_count)(int* count);
  int (*describe_device)(int index, VitrineCudaDevice* device);

  /* --- context; dtype: of the activations --- */
  int (*open)(int device, int dtype, VitrineCudaContext** context);
  void (*close)(VitrineCudaContext* context);
  int (*memory_info)(VitrineCudaContext* context, size_t* free_bytes, size_t* total_bytes);
  int (*measure_limits)(VitrineCudaContext* context, double seconds, VitrineCudaLimits* limits); /* blocks */
  const char* (*matmul_library)(VitrineCudaContext* context); /* "cublasLt 13.0.2", or "built-in" and why */

  /* --- memory --- */
  int (*allocate)(VitrineCudaContext* context, size_t bytes, void** data); /* zeroed, 256-byte aligned */
  void (*release)(VitrineCudaContext* context, void* data);
  int (*reserve)(VitrineCudaContext* context, const VitrineStepLimits* limits); /* for the ops of such steps */
  size_t (*scratch_bytes)(VitrineCudaContext* context);                         /* that ops keep */
  int (*upload)(VitrineCudaContext* context, const int32_t* words, size_t count, const int32_t** device_words);
  int (*upload_to)(VitrineCudaContext* context, int32_t* device, const int32_t* words, size_t count);
  int (*write)(VitrineCudaContext* context, void* device, const void* host, size_t bytes);
  int (*download)(VitrineCudaContext* context, const VitrineTensor* from, float* to);
  int (*synchronize)(VitrineCudaContext* context); /* blocks */

  /* --- steps; fixed_memory: StepMemory::kFixed --- */
  int (*begin_step)(VitrineCudaContext* context, int fixed_memory);
  int (*end_step)(VitrineCudaContext* context);
  int (*step_done)(VitrineCudaContext* context, int* done);
  int (*finish_step)(VitrineCudaContext* context); /* blocks */

  /* --- graphs: what is called between begin_capture() and end_capture() is captured instead of queued --- */
  int (*begin_capture)(VitrineCudaContext* context);
  int (*captured_nodes)(VitrineCudaContext* context, int32_t* count);
  int (*end_capture)(VitrineCudaContext* context, VitrineCudaGraph** graph);
  void (*abandon_capture)(VitrineCudaContext* context);
  int (*replay)(VitrineCudaContext* context, const VitrineCudaGraph* graph);
  int32_t (*graph_nodes)(const VitrineCudaGraph* graph);
  void (*destroy_graph)(VitrineCudaContext* context, VitrineCudaGraph* graph);

  /* --- weights --- */
  int (*create_weight)(VitrineCudaContext* context, int kind, int64_t rows, int64_t cols, int dtype,
                       VitrineCudaWeight** weight);
  void (*destroy_weight)(VitrineCudaContext* context, VitrineCudaWeight* weight);
  size_t (*weight_bytes)(VitrineCudaContext* context, const VitrineCudaWeight* weight);
  int (*load_rows)(VitrineCudaContext* context, VitrineCudaWeight* weight, int64_t first_row, int64_t row_count,
                   const void* source, int stored_dtype); /* source may change on return */
  int (*load_quantized_rows)(VitrineCudaContext* context, VitrineCudaWeight* weight, int64_t first_row,
                             int64_t row_count, const void* source, const float* scales); /* likewise */

  /* --- ops --- */
  int (*resolve_token_ids)(VitrineCudaContext* context, const int32_t* ids, const int32_t* last_sampled, int32_t count,
                           int32_t* out);
  int (*embed)(VitrineCudaContext* context, const VitrineCudaWeight* table, const int32_t* ids,
               const VitrineTensor* out);
  int (*rms_norm)(VitrineCudaContext* context, const VitrineTensor* x, const VitrineCudaWeight* gain, float eps,
                  const VitrineTensor* out);
  int (*add_rms_norm)(VitrineCudaContext* context, const VitrineTensor* residual, const VitrineTensor* delta,
                      const VitrineCudaWeight* gain, float eps, const VitrineTensor* out);
  int (*linear)(VitrineCudaContext* context, const VitrineCudaWeight* weight, const VitrineCudaWeight* bias,
                const VitrineTensor* x, const VitrineTensor* out);
  int (*rope_and_store)(VitrineCudaContext* context, const VitrineTensor* qkv, int32_t num_heads,
                        const VitrineRope* rope, const VitrineCudaWeight* q_norm, const VitrineCudaWeight* k_norm,
                        float eps, const int32_t* positions, const int32_t* kv_slots, const VitrineKvLayer* cache);
  int (*plan_attention)(VitrineCudaContext* context, const VitrineAttentionShape* shape,
                        const VitrineAttentionBatch* batch);
  int (*run_attention)(VitrineCudaContext* context, const VitrineKvLayer* cache, const VitrineTensor* qkv,
                       int32_t sliding_window, const VitrineTensor* out);
  int (*gated_activation)(VitrineCudaContext* context, const VitrineTensor* gate_up, int activation,
                          const VitrineTensor* out);
  int (*moe_route)(VitrineCudaContext* context, const VitrineTensor* router_logits, const VitrineMoeRouting* routing);
  int (*moe_experts)(VitrineCudaContext* context, const VitrineTensor* x, const VitrineMoeRouting* routing,
                     const VitrineExpert* experts, int activation, const VitrineTensor* out);
  int (*gather_rows)(VitrineCudaContext* context, const VitrineTensor* x, const int32_t* rows,
                     const VitrineTensor* out);

  /* --- sampling --- */
  int (*plan_sampling)(VitrineCudaContext* context, size_t sample_count, const VitrineSampleRequest* samples,
                       size_t logprob_count, const VitrineLogprobRequest* logprobs);
  int (*sample)(VitrineCudaContext* context, const VitrineTensor* logits, size_t first, size_t count);
  int (*logprobs)(VitrineCudaContext* context, const VitrineTensor* logits, size_t first, size_t count);

  /* --- what the process's GPUs do, by CUPTI; of any thread. See backend/cuda/activity_recorder.h --- */
  int (*start_activities)(void);
  void (*stop_activities)(void);
  int (*flush_activities)(void);
  size_t (*take_activities)(VitrineCudaActivity* activities, size_t capacity, uint64_t* dropped); /* added to dropped */
} VitrineCudaApi;

typedef const VitrineCudaApi* (*VitrineCudaApiFunction)(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
