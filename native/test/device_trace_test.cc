// From what a device tells, made by hand, to records of steps: names, layers and rates, graphs, arrows, late news.
#include "profiler/device_trace.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "profiler/kernel_name.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace span_layout;

constexpr uint32_t kEngine = 77;
const std::vector<std::string> kNames = {"qkv_proj", "model.layers.3.self_attn.qkv_proj", "attn",
                                         "model.layers.3.self_attn.attn", "sample"};

class FakeActivities final : public DeviceActivities {
 public:
  void start() override {}
  void stop() override {}
  void flush() override {}
  uint64_t take(std::vector<DeviceActivity>& activities) override {
    activities.insert(activities.end(), told.begin(), told.end());
    told.clear();
    return std::exchange(dropped, 0);
  }
  int32_t multiprocessors() const override { return 4; }

  std::vector<DeviceActivity> told;
  uint64_t dropped = 0;
};

DeviceActivity launch(uint32_t correlation, int64_t begin, int64_t end, uint32_t thread = kEngine) {
  DeviceActivity call;
  call.kind = ActivityKind::kRuntimeCall;
  call.name = "cudaLaunchKernel";
  call.correlation = correlation;
  call.begin_ns = begin;
  call.end_ns = end;
  call.thread = thread;
  return call;
}

DeviceActivity kernel(uint32_t correlation, int64_t begin, int64_t end, uint32_t graph_node = 0) {
  DeviceActivity work;
  work.name = "_ZN7vitrine4cuda11gemm_kernelILi64EEEvPKf";
  work.correlation = correlation;
  work.begin_ns = begin;
  work.end_ns = end;
  work.stream = 7;
  work.grid = {8, 1, 1};
  work.block = {96, 1, 1};
  work.registers = 32;
  work.shared_memory = 512;
  work.graph = graph_node == 0 ? 0 : 9;
  work.graph_node = graph_node;
  return work;
}

SpanRecord op_span(uint16_t schema, uint32_t name, int64_t begin, int64_t end) {
  SpanRecord record{};
  record.kind = kKindSpan;
  record.category = kCategoryCpuOp;
  record.schema = schema;
  record.name = name;
  record.layer = 3;
  record.begin = begin;
  record.end = end;
  return record;
}

/// x[2, 100] times w[300, 100], 60000 bytes.
SpanRecord gemm_span(int64_t begin, int64_t end) {
  SpanRecord record = op_span(kSchemaGemm, 0, begin, end);
  const uint32_t shapes[] = {2, 100, 300, 100};
  for (size_t i = 0; i < 4; ++i) record.args[i] = shapes[i];
  record.set_wide(GemmArgs::kBytes, 60000);
  record.args[GemmArgs::kModule] = 1;
  return record;
}

struct Event {
  SpanRecord record{};
  std::map<uint16_t, SpanRecord> more;  ///< by schema

  float number(uint16_t schema, size_t word) const { return std::bit_cast<float>(more.at(schema).args[word]); }
};

struct Chunk {
  SpanChunkHeader header;
  std::vector<Event> spans;
  std::vector<SpanRecord> arrows;
};

Chunk read(const std::vector<SpanRecord>& words) {
  Chunk chunk;
  std::memcpy(static_cast<void*>(&chunk.header), words.data(), sizeof(chunk.header));
  for (size_t i = 1; i < words.size(); ++i) {
    const SpanRecord& record = words[i];
    if (record.kind == kKindSpan) {
      chunk.spans.push_back({record, {}});
    } else if (record.kind == kKindMore) {
      chunk.spans.back().more[record.schema] = record;
    } else {
      chunk.arrows.push_back(record);
    }
  }
  return chunk;
}

struct Fixture {
  FakeActivities activities;
  DeviceTrace trace{activities, kEngine, kNames};

  /// Ops count from 0, as all times here.
  void add_step(int32_t id, int64_t begin, int64_t end, std::vector<SpanRecord> spans,
                std::vector<GraphReplay> replays = {}) {
    trace.add_step(id, begin, end, 0, spans, std::move(replays));
  }
};

int64_t time_of(const Chunk& chunk, int64_t ns) { return ns + chunk.header.base_ns; }

TraceSite gemm_site() {
  TraceSite site;
  site.record = gemm_span(0, 0);
  site.fixed_bytes = 60000;
  site.bytes_per_row = 10;
  return site;
}

TraceSite attention_site() {
  TraceSite site;
  site.record = op_span(kSchemaAttention, 2, 0, 0);
  site.record.args[AttentionArgs::kModule] = 3;
  site.bytes_per_row = 10;
  site.bytes_per_kv_token = 100;
  site.flops_per_pair = 1000;
  return site;
}

/// Of 8 experts each row chooses 2.
TraceSite experts_site() {
  TraceSite site;
  site.record = op_span(kSchemaExperts, 2, 0, 0);
  site.record.args[ExpertsArgs::kModule] = 3;
  site.bytes_per_row = 10;
  site.flops_per_row = 5000;
  site.bytes_per_expert = 700;
  site.num_experts = 8;
  site.top_k = 2;
  return site;
}

}  // namespace

TEST("device trace: work of a step gets op, module, layer and rates from the op that queued it") {
  Fixture f;
  // The op's two kernels take 100 and 300 ns; the last kernel is queued by a phase of the engine.
  f.add_step(5, 1000, 9000, {gemm_span(1000, 2000), op_span(kSchemaNone, 4, 2000, 3000)});
  f.activities.told = {launch(1, 1100, 1200), launch(2, 1300, 1400), launch(3, 2100, 2200),
                       kernel(1, 5000, 5100), kernel(2, 5200, 5500), kernel(3, 6000, 6500)};
  const DeviceTraceBatch batch = f.trace.take(true);
  CHECK_EQ(batch.steps.size(), size_t{1});
  CHECK_EQ(batch.steps[0].step_id, 5);
  const Chunk host = read(batch.steps[0].host);
  const Chunk device = read(batch.steps[0].device);
  CHECK_EQ(host.spans.size(), size_t{3});
  CHECK_EQ(device.spans.size(), size_t{3});
  const auto& names = batch.device_tables.names;
  for (size_t i = 0; i < 2; ++i) {
    const Event& event = device.spans[i];
    CHECK_EQ(names[event.record.name], std::string("gemm_kernel<64>"));
    CHECK_EQ(event.record.layer, int16_t{3});
    CHECK_EQ(names[event.more.at(kSchemaGpuOp).args[GpuOpArgs::kOp]], std::string("qkv_proj"));
    CHECK_EQ(names[event.more.at(kSchemaGpuOp).args[GpuOpArgs::kModule]], kNames[1]);
    CHECK_NEAR(event.number(kSchemaGpuRates, GpuRatesArgs::kGBS), 60000.0 / 400, 1e-3);
    CHECK_NEAR(event.number(kSchemaGpuRates, GpuRatesArgs::kTFLOPS), 2.0 * 2 * 100 * 300 / 400 / 1000, 1e-6);
    CHECK_NEAR(std::bit_cast<float>(event.record.args[GpuPlaceArgs::kBlocksPerSM]), 2, 1e-6);
    CHECK_NEAR(std::bit_cast<float>(event.record.args[GpuPlaceArgs::kWarpsPerSM]), 6, 1e-6);
    CHECK_EQ(event.more.count(kSchemaGpuGraph), size_t{0});
    CHECK_EQ(event.record.id, uint64_t{i + 1});
  }
  CHECK_EQ(time_of(device, device.spans[1].record.begin), int64_t{5200});
  CHECK_EQ(time_of(device, device.spans[1].record.end), int64_t{5500});
  const Event& sampled = device.spans[2];
  CHECK_EQ(names[sampled.more.at(kSchemaGpuPhase).args[0]], std::string("sample"));
  CHECK_EQ(sampled.more.count(kSchemaGpuBandwidth), size_t{0});
  CHECK_EQ(batch.device_tables.threads.at(0).name, std::string("stream 7"));
  CHECK_EQ(batch.device_tables.threads.at(0).tid, 7);
  CHECK_EQ(batch.host_tables.names[host.spans[0].record.name], std::string("cudaLaunchKernel"));
  CHECK_EQ(batch.host_tables.threads.at(0).tid, static_cast<int>(kEngine));
  // An arrow from each call to its kernel.
  CHECK_EQ(host.arrows.size(), size_t{3});
  CHECK_EQ(device.arrows.size(), size_t{3});
  for (size_t i = 0; i < 3; ++i) {
    CHECK(host.arrows[i].kind == kKindFlowStart && device.arrows[i].kind == kKindFlowEnd);
    CHECK_EQ(host.arrows[i].id, device.arrows[i].id);
    CHECK_EQ(host.arrows[i].begin, host.spans[i].record.begin);
  }
}

TEST("device trace: the nodes of a replayed graph are its captured ops, in order") {
  Fixture f;
  const TraceSite gemm = gemm_site();
  const TraceSite attention = attention_site();
  GraphReplay replay{1100, 1300, {{&gemm, 1}, {&attention, 2}, {&gemm, 1}}, 4, {0, 1, 2}, {30, 50}};
  f.add_step(1, 1000, 2000, {op_span(kSchemaNone, 4, 1000, 2000)}, {replay});
  // The step's inputs are queued within the replay's span, and are no part of the graph.
  f.activities.told = {launch(7, 1110, 1120), kernel(7, 4000, 4050), launch(8, 1150, 1250)};
  // Told in another order than they ran.
  for (const int64_t i : {3, 1, 0, 2}) {
    f.activities.told.push_back(kernel(8, 5000 + 100 * i, 5050 + 100 * i, static_cast<uint32_t>(i + 1)));
  }
  const DeviceTraceBatch batch = f.trace.take(true);
  const Chunk device = read(batch.steps[0].device);
  CHECK_EQ(device.spans.size(), size_t{5});
  CHECK_EQ(device.arrows.size(), size_t{2});  // to the inputs and to the first of the nodes
  CHECK_EQ(batch.device_tables.names[device.spans[0].more.at(kSchemaGpuPhase).args[0]], std::string("sample"));
  CHECK_EQ(device.spans[0].more.count(kSchemaText), size_t{0});
  const std::span<const Event> nodes(device.spans.begin() + 1, device.spans.end());
  const char* expected[] = {"qkv_proj", "attn", "attn", "qkv_proj"};
  for (size_t i = 0; i < 4; ++i) {
    const Event& event = nodes[i];
    CHECK_EQ(batch.device_tables.names[event.more.at(kSchemaGpuOp).args[0]], std::string(expected[i]));
    CHECK_EQ(event.more.at(kSchemaGpuGraph).args[GpuGraphArgs::kGraphId], 9u);
    CHECK_EQ(event.more.at(kSchemaGpuGraph).args[GpuGraphArgs::kGraphNodeId], static_cast<uint32_t>(i + 1));
    CHECK_EQ(event.record.layer, int16_t{3});
  }
  CHECK_NEAR(nodes[0].number(kSchemaGpuRates, GpuRatesArgs::kGBS), (60000 + 4 * 10) / 50.0, 1e-3);
  // 4 rows of the capture, 80 cached positions of the step, over two kernels.
  CHECK_NEAR(nodes[1].number(kSchemaGpuRates, GpuRatesArgs::kGBS), (4 * 10 + 80 * 100) / 100.0, 1e-3);
  CHECK_NEAR(nodes[2].number(kSchemaGpuRates, GpuRatesArgs::kTFLOPS), 80 * 1000 / 100.0 / 1000, 1e-6);
}

TEST("device trace: a replay with other nodes than were captured names no op and says so") {
  Fixture f;
  const TraceSite gemm = gemm_site();
  f.add_step(1, 1000, 2000, {op_span(kSchemaNone, 4, 1000, 2000)}, {{1100, 1300, {{&gemm, 3}}, 4, {0}, {}}});
  f.activities.told = {launch(8, 1150, 1250), kernel(8, 5000, 5050, 1), kernel(8, 5100, 5150, 2)};
  const DeviceTraceBatch batch = f.trace.take(true);
  const Chunk device = read(batch.steps[0].device);
  CHECK_EQ(device.spans.size(), size_t{2});
  for (const Event& event : device.spans) CHECK_EQ(event.more.count(kSchemaGpuOp), size_t{0});
  CHECK_EQ(batch.device_tables.names[device.spans[0].more.at(kSchemaText).args[0]],
           std::string("the replayed graph has 3 nodes, of which 2 were recorded: no op is named"));
  CHECK_EQ(device.spans[1].more.count(kSchemaText), size_t{0});
}

TEST("device trace: a step is given out when work of a later one is seen, and work of other steps never") {
  Fixture f;
  const auto step = [&](int32_t id) {
    const int64_t begin = id * 10000;
    f.add_step(id, begin, begin + 5000, {gemm_span(begin, begin + 5000)});
  };
  const auto tell = [&](int64_t id, size_t kernels) {
    const int64_t begin = id * 10000;
    const auto correlation = static_cast<uint32_t>(id);
    f.activities.told.push_back(launch(correlation, begin + 100, begin + 200));
    for (size_t i = 0; i < kernels; ++i) {
      const auto at = begin + 6000 + static_cast<int64_t>(i);
      f.activities.told.push_back(kernel(correlation, at, at + 1));
    }
  };
  step(1);
  tell(1, 10);
  CHECK(f.trace.take(false).steps.empty());  // too little waits
  f.activities.told.push_back(kernel(1, 17000, 17001));
  f.trace.pass_step(20000);
  tell(2, DeviceTrace::kBatch);  // of a step that is not recorded
  step(3);
  tell(3, 5);
  const DeviceTraceBatch first = f.trace.take(false);
  CHECK_EQ(first.steps.size(), size_t{1});
  CHECK_EQ(first.steps[0].step_id, 1);
  CHECK_EQ(read(first.steps[0].device).spans.size(), size_t{11});
  // Its last kernel comes late; the news of step 4 come before the step does.
  f.activities.told.push_back(kernel(3, 36100, 36200));
  tell(4, 2);
  const DeviceTraceBatch second = f.trace.take(true);
  CHECK_EQ(second.steps.size(), size_t{1});
  CHECK_EQ(second.steps[0].step_id, 3);
  CHECK_EQ(read(second.steps[0].device).spans.size(), size_t{6});
  CHECK(second.device_tables.names.empty());  // told before
  step(4);
  const DeviceTraceBatch third = f.trace.take(true);
  CHECK_EQ(third.steps.size(), size_t{1});
  CHECK_EQ(read(third.steps[0].device).spans.size(), size_t{2});
  CHECK(f.trace.take(true).steps.empty());
}

TEST("device trace: what was lost is counted in the next chunk, and work without its call with it") {
  Fixture f;
  f.add_step(1, 1000, 2000, {gemm_span(1000, 2000)});
  f.activities.told = {launch(1, 1100, 1200), kernel(1, 5000, 5100), kernel(99, 5200, 5300)};
  f.activities.dropped = 41;
  const DeviceTraceBatch batch = f.trace.take(true);
  CHECK_EQ(read(batch.steps[0].device).header.dropped, 42u);
  CHECK_EQ(read(batch.steps[0].host).header.dropped, 0u);
}

TEST("device trace: tracks nest and arrows go forward, whatever the device's clock says") {
  Fixture f;
  f.add_step(1, 1000, 9000, {gemm_span(1000, 1150), gemm_span(1150, 9000)});
  DeviceActivity driver = launch(2, 1100, 1200);  // the same time as the runtime's call around it
  driver.kind = ActivityKind::kDriverCall;
  DeviceActivity wait = launch(4, 3000, 8000);
  wait.kind = ActivityKind::kWait;
  wait.stream = 7;
  f.activities.told = {launch(1, 1100, 1200), driver, launch(3, 1300, 1400),
                       launch(4, 2900, 8100), wait,   kernel(1, 1050, 1500),  // begins before its call
                       kernel(2, 1400, 1600),                                 // overlaps the one before
                       kernel(3, 1250, 1290)};                                // is over before its call
  const DeviceTraceBatch batch = f.trace.take(true);
  const Chunk host = read(batch.steps[0].host);
  const Chunk device = read(batch.steps[0].device);
  for (const Chunk* chunk : {&host, &device}) {
    std::map<uint16_t, int64_t> last;
    for (const Event& event : chunk->spans) {
      CHECK(event.record.end >= event.record.begin && event.record.begin >= 0);
      if (last.contains(event.record.thread)) CHECK(event.record.begin > last[event.record.thread]);
      last[event.record.thread] = event.record.begin;
    }
  }
  int64_t until = 0;
  for (const Event& event : device.spans) {
    if (event.record.category == kCategoryCudaSync) continue;
    CHECK(event.record.begin >= until);
    until = event.record.end;
  }
  // The call ends with the op that it lies in.
  CHECK_EQ(time_of(host, host.spans[0].record.end), int64_t{1150});
  CHECK_EQ(host.arrows.size(), device.arrows.size());
  for (const SpanRecord& start : host.arrows) {
    for (const SpanRecord& end : device.arrows) {
      if (start.id == end.id) CHECK(end.begin >= start.begin);
    }
  }
  CHECK_EQ(batch.device_tables.threads.back().name, std::string("waits for stream 7"));
}

TEST("device trace: experts have their operations, and bytes only where it is known how many of them ran") {
  const TraceSite site = experts_site();
  for (const int64_t rows : {1, 4}) {
    Fixture f;
    const GraphReplay replay{1100, 1300, {{&site, 1}}, rows, {}, {}};
    f.add_step(1, 1000, 2000, {op_span(kSchemaNone, 4, 1000, 2000)}, {replay});
    f.activities.told = {launch(1, 1150, 1250), kernel(1, 5000, 5100, 1)};
    const Event event = read(f.trace.take(true).steps[0].device).spans[0];
    CHECK_EQ(event.more.at(kSchemaGpuOp).args[GpuOpArgs::kOp] > 0, true);
    const double tflops = static_cast<double>(rows) * 5000 / 100 / 1000;
    if (rows == 1) {
      CHECK_NEAR(event.number(kSchemaGpuRates, GpuRatesArgs::kGBS), (10.0 + 2 * 700) / 100, 1e-4);
      CHECK_NEAR(event.number(kSchemaGpuRates, GpuRatesArgs::kTFLOPS), tflops, 1e-6);
    } else {  // from 2 experts to 8
      CHECK_EQ(event.more.count(kSchemaGpuRates) + event.more.count(kSchemaGpuBandwidth), size_t{0});
      CHECK_NEAR(event.number(kSchemaGpuFlops, GpuFlopsArgs::kTFLOPS), tflops, 1e-6);
    }
  }
  // Op by op what the records behind the span say.
  Fixture f;
  SpanRecord more[2] = {};
  for (SpanRecord& record : more) record.kind = kKindMore;
  more[0].schema = kSchemaFlops;
  more[0].set_wide(FlopsArgs::kFlops, std::bit_cast<int64_t>(20000.0));
  more[1].schema = kSchemaBytes;
  more[1].set_wide(BytesArgs::kBytes, 3000);
  SpanRecord span = site.record;
  span.begin = 1000, span.end = 2000;
  f.add_step(1, 1000, 2000, {span, more[0], more[1]});
  f.activities.told = {launch(1, 1150, 1250), kernel(1, 5000, 5100)};
  const Event event = read(f.trace.take(true).steps[0].device).spans[0];
  CHECK_NEAR(event.number(kSchemaGpuRates, GpuRatesArgs::kGBS), 30, 1e-4);
  CHECK_NEAR(event.number(kSchemaGpuRates, GpuRatesArgs::kTFLOPS), 0.2, 1e-6);
}

TEST("op work: bytes of experts by how many were used, or for certain would be") {
  TraceSite site = experts_site();
  CHECK_EQ(op_work(site, 4, {}, 5).bytes, int64_t{4 * 10 + 5 * 700});
  CHECK_EQ(op_work(site, 4, {}).bytes, int64_t{0});
  CHECK_EQ(op_work(site, 1, {}).bytes, int64_t{10 + 2 * 700});
  site.num_experts = 2;
  CHECK_EQ(op_work(site, 4, {}).bytes, int64_t{4 * 10 + 2 * 700});
  CHECK_EQ(op_work(site, 4, {}).flops, 20000.0);
}

TEST("op work: visible tokens and pairs are those of counting, with and without a window") {
  const std::vector<int32_t> query_start = {0, 1, 8, 8 + 20};
  const std::vector<int32_t> seq_lens = {40, 7, 33};
  for (const int32_t window : {0, 1, 5, 16, 100}) {
    int64_t pairs = 0;
    int64_t visible = 0;
    for (size_t r = 0; r < seq_lens.size(); ++r) {
      const int32_t queries = query_start[r + 1] - query_start[r];
      int32_t first_seen = seq_lens[r];
      for (int32_t position = seq_lens[r] - queries; position < seq_lens[r]; ++position) {
        const int32_t seen = window == 0 ? position + 1 : std::min(position + 1, window);
        pairs += seen;
        first_seen = std::min(first_seen, position + 1 - seen);
      }
      visible += seq_lens[r] - first_seen;
    }
    CHECK_EQ(attention_pairs({query_start, seq_lens}, window), pairs);
    CHECK_EQ(visible_tokens({query_start, seq_lens}, window), visible);
  }
}

TEST("kernel names: readable, short, and whole where they are no mangled names") {
  const auto name = [](const char* mangled) { return short_kernel_name(mangled); };
  CHECK_EQ(name("_ZN7vitrine4cuda11gemm_kernelILi64EEEvPKf"), std::string("gemm_kernel<64>"));
  CHECK_EQ(name("_ZN7vitrine4cuda12_GLOBAL__N_18fill_oneEPff"), std::string("fill_one"));
  CHECK_EQ(name("_ZN7cutlass6KernelINS_4gemm4GemmIfEEEEvT_"),
           std::string("cutlass::Kernel<cutlass::gemm::Gemm<float> >"));
  CHECK_EQ(name("nvjet_hsh_128x256_64x4_TNT"), std::string("nvjet_hsh_128x256_64x4_TNT"));
  CHECK_EQ(name(""), std::string(""));
}

}  // namespace vitrine::test
