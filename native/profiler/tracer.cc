// The parts of scopes that run only where something listens.
#include "profiler/tracer.h"

#include <utility>

#include "core/clock.h"
#include "profiler/module_range.h"

namespace vitrine {
namespace {

using span_layout::ExpertsArgs;
using span_layout::GemmArgs;
using span_layout::RowsArgs;

/// Rows and bytes; other records have none, or such as only their op knows.
void fill_arguments(SpanRecord& record, const TraceSite& site, std::initializer_list<TraceShape> inputs) {
  if (inputs.size() == 0) return;
  const int64_t rows = inputs.begin()->rows;
  const int64_t bytes = site.fixed_bytes + rows * site.bytes_per_row;
  if (record.schema == span_layout::kSchemaGemm) {
    record.args[GemmArgs::kDims1] = static_cast<uint32_t>(rows);
    record.set_wide(GemmArgs::kBytes, bytes);
  } else if (record.schema == span_layout::kSchemaRows) {
    record.args[RowsArgs::kDims1] = static_cast<uint32_t>(rows);
    record.set_wide(RowsArgs::kBytes, bytes);
  } else if (record.schema == span_layout::kSchemaExperts) {
    record.args[ExpertsArgs::kDims1] = static_cast<uint32_t>(rows);
  }
}

std::string step_name(const ForwardBatchView& batch) {
  if (batch.all_words().size() < layout::kHeaderWords) return "step";
  std::string name = "step " + std::to_string(batch.step_id());
  const int32_t mode = batch.header(layout::BatchHeader::kMode);
  if (mode == layout::kModeExtend) name += " extend";
  if (mode == layout::kModeDecode) name += " decode";
  if (mode == layout::kModeMixed) name += " mixed";
  return name;
}

}  // namespace

void TraceScope::open(Tracer& tracer, const TraceSite& site, std::initializer_list<TraceShape> inputs) {
  tracer_ = &tracer;
  site_ = &site;
  if (tracer.emits_ranges_) {
    if (site.is_module) {
      write_module_range(site.range, inputs, tracer.text_);
      nvtx::push(tracer.text_.c_str());
    } else {
      nvtx::push(site.range.c_str());
    }
  }
  if (tracer.recorder_.recording()) {
    record_ = tracer.recorder_.open(site);
    if (record_ != nullptr) fill_arguments(*record_, site, inputs);
  }
}

void TraceScope::add_flops(double flops) {
  if (record_ != nullptr) tracer_->recorder_.add_flops(flops);
}

void TraceScope::add_bytes(int64_t bytes) {
  if (record_ != nullptr) tracer_->recorder_.add_bytes(bytes);
}

void TraceScope::close() {
  if (tracer_->recorder_.recording()) tracer_->recorder_.close(record_, site_->is_op);
  if (tracer_->op_listener_ && site_->is_op) tracer_->op_listener_(*site_);
  if (tracer_->emits_ranges_) nvtx::pop();
}

ReplayScope::ReplayScope(Tracer& tracer, const TraceSite& site, std::span<const CapturedOp> ops, int64_t rows,
                         const AttentionLengths& lengths)
    : scope_(tracer, site), tracer_(tracer) {
  if (tracer.device_trace_ == nullptr || !tracer.recorder_.recording()) return;
  kept_ = true;
  tracer.replays_.push_back({monotonic_ns(),
                             0,
                             {ops.begin(), ops.end()},
                             rows,
                             {lengths.query_start.begin(), lengths.query_start.end()},
                             {lengths.seq_lens.begin(), lengths.seq_lens.end()}});
}

ReplayScope::~ReplayScope() {
  if (kept_) tracer_.replays_.back().end_ns = monotonic_ns();
}

void Tracer::start_device_trace(DeviceActivities& activities) {
  const SpanTables known = tables();
  device_trace_ = std::make_unique<DeviceTrace>(activities, known.threads.front().tid, known.names);
}

StepTrace::StepTrace(Tracer& tracer, const ForwardBatchView& batch, int64_t start_ns)
    : tracer_(tracer),
      step_id_(batch.all_words().size() < layout::kHeaderWords ? 0 : static_cast<int32_t>(batch.step_id())),
      start_ns_(start_ns) {
  if (tracer.emits_ranges_) {
    tracer.text_ = step_name(batch);
    nvtx::push(tracer.text_.c_str());
  }
  tracer.replays_.clear();
  if (batch.wants_spans()) {
    tracer.recorder_.start(start_ns);
    tracer.active_ = true;
  }
}

StepTrace::~StepTrace() {
  if (tracer_.recorder_.recording()) tracer_.recorder_.cancel();
  tracer_.active_ = tracer_.emits_ranges_;
  if (tracer_.emits_ranges_) nvtx::pop();
}

int64_t StepTrace::finish(std::vector<SpanRecord>& chunk) {
  DeviceTrace* device = tracer_.device_trace_.get();
  if (!tracer_.recorder_.recording()) {
    if (device != nullptr) device->pass_step(start_ns_);
    return monotonic_ns();
  }
  const int64_t end_ns = tracer_.recorder_.stop();
  tracer_.recorder_.write_chunk(chunk);
  if (device != nullptr) {
    device->add_step(step_id_, start_ns_, end_ns, tracer_.recorder_.base_ns(), tracer_.recorder_.engine_spans(),
                     std::exchange(tracer_.replays_, {}));
  }
  return end_ns;
}

TraceSite phase_site(Tracer& tracer, std::string_view name) {
  TraceSite site;
  site.record.kind = span_layout::kKindSpan;
  site.record.category = span_layout::kCategoryCpuOp;
  site.record.name = tracer.name_id(name);
  site.record.schema = span_layout::kSchemaNone;
  site.record.layer = -1;
  site.is_op = true;
  site.range = name;
  return site;
}

}  // namespace vitrine
