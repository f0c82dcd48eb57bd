// Flags of SGLang's programs that Vitrine does not have, so that they are refused by name and not as typing errors.
// A flag that gets an implementation moves from here into a table.

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Of `launch_server`, and so of every program that runs a model. */
export const UNSUPPORTED_SERVER_FLAGS: readonly string[] = words(`
  allow-auto-truncate api-key-file attention-backend bucket-e2e-request-latency bucket-inter-token-latency
  bucket-time-to-first-token chunked-prefill-balance collect-tokens-histogram completion-template constrained-json-whitespace-pattern
  cpu-offload-gb crash-dump-folder custom-sigquit-handler data-parallel-size
  debug-tensor-dump-input-file debug-tensor-dump-output-folder decode-attention-backend deepep-config deepep-mode
  delete-ckpt-after-loading disable-chunked-prefix-cache disable-cuda-graph-padding
  disable-custom-all-reduce disable-fast-image-processor disable-flashinfer-cutlass-moe-fp4-allgather disable-hybrid-swa-memory
  disable-outlines-disk-cache disable-piecewise-cuda-graph disable-shared-experts-fusion disaggregation-bootstrap-port
  disaggregation-decode-dp disaggregation-decode-enable-offload-kvcache disaggregation-decode-polling-interval
  disaggregation-decode-tp disaggregation-ib-device disaggregation-mode disaggregation-prefill-pp
  disaggregation-transfer-backend dist-init-addr dist-timeout download-dir dp-size dtype-kv eplb-algorithm
  elastic-ep-backend enable-cudagraph-gc enable-custom-logit-processor enable-deterministic-inference enable-dp-attention
  enable-dp-lm-head enable-dynamic-batch-tokenizer enable-dynamic-chunking enable-ep-moe enable-eplb
  enable-expert-distribution-metrics enable-flashinfer-allreduce-fusion enable-fp32-lm-head enable-hierarchical-cache
  enable-kv-cache-events enable-lmcache enable-lora enable-memory-saver
  enable-metrics-for-all-schedulers enable-mscclpp enable-multimodal enable-nan-detection enable-nccl-nvls enable-p2p-check
  enable-pdmux enable-piecewise-cuda-graph enable-priority-scheduling enable-profile-cuda-graph enable-return-hidden-states
  enable-return-routed-experts enable-sampling-batch-invariant enable-single-batch-overlap enable-symm-mem enable-tokenizer-batch-encode
  enable-tokenizer-worker enable-torch-compile enable-torch-symm-mem enable-trace enable-two-batch-overlap enable-weights-cpu-backup
  ep ep-size ep-dispatch-algorithm ep-num-redundant-experts expert-distribution-recorder-buffer-size
  expert-distribution-recorder-mode expert-parallel-size file-storage-path flashinfer-mla-disable-ragged flashinfer-mxfp4-moe-precision
  fp4-gemm-backend fp8-gemm-backend gc-warning-threshold-secs gpu-id-step grammar-backend hf-chat-template-name
  hicache-io-backend hicache-mem-layout hicache-ratio hicache-size hicache-storage-backend hicache-storage-backend-extra-config
  hicache-storage-prefetch-policy hicache-write-policy hybrid-kvcache-ratio init-expert-location is-embedding
  keep-mm-feature-on-device kv-events-config load-balance-method log-level-http log-requests-format
  log-requests-level log-requests-target lora-backend lora-eviction-policy lora-paths lora-target-modules
  mamba-cache-chunk-size mamba-full-memory-ratio mamba-ssm-dtype max-cpu-loras max-loaded-loras max-loras-per-batch
  max-lora-chunk-size max-lora-rank max-micro-batch-size max-speculative-step-time min-per-gpu-memory-gb mm-attention-backend
  mm-max-concurrent-calls mm-per-request-timeout model-checksum model-impl model-loader-extra-config modelopt-checkpoint-restore-path
  modelopt-checkpoint-save-path modelopt-quant moe-a2a-backend moe-dense-tp-size moe-runner-backend multi-item-scoring-delimiter
  nccl-init-addr nccl-port nnodes node-rank num-continuous-decode-steps num-reserved-decode-tokens numa-node nsa-decode-backend
  nsa-prefill-backend offload-group-size offload-mode offload-num-in-group offload-prefetch-step oltp-traces-endpoint otlp-traces-endpoint
  pdmux-config-path piecewise-cuda-graph-compiler piecewise-cuda-graph-max-tokens piecewise-cuda-graph-tokens
  pipeline-parallel-size pp-async-batch-depth pp-max-micro-batch-size pp-size preferred-sampling-params prefill-attention-backend
  prefill-max-requests prefill-round-robin-balance priority-scheduling-preemption-threshold quantization-param-path
  quantize-and-serve radix-eviction-policy reasoning-parser rl-on-policy-target rl-quant-profile sampling-backend sampling-defaults
  schedule-conservativeness schedule-low-priority-values-first scheduler-recv-interval served-lora sleep-on-idle
  sm-group-num soft-watchdog-timeout speculative-accept-threshold-acc speculative-accept-threshold-single speculative-algo
  speculative-algorithm speculative-attention-mode speculative-draft-load-format speculative-draft-model-path
  speculative-draft-model-quantization speculative-draft-model-revision speculative-eagle-topk
  speculative-moe-runner-backend speculative-ngram-branch-length speculative-num-draft-tokens speculative-num-steps
  speculative-token-map ssl-certfile ssl-keyfile swa-full-tokens-ratio tbo-token-distribution-threshold tensor-parallel-size
  tokenizer-metrics-allowed-custom-labels tokenizer-mode tokenizer-worker-num tool-call-parser tool-server torch-compile-max-bs
  torchao-config tp-size triton-attention-num-kv-splits triton-attention-reduce-in-fp32 triton-attention-split-tile-size
  trace-level trust-remote-code warmups weight-loader-disable-mmap weight-version
`);

/** Values of --quantization. */
export const UNSUPPORTED_QUANTIZATIONS: readonly string[] = words(`
  auto-round awq awq_marlin bitsandbytes gguf gptq gptq_marlin marlin modelopt modelopt_fp4 modelopt_fp8 moe_wna16 mxfp4 mxfp8
  petit_nvfp4 qoq quark w4afp8 w8a8_int8
`);

/** Of `bench_serving`. */
export const UNSUPPORTED_BENCH_SERVING_FLAGS: readonly string[] = words(`
  agentic-max-turns dataset-offset fake-prefill gsp-group-distribution gsp-zipf-alpha
  speed-bench-category speed-bench-output-len
`);

/** Of the benches, about images. */
export const MULTIMODAL_BENCH_FLAGS: readonly string[] = words(`
  image-content image-count image-format image-resolution random-image-count
`);
