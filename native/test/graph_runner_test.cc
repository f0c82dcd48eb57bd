// Decode steps that are padded, captured and replayed, against the same steps op by op; and steps that are queued
// before the ones before them are done. On a GPU the comparison runs as it is; without one, the ops of a CPU backend
// are queued.
#include "engine/graph_runner.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "engine/engine.h"
#include "engine/model_runner.h"
#include "model/weight_loader.h"
#include "model/workspace.h"
#include "op_test_support.h"
#include "queued_backend.h"
#include "test_framework.h"
#include "tiny_model.h"

namespace vitrine::test {
namespace {

using namespace std::chrono_literals;

constexpr int32_t kBlockSize = 4;
constexpr int32_t kRequests = 6;  // slots
constexpr int32_t kBlocksPerRequest = 8;

std::unique_ptr<Backend> cpu_backend(ThreadPool& pool) { return make_cpu_backend(supported_cpu_isas().back(), pool); }

CacheConfig cache_config(std::vector<int32_t> sizes, bool capture) {
  return {kRequests * kBlocksPerRequest, kBlockSize, kRequests, 64, kBlockSize * kBlocksPerRequest,
          {std::move(sizes), capture}};
}

std::vector<int32_t> blocks_of(int32_t slot) {
  std::vector<int32_t> blocks;
  for (int32_t i = 0; i < kBlocksPerRequest; ++i) blocks.push_back(i * kRequests + slot);
  return blocks;
}

/// A model with dummy weights, stepped by hand.
class Model {
 public:
  Model(ModelSpec spec, std::unique_ptr<Backend> backend, ThreadPool& pool, const CacheConfig& config)
      : spec_(std::move(spec)),
        backend_(std::move(backend)),
        tracer_(pool, false),
        weights_(load_weights(spec_, dummy_plan(spec_, 11), *backend_, pool)),
        runner_(spec_, weights_, *backend_, pool, tracer_, config) {}

  ModelRunner& runner() { return runner_; }
  const ModelSpec& spec() const { return spec_; }

 private:
  const ModelSpec spec_;
  std::unique_ptr<Backend> backend_;
  Tracer tracer_;
  const Weights weights_;
  ModelRunner runner_;
};

/// Sequences of one engine, each in a slot: prompts, then tokens that only the device knows.
class Sequences {
 public:
  BatchRequest prompt(int32_t slot, int32_t tokens) {
    BatchRequest request{slot, 0, {}, blocks_of(slot), layout::kFlagResetSlot | layout::kFlagReturnLogits, {}};
    for (int32_t i = 0; i < tokens; ++i) request.tokens.push_back((slot * 31 + i * 7) % 90);
    request.rows = {tokens - 1};
    length_[slot] = tokens;
    return request;
  }
  BatchRequest next(int32_t slot) {
    return {slot, length_[slot]++, {-(slot + 1)}, blocks_of(slot), layout::kFlagReturnLogits, {0}};
  }
  std::vector<BatchRequest> next_of(std::initializer_list<int32_t> slots) {
    std::vector<BatchRequest> requests;
    for (const int32_t slot : slots) requests.push_back(next(slot));
    return requests;
  }

 private:
  int32_t length_[kRequests] = {};
};

/// Prompts, decode steps with batches of every size, a step of both kinds, and a slot that is used again.
std::vector<std::vector<int32_t>> conversation() {
  Sequences sequences;
  std::vector<std::vector<BatchRequest>> steps;
  steps.push_back({sequences.prompt(0, 5), sequences.prompt(1, 1), sequences.prompt(2, 9)});
  for (int i = 0; i < 3; ++i) steps.push_back(sequences.next_of({0, 1, 2}));  // padded to 4
  steps.push_back(sequences.next_of({1}));                                    // 1
  steps.push_back({sequences.next(2), sequences.prompt(3, 6), sequences.next(0)});
  steps.push_back(sequences.next_of({3, 0, 2, 1}));  // 4
  steps.push_back({sequences.prompt(4, 2), sequences.prompt(5, 3)});
  steps.push_back(sequences.next_of({0, 1, 2, 3, 4, 5}));  // larger than any size
  steps.push_back({sequences.prompt(1, 3)});
  for (int i = 0; i < 6; ++i) steps.push_back(sequences.next_of({5, 1}));  // 2
  std::vector<std::vector<int32_t>> words;
  for (const auto& requests : steps) words.push_back(forward_batch_words(requests, kBlockSize));
  return words;
}
constexpr size_t kReplays = 11;  // steps of the conversation that are padded

/// Tokens and logits of every step, each launched before the one before it is finished, as an engine does it.
std::vector<std::vector<int32_t>> outputs_of(ModelRunner& runner) {
  std::vector<Step> steps;
  for (const auto& words : conversation()) {
    steps.emplace_back();
    steps.back().batch = words;
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    runner.launch(steps[i]);
    if (runner.most_launched() == 1) {
      runner.finish(steps[i]);
    } else if (i > 0) {
      runner.finish(steps[i - 1]);
    }
  }
  if (runner.most_launched() > 1) runner.finish(steps.back());
  std::vector<std::vector<int32_t>> outputs;
  for (const Step& step : steps) {
    outputs.push_back(output_ints(step.output, layout::OutputSection::kSampledIds));
    outputs.push_back(output_ints(step.output, layout::OutputSection::kLogits));
  }
  return outputs;
}

struct SpecCase {
  std::string name;
  ModelSpec spec;
};

std::vector<SpecCase> spec_cases() {
  std::vector<SpecCase> cases(4, {"plain", tiny_spec()});
  cases[1].name = "windows";
  cases[1].spec.layers[0].sliding_window = 5;
  cases[1].spec.layers[2].sliding_window = 1;
  cases[2].name = "experts";
  cases[2].spec.layers[1].moe = MoeSpec{5, 2, true, 24};
  cases[3].name = "heads of 64";  // that the tensor-core kernels of a GPU take
  ModelSpec& wide = cases[3].spec;
  wide.hidden_size = 256;
  wide.intermediate_size = 512;
  wide.num_heads = 8;
  wide.num_kv_heads = 2;
  wide.head_dim = 64;
  set_rope(wide, 64);
  cases.push_back({"heads of 64, a cache of float8", wide});
  cases.back().spec.kv_cache = {DType::kFloat8E4M3, {{0.01f, 0.03f}, {0.02f, 0.01f}, {0.015f, 0.05f}}};
  return cases;
}

/// body(make_backend, dtype of weights, name) for each device that queues its ops: a GPU, or what stands for one.
template <class Body>
void for_each_queue(ThreadPool& pool, Body body) {
  if (!cuda_under_test()) {
    const auto make = [&pool] { return make_queued_backend(cpu_backend(pool), std::make_shared<QueueLog>()); };
    return body(make, DType::kFloat32, "queued");
  }
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    body([dtype] { return make_cuda_backend(*cuda_under_test(), 0, dtype); }, dtype, dtype_name(dtype));
  }
}

std::unique_ptr<Step> step_of(const std::vector<BatchRequest>& requests) {
  auto step = std::make_unique<Step>();
  step->batch = forward_batch_words(requests, kBlockSize);
  return step;
}

/// An engine on a queued backend, and what it gives back.
class QueuedEngine {
 public:
  QueuedEngine()
      : engine_({tiny_spec(), 1, [this](ThreadPool& pool) { return make_queued_backend(cpu_backend(pool), log_); }},
                [this](std::unique_ptr<Step> step) {
                  const std::lock_guard lock(mutex_);
                  log_->add(step->error.empty() ? "result" : "error");
                  done_.push_back(std::move(step));
                }) {
    engine_.load_weights(dummy_plan(tiny_spec(), 3));
    engine_.init_cache(cache_config({1, 2, 4}, true));
    log_->busy = true;
  }

  Engine& engine() { return engine_; }
  QueueLog& log() { return *log_; }
  void submit(std::vector<BatchRequest> requests) { engine_.submit(step_of(requests)); }
  void wait_for_event(const std::string& event) {
    while (log_->count(event) == 0) std::this_thread::sleep_for(100us);
  }
  void wait_for_steps(size_t count) {
    while (true) {
      const std::lock_guard lock(mutex_);
      if (done_.size() >= count) return;
    }
  }
  const std::vector<std::unique_ptr<Step>>& done() const { return done_; }
  /// Events from the first launch after the start-up on, without copies and replays.
  std::vector<std::string> order() const {
    std::vector<std::string> events;
    for (std::string& event : log_->events()) {
      const std::string kind = event.substr(0, event.find(' '));
      if (kind == "capture") events.clear();  // the last one of the start-up
      if (kind == "launch" || kind == "finish" || kind == "result" || kind == "error")
        events.push_back(std::move(event));
    }
    return events;
  }

 private:
  std::shared_ptr<QueueLog> log_ = std::make_shared<QueueLog>();
  std::mutex mutex_;
  std::vector<std::unique_ptr<Step>> done_;
  Engine engine_;
};

}  // namespace

TEST("graph runner: a batch is padded to the next size") {
  ThreadPool pool(1);
  const auto log = std::make_shared<QueueLog>();
  Model model(tiny_spec(), make_queued_backend(cpu_backend(pool), log), pool, cache_config({1, 2, 4, 5, 8}, false));
  const GraphRunner& graphs = *model.runner().graphs();
  const int32_t padded[] = {1, 2, 4, 4, 5, 0, 0};
  for (int32_t requests = 1; requests <= 7; ++requests) CHECK_EQ(graphs.padded_size(requests), padded[requests - 1]);
  CHECK_EQ(graphs.sizes().size(), size_t{4});  // 8 are more than there are slots
  CHECK_EQ(log->count("capture"), size_t{0});

  const auto takes = [&](const std::vector<BatchRequest>& requests) {
    const std::vector<int32_t> words = forward_batch_words(requests, kBlockSize);
    return graphs.takes(ForwardBatchView(words));
  };
  Sequences sequences;
  CHECK(!takes({sequences.prompt(0, 3)}));
  CHECK(takes(sequences.next_of({0})));
  CHECK(takes(sequences.next_of({0, 1, 2})));
  CHECK(!takes(sequences.next_of({0, 1, 2, 3, 4, 5})));
  CHECK(!takes({sequences.next(0), sequences.prompt(1, 2)}));
  BatchRequest silent = sequences.next(0);
  silent.rows = {};  // nobody wants its logits
  CHECK(!takes({silent}));
  BatchRequest long_table = sequences.next(0);
  long_table.blocks.push_back(1);  // than the longest sequence has
  CHECK(!takes({long_table}));
}

OP_TEST("graph runner: a replay equals the same step op by op, bit for bit") {
  ThreadPool pool(2);
  for (const SpecCase& each : spec_cases()) {
    for_each_queue(pool, [&](auto make_backend, DType dtype, std::string_view device) {
      ModelSpec spec = each.spec;
      spec.dtype = dtype;
      if (spec.kv_cache.dtype != DType::kFloat8E4M3) spec.kv_cache.dtype = dtype;
      const std::string name = std::string(device) + " " + each.name;
      Model eager(spec, make_backend(), pool, cache_config({1, 2, 4}, false));
      Model graphs(spec, make_backend(), pool, cache_config({1, 2, 4}, true));
      const auto expected = outputs_of(eager.runner());
      CHECK_MESSAGE(outputs_of(graphs.runner()) == expected, name);
      CHECK_MESSAGE(outputs_of(graphs.runner()) == expected, name + ", again");
      CHECK_EQ(graphs.runner().graph_cost().count, size_t{3});
      for (const GraphRunner::Size& size : graphs.runner().graphs()->sizes()) {
        CHECK_MESSAGE(size.graph != nullptr, name);
        int32_t nodes = 0;
        for (const CapturedOp& op : size.ops) nodes += op.nodes;
        CHECK_EQ(nodes, size.graph->node_count());
      }
    });
  }
}

TEST("graph runner: padding changes no bit of a backend whose rows do not depend on the batch") {
  ThreadPool pool(2);
  for (const SpecCase& each : spec_cases()) {
    Model plain(each.spec, cpu_backend(pool), pool, cache_config({1, 2, 4}, true));  // which has no graphs
    CHECK(plain.runner().graphs() == nullptr);
    const auto log = std::make_shared<QueueLog>();
    Model graphs(each.spec, make_queued_backend(cpu_backend(pool), log), pool, cache_config({1, 2, 4}, true));
    const size_t copies = log->count("copy");
    const size_t reads = log->count("read");
    CHECK_MESSAGE(outputs_of(graphs.runner()) == outputs_of(plain.runner()), each.name);
    const size_t steps = conversation().size();
    CHECK_EQ(log->count("replay"), kReplays);
    CHECK_EQ(log->count("copy") - copies, steps);
    CHECK_EQ(log->count("read") - reads, steps);
  }
}

TEST("graph runner: what a graph was captured from is known by layer") {
  ThreadPool pool(1);
  Model model(tiny_spec(), make_queued_backend(cpu_backend(pool), std::make_shared<QueueLog>()), pool,
              cache_config({2}, true));
  const std::vector<CapturedOp>& ops = model.runner().graphs()->sizes()[0].ops;
  std::vector<int32_t> layers;
  for (const CapturedOp& op : ops) {
    CHECK(op.site->is_op);
    CHECK(op.nodes >= 1);
    layers.push_back(op.site->record.layer);
  }
  CHECK_EQ(layers.front(), -1);  // token ids, embedding
  CHECK_EQ(layers.back(), -1);   // logits
  CHECK(std::is_sorted(layers.begin() + 2, layers.end() - 2));
  CHECK(std::set<int32_t>(layers.begin(), layers.end()) == (std::set<int32_t>{-1, 0, 1, 2}));
}

TEST("engine: a queued step is launched before the one before it is finished") {
  QueuedEngine run;
  Sequences sequences;
  run.submit({sequences.prompt(0, 4)});
  run.wait_for_event("launch 4");  // three were those of the start-up
  CHECK_EQ(run.log().count("result"), size_t{0});
  run.submit(sequences.next_of({0}));
  run.wait_for_steps(1);
  run.submit(sequences.next_of({0}));
  run.wait_for_steps(2);
  run.log().busy = false;
  run.wait_for_steps(3);
  const std::vector<std::string> expected = {"launch 4", "launch 5", "finish 4", "result", "launch 6",
                                             "finish 5", "result",   "finish 6", "result"};
  CHECK(run.order() == expected);
  run.engine().close();
}

TEST("engine: a step that samples by what was generated waits for the steps before it") {
  const auto penalized = [](std::vector<BatchRequest> requests) {
    requests[0].flags |= layout::kFlagTrackHistory;
    return requests;
  };
  QueuedEngine run;
  Sequences sequences;
  run.submit(penalized({sequences.prompt(0, 4)}));
  run.submit(penalized(sequences.next_of({0})));
  run.submit(penalized(sequences.next_of({0})));
  run.wait_for_steps(2);
  run.log().busy = false;
  run.wait_for_steps(3);
  const std::vector<std::string> expected = {"launch 4", "finish 4", "result",   "launch 5", "finish 5",
                                             "result",   "launch 6", "finish 6", "result"};
  CHECK(run.order() == expected);
  run.engine().close();
}

TEST("engine: an error that comes out when the next step runs already is its own step's") {
  QueuedEngine run;
  Sequences sequences;
  run.submit({sequences.prompt(0, 4)});
  auto bad = step_of(sequences.next_of({0}));
  // A weight of the bias that suppresses every token: the sampler finds that nothing is left.
  const auto put = [&](layout::BatchSection section, std::vector<int32_t> values) {
    const size_t at = static_cast<size_t>(layout::kDirectoryStart) + 2 * static_cast<size_t>(section);
    bad->batch[at] = static_cast<int32_t>(bad->batch.size());
    bad->batch[at + 1] = static_cast<int32_t>(values.size());
    bad->batch.insert(bad->batch.end(), values.begin(), values.end());
  };
  const int32_t vocab = tiny_spec().vocab_size;
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocab; ++id) ids.push_back(id);
  const float minus_infinity = -INFINITY;
  int32_t bits = 0;
  std::memcpy(&bits, &minus_infinity, sizeof bits);
  put(layout::BatchSection::kBiasStart, {0, vocab});
  put(layout::BatchSection::kBiasIds, ids);
  put(layout::BatchSection::kBiasValues, std::vector<int32_t>(ids.size(), bits));
  bad->batch[static_cast<size_t>(layout::BatchHeader::kTotalWords)] = static_cast<int32_t>(bad->batch.size());
  run.engine().submit(std::move(bad));
  run.submit(sequences.next_of({0}));
  run.submit(sequences.next_of({0}));
  run.wait_for_steps(4);
  CHECK_EQ(run.done()[0]->error, "");
  CHECK_EQ(run.done()[1]->error, "every token of row 0 is suppressed by its logit bias");
  for (size_t i = 2; i < 4; ++i) {
    CHECK_EQ(run.done()[i]->error, "the engine is dead since a step failed: " + run.done()[1]->error);
  }
  const std::vector<std::string> expected = {"launch 4", "launch 5", "finish 4", "result", "launch 6",
                                             "finish 5", "error",    "error",    "error"};
  CHECK(run.order() == expected);
  run.engine().close();
}

TEST("engine: a batch that is refused comes back after the steps launched before it, which are well") {
  QueuedEngine run;
  Sequences sequences;
  run.submit({sequences.prompt(0, 4)});
  run.wait_for_event("launch 4");
  auto bad = step_of(sequences.next_of({0}));
  bad->batch[static_cast<size_t>(layout::BatchHeader::kMagic)] = 0;
  run.engine().submit(std::move(bad));
  run.wait_for_steps(2);
  CHECK_EQ(run.done()[0]->error, "");
  CHECK(run.done()[1]->error.starts_with("ForwardBatch.magic"));
  run.engine().close();
}

TEST("MLP slices: bounded for a CPU's caches; on a GPU, which reads the weights for each, by memory alone") {
  ThreadPool pool(1);
  const auto cpu = cpu_backend(pool);
  const auto gpu = make_queued_backend(cpu_backend(pool), std::make_shared<QueueLog>());
  ModelSpec spec = tiny_spec();
  spec.intermediate_size = 14336;
  CHECK_EQ(mlp_slice_rows(*cpu, spec, 8192), int64_t{1024});
  CHECK_EQ(mlp_slice_rows(*cpu, spec, 100), int64_t{100});
  CHECK_EQ(mlp_slice_rows(*gpu, spec, 4096), int64_t{4096});
  // Gate, up and their product in float32 take at most 1 GiB.
  CHECK_EQ(mlp_slice_rows(*gpu, spec, 8192), (int64_t{1} << 30) / (3 * 14336 * 4));
  spec.intermediate_size = 0;
  for (LayerSpec& layer : spec.layers) layer.moe = MoeSpec{5, 2, true, 24};
  CHECK_EQ(mlp_slice_rows(*gpu, spec, 8192), int64_t{0});
}

TEST("engine: the end of a recording of the device finishes what is launched, and steps go on") {
  QueuedEngine run;
  Sequences sequences;
  run.engine().start_device_trace();
  run.submit({sequences.prompt(0, 4)});
  run.wait_for_event("launch 4");
  run.engine().finish_device_trace();
  CHECK_EQ(run.done().size(), size_t{1});
  run.engine().stop_device_trace();
  run.submit(sequences.next_of({0}));
  run.log().busy = false;
  run.wait_for_steps(2);
  for (const auto& step : run.done()) CHECK_EQ(step->error, "");
  run.engine().close();
}

TEST("engine: close finishes what is launched") {
  QueuedEngine run;
  Sequences sequences;
  run.submit({sequences.prompt(0, 4)});
  run.wait_for_event("launch 4");
  run.engine().close();
  CHECK_EQ(run.done().size(), size_t{1});
  CHECK_EQ(run.done()[0]->error, "");
}

}  // namespace vitrine::test
