// Workers write their buffers only inside a parallel loop, and the engine thread reads and clears them only outside:
// the pool's start and join of a loop order the two.
#include "profiler/span_recorder.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace vitrine {

SpanRecorder::SpanRecorder(ThreadPool& pool, size_t spans_per_step)
    : pool_(pool),
      engine_tid_(static_cast<int>(syscall(SYS_gettid))),
      base_ns_(monotonic_ns()),
      engine_(spans_per_step) {
  workers_.reserve(pool.workers().size());
  for (size_t i = 0; i < pool.workers().size(); ++i) workers_.push_back({SpanBuffer(spans_per_step)});
}

uint32_t SpanRecorder::name_id(std::string_view name) {
  const auto [found, added] = ids_.try_emplace(std::string(name), static_cast<uint32_t>(names_.size()));
  if (added) names_.emplace_back(name);
  return found->second;
}

SpanTables SpanRecorder::tables() const {
  SpanTables tables{names_, {{engine_tid_, "vitrine-engine"}}};
  for (const ThreadPool::Worker& worker : pool_.workers()) tables.threads.push_back({worker.tid, worker.name});
  return tables;
}

void SpanRecorder::start(int64_t start_ns) {
  last_begin_ = start_ns - base_ns_;
  cursor_ = last_begin_ + 1;
  op_ = nullptr;
  engine_.clear();
  for (WorkerSpans& worker : workers_) {
    worker.buffer.clear();
    worker.last_begin = last_begin_;
    worker.last_end = last_begin_;
  }
  recording_ = true;
  pool_.observe(this);
}

void SpanRecorder::add_flops(double flops) {
  SpanRecord* record = add_more(span_layout::kSchemaFlops);
  if (record != nullptr) record->set_wide(span_layout::FlopsArgs::kFlops, std::bit_cast<int64_t>(flops));
}

void SpanRecorder::add_bytes(int64_t bytes) {
  SpanRecord* record = add_more(span_layout::kSchemaBytes);
  if (record != nullptr) record->set_wide(span_layout::BytesArgs::kBytes, bytes);
}

SpanRecord* SpanRecorder::add_more(uint16_t schema) {
  SpanRecord* record = engine_.append();
  if (record == nullptr) return nullptr;
  *record = SpanRecord{};
  record->kind = span_layout::kKindMore;
  record->schema = schema;
  record->layer = -1;
  return record;
}

int64_t SpanRecorder::stop() {
  cancel();
  for (const WorkerSpans& worker : workers_) cursor_ = std::max(cursor_, worker.last_end);
  return base_ns_ + cursor_;
}

void SpanRecorder::cancel() {
  recording_ = false;
  pool_.observe(nullptr);
}

void SpanRecorder::worked(int worker, int64_t begin_ns, int64_t end_ns) {
  if (op_ == nullptr) return;
  WorkerSpans& spans = workers_[static_cast<size_t>(worker)];
  SpanRecord* record = spans.buffer.append();
  if (record == nullptr) return;
  spans.last_begin = std::max({begin_ns - base_ns_, spans.last_begin + 1, spans.last_end});
  spans.last_end = std::max(end_ns - base_ns_, spans.last_begin);
  *record = SpanRecord{};
  record->kind = op_->kind;
  record->category = op_->category;
  record->thread = static_cast<uint16_t>(worker + 1);
  record->name = op_->name;
  record->layer = op_->layer;
  record->begin = spans.last_begin;
  record->end = spans.last_end;
}

void SpanRecorder::write_chunk(std::vector<SpanRecord>& chunk) const {
  SpanChunkHeader header;
  header.base_ns = base_ns_;
  size_t records = engine_.records().size();
  header.dropped = engine_.dropped();
  for (const WorkerSpans& worker : workers_) {
    records += worker.buffer.records().size();
    header.dropped += worker.buffer.dropped();
  }
  chunk.clear();
  chunk.reserve(records + 1);
  std::memcpy(&chunk.emplace_back(), &header, sizeof(header));
  chunk.insert(chunk.end(), engine_.records().begin(), engine_.records().end());
  for (const WorkerSpans& worker : workers_) {
    chunk.insert(chunk.end(), worker.buffer.records().begin(), worker.buffer.records().end());
  }
}

}  // namespace vitrine
