// Scopes, records and ranges: what one step leaves behind, on the engine's thread and on the workers.
#include "profiler/tracer.h"

#define NVTX_NO_IMPL  // types only: the one implementation is in nvtx.cc
#include <nvtx3/nvToolsExt.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/check.h"
#include "profiler/module_range.h"
#include "test_framework.h"
#include "tiny_model.h"

extern "C" {
int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table);
/// Where NVTX looks for a tool that is part of the program.
NvtxInitializeInjectionNvtxFunc_t InitializeInjectionNvtx2_fnptr = InitializeInjectionNvtx2;
}

namespace vitrine::test {
namespace {

std::vector<int32_t> batch_words(int32_t profile, int32_t step_id = 7) {
  std::vector<int32_t> words = forward_batch_words({{0, 0, {1}, {0}, 0, {0}}}, 4);
  words[static_cast<size_t>(layout::BatchHeader::kProfile)] = profile;
  words[static_cast<size_t>(layout::BatchHeader::kStepId)] = step_id;
  words[static_cast<size_t>(layout::BatchHeader::kMode)] = layout::kModeDecode;
  return words;
}

SpanChunkHeader header_of(const std::vector<SpanRecord>& chunk) {
  SpanChunkHeader header;
  std::memcpy(static_cast<void*>(&header), chunk.data(), sizeof(header));
  return header;
}

TraceSite frame_site(Tracer& tracer, std::string_view name) {
  TraceSite site = phase_site(tracer, name);
  site.is_op = false;
  return site;
}

/// Runs `body` as a step; returns its chunk.
template <class Body>
std::vector<SpanRecord> traced_step(Tracer& tracer, int32_t profile, Body body, int64_t* end_ns = nullptr,
                                    int64_t* start_ns = nullptr) {
  const std::vector<int32_t> words = batch_words(profile);
  const ForwardBatchView batch(words);
  std::vector<SpanRecord> chunk;
  const int64_t start = monotonic_ns();
  StepTrace step(tracer, batch, start);
  body();
  const int64_t end = step.finish(chunk);
  if (end_ns != nullptr) *end_ns = end;
  if (start_ns != nullptr) *start_ns = start;
  return chunk;
}

/// The log of the tool above; attaches it at the first use.
class RangeLog {
 public:
  RangeLog() {
    static const std::string path = [] {
      const auto file = std::filesystem::temp_directory_path() / ("vitrine-nvtx-" + std::to_string(getpid()));
      setenv("VITRINE_NVTX_LOG", file.c_str(), 1);
      unsetenv("NVTX_INJECTION64_PATH");
      require(nvtx::tool_attached(), "the NVTX tool of the tests was not attached");
      std::atexit([] { std::filesystem::remove(std::getenv("VITRINE_NVTX_LOG")); });
      return file.string();
    }();
    path_ = path;
    start_ = std::filesystem::file_size(path_);
  }

  /// What came since: `+text` and `-`, of this thread alone.
  std::vector<std::string> lines() const {
    std::ifstream file(path_);
    file.seekg(static_cast<std::streamoff>(start_));
    std::vector<std::string> lines;
    const std::string tid = std::to_string(gettid());
    const std::string push = "push " + tid + " ";
    for (std::string line; std::getline(file, line);) {
      if (line == "pop " + tid) lines.emplace_back("-");
      if (line.starts_with(push)) lines.push_back(std::string("+").append(line, push.size()));
    }
    return lines;
  }

 private:
  std::string path_;
  uintmax_t start_;
};

}  // namespace

TEST("tracer: consecutive ops share clock readings, begins strictly increase, parents hold their children") {
  ThreadPool pool(1);
  Tracer tracer(pool, false);
  const TraceSite block = frame_site(tracer, "block");
  const TraceSite op = phase_site(tracer, "op");
  int64_t end_ns = 0;
  int64_t start_ns = 0;
  const auto chunk = traced_step(
      tracer, 1,
      [&] {
        for (int i = 0; i < 100; ++i) {
          const TraceScope outer(tracer, block);
          const TraceScope inner(tracer, block);
          { const TraceScope first(tracer, op); }
          const TraceScope second(tracer, op);
        }
      },
      &end_ns, &start_ns);
  CHECK_EQ(chunk.size(), size_t{1 + 400});
  const SpanChunkHeader header = header_of(chunk);
  CHECK_EQ(header.magic, span_layout::kChunkMagic);
  CHECK_EQ(header.version, span_layout::kVersion);
  CHECK_EQ(header.dropped, 0U);
  int64_t last_begin = 0;
  for (size_t i = 1; i < chunk.size(); ++i) {
    CHECK(chunk[i].begin > last_begin);
    CHECK(chunk[i].end >= chunk[i].begin);
    CHECK(header.base_ns + chunk[i].end <= end_ns);
    last_begin = chunk[i].begin;
  }
  CHECK_EQ(header.base_ns + chunk[1].begin, start_ns + 1);
  for (size_t i = 1; i < chunk.size(); i += 4) {
    const SpanRecord& outer = chunk[i];
    CHECK_EQ(chunk[i + 1].begin, outer.begin + 1);
    CHECK_EQ(chunk[i + 2].begin, outer.begin + 2);
    CHECK(chunk[i + 3].begin == chunk[i + 2].end || chunk[i + 3].begin == chunk[i + 2].begin + 1);
    CHECK_EQ(chunk[i + 3].end, outer.end);
    CHECK_EQ(chunk[i + 1].end, outer.end);
    if (i + 4 < chunk.size()) CHECK(chunk[i + 4].begin == outer.end || chunk[i + 4].begin == chunk[i + 3].begin + 1);
  }
  CHECK_EQ(header.base_ns + chunk.back().end, end_ns);
}

TEST("tracer: nothing is recorded unless the batch asks for it, and a failed step leaves nothing behind") {
  ThreadPool pool(2);
  Tracer tracer(pool, false);
  const TraceSite op = phase_site(tracer, "op");
  const auto run_op = [&] { const TraceScope scope(tracer, op); };
  CHECK(traced_step(tracer, 0, [&] {
          CHECK(!tracer.active());
          run_op();
        }).empty());
  CHECK_THROWS_WITH(traced_step(tracer, 1,
                                [&] {
                                  const TraceScope scope(tracer, op);
                                  pool.parallel_for(64, [](int64_t i) { require(i != 5, "the fifth"); });
                                }),
                    "the fifth");
  CHECK(!tracer.active());
  CHECK(traced_step(tracer, 0, run_op).empty());
  CHECK_EQ(traced_step(tracer, 1, run_op).size(), size_t{2});
}

TEST("tracer: a full buffer drops and counts, and the next step has room again") {
  ThreadPool pool(1);
  Tracer tracer(pool, false, 5);
  const TraceSite op = phase_site(tracer, "op");
  const auto ops = [&](int count) {
    return traced_step(tracer, 1, [&] {
      for (int i = 0; i < count; ++i) const TraceScope scope(tracer, op);
    });
  };
  CHECK_EQ(header_of(ops(12)).dropped, 7U);
  CHECK_EQ(ops(12).size(), size_t{6});
  CHECK_EQ(header_of(ops(5)).dropped, 0U);
  CHECK_EQ(ops(3).size(), size_t{4});
}

TEST("tracer: every worker that had a share of a loop says so, inside the op and on its own thread") {
  ThreadPool pool(4);
  Tracer tracer(pool, false);
  const TraceSite first = phase_site(tracer, "first");
  const TraceSite second = phase_site(tracer, "second");
  const SpanTables tables = tracer.tables();
  CHECK_EQ(tables.threads.size(), size_t{4});
  std::set<int> tids;
  for (const auto& thread : tables.threads) tids.insert(thread.tid);
  CHECK_EQ(tids.size(), size_t{4});
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> present{0};
    const auto chunk = traced_step(tracer, 1, [&] {
      {
        const TraceScope scope(tracer, first);
        // Each index waits for all others, so every thread takes exactly one.
        pool.parallel_for(4, [&](int64_t) {
          ++present;
          while (present < 4) std::this_thread::yield();
        });
      }
      const TraceScope scope(tracer, second);
      pool.parallel_for(100, [](int64_t) {});
    });
    std::vector<int> of_first(4, 0);
    std::vector<int64_t> last_end(4, 0);
    for (size_t i = 1; i < chunk.size(); ++i) {
      const SpanRecord& record = chunk[i];
      if (record.name == first.record.name) ++of_first[record.thread];
      if (record.thread == 0) continue;
      const SpanRecord& op = chunk[record.name == first.record.name ? 1 : 2];
      CHECK_EQ(op.name, record.name);
      CHECK(record.begin >= op.begin && record.end <= op.end);
      CHECK(record.begin >= last_end[record.thread]);
      last_end[record.thread] = record.end;
    }
    for (const int count : of_first) CHECK_EQ(count, 1);
  }
}

TEST("tracer: rows and bytes of an op come from its first input") {
  ThreadPool pool(1);
  Tracer tracer(pool, false);
  TraceSite site = phase_site(tracer, "op");
  site.record.schema = span_layout::kSchemaGemm;
  site.fixed_bytes = int64_t{1} << 40;
  site.bytes_per_row = 3;
  const auto chunk = traced_step(tracer, 1, [&] { const TraceScope scope(tracer, site, TraceShape{9, 4}); });
  using span_layout::GemmArgs;
  CHECK_EQ(chunk[1].args[GemmArgs::kDims1], 9U);
  CHECK_EQ(chunk[1].args[GemmArgs::kBytes], 27U);
  CHECK_EQ(chunk[1].args[GemmArgs::kBytes + 1], 256U);
}

TEST("module_range: SGLang's dialect") {
  std::string text = "old";
  write_module_range(module_range_head("model.model.norm", {{"weight", {4096}}}), {{8, 4096}, {8, 4096}}, text);
  CHECK_EQ(text,
           "{'Module': 'model.model.norm', 'TrainableParams': {'weight': [4096]}, 'Inputs': [[8, 4096], [8, 4096]]}");
  const std::string head = module_range_head("m", {{"weight", {2, 3}}, {"bias", {2}}});
  write_module_range(head, {}, text);
  CHECK_EQ(text, "{'Module': 'm', 'TrainableParams': {'weight': [2, 3], 'bias': [2]}}");
  write_module_range(module_range_head("m", {}), {{5}, {}, {0, 7}}, text);
  CHECK_EQ(text, "{'Module': 'm', 'Inputs': [[5], [0, 7]]}");
}

TEST("nvtx: ranges nest as scopes do, and every push has its pop when a step throws") {
  const RangeLog log;
  ThreadPool pool(1);
  Tracer silent(pool, false);
  Tracer tracer(pool, true);
  TraceSite module = phase_site(tracer, "module");
  module.range = module_range_head("model", {});
  module.is_module = true;
  const TraceSite op = phase_site(tracer, "op");
  const auto body = [&](Tracer& to) {
    const TraceScope outer(to, module, TraceShape{2, 3});
    const TraceScope inner(to, op);
  };
  traced_step(silent, 0, [&] { body(silent); });
  traced_step(silent, 1, [&] { body(silent); });
  CHECK(log.lines().empty());
  const std::vector<std::string> whole = {
      "+step 7 decode", "+{'Module': 'model', 'Inputs': [[2, 3]]}", "+op", "-", "-", "-"};
  CHECK(traced_step(tracer, 0, [&] { body(tracer); }).empty());
  CHECK(log.lines() == whole);
  const RangeLog recorded;
  CHECK_EQ(traced_step(tracer, 1, [&] { body(tracer); }).size(), size_t{3});
  CHECK(recorded.lines() == whole);
  const RangeLog failed;
  CHECK_THROWS_WITH(traced_step(tracer, 1,
                                [&] {
                                  const TraceScope outer(tracer, module);
                                  const TraceScope inner(tracer, op);
                                  fail("in the op");
                                }),
                    "in the op");
  CHECK_EQ(failed.lines().size(), size_t{6});
  const RangeLog headless;
  {
    const std::vector<int32_t> words(3);
    StepTrace step(tracer, ForwardBatchView(words), 1);
  }
  CHECK((headless.lines() == std::vector<std::string>{"+step", "-"}));
}

}  // namespace vitrine::test
