// The parts of scopes that run only where something listens.
#include "profiler/tracer.h"

#include "core/clock.h"

namespace vitrine {
namespace {

using span_layout::GemmArgs;
using span_layout::RowsArgs;

/// Rows and bytes; `modules` and `attention` records have none, or ones that only their op knows.
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
  }
}

}  // namespace

void TraceScope::open(Tracer& tracer, const TraceSite& site, std::initializer_list<TraceShape> inputs) {
  tracer_ = &tracer;
  is_op_ = site.is_op;
  record_ = tracer.recorder().open(site);
  if (record_ != nullptr) fill_arguments(*record_, site, inputs);
}

void TraceScope::close() { tracer_->recorder().close(record_, is_op_); }

StepTrace::StepTrace(Tracer& tracer, int64_t start_ns, bool record) : recorder_(tracer.recorder()) {
  if (record) recorder_.start(start_ns);
}

StepTrace::~StepTrace() {
  if (recorder_.recording()) recorder_.cancel();
}

int64_t StepTrace::finish(std::vector<SpanRecord>& chunk) {
  if (!recorder_.recording()) return monotonic_ns();
  const int64_t end_ns = recorder_.stop();
  recorder_.write_chunk(chunk);
  return end_ns;
}

TraceSite phase_site(Tracer& tracer, const char* name) {
  TraceSite site;
  site.record.kind = span_layout::kKindSpan;
  site.record.category = span_layout::kCategoryCpuOp;
  site.record.name = tracer.recorder().name_id(name);
  site.record.schema = span_layout::kSchemaNone;
  site.record.layer = -1;
  site.is_op = true;
  return site;
}

}  // namespace vitrine
