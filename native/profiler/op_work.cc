// Formulas of the kinds of ops.
#include "profiler/op_work.h"

#include <algorithm>

namespace vitrine {
namespace {

using span_layout::AttentionArgs;
using span_layout::ExpertsArgs;
using span_layout::GemmArgs;
using span_layout::RowsArgs;

int64_t wide(const SpanRecord& record, size_t word) {
  return static_cast<int64_t>(uint64_t{record.args[word + 1]} << 32 | record.args[word]);
}

/// Of x[rows, k] times w[n, k].
double gemm_flops(const SpanRecord& record, int64_t rows) {
  return 2.0 * static_cast<double>(rows) * record.args[GemmArgs::kDims2] * record.args[GemmArgs::kDims2 + 1];
}

/// Where it does not depend on what the rows chose.
std::optional<int64_t> certain_experts(const TraceSite& site, int64_t rows) {
  if (rows == 1 || site.top_k == site.num_experts) return site.top_k;
  return std::nullopt;
}

}  // namespace

int64_t visible_tokens(const AttentionLengths& lengths, int32_t window) {
  int64_t total = 0;
  for (size_t r = 0; r < lengths.seq_lens.size(); ++r) {
    const int32_t queries = lengths.query_start[r + 1] - lengths.query_start[r];
    const int64_t length = lengths.seq_lens[r];
    total += window == 0 ? length : std::min(length, int64_t{window} + queries - 1);
  }
  return total;
}

int64_t attention_pairs(const AttentionLengths& lengths, int32_t window) {
  int64_t total = 0;
  for (size_t r = 0; r < lengths.seq_lens.size(); ++r) {
    const int64_t queries = lengths.query_start[r + 1] - lengths.query_start[r];
    const int64_t before = lengths.seq_lens[r] - queries;
    // The first queries see all before them, the others as much as the window.
    const int64_t all = window == 0 ? queries : std::clamp(window - before, int64_t{0}, queries);
    total += all * before + all * (all + 1) / 2 + (queries - all) * window;
  }
  return total;
}

OpWork op_work(const TraceSite& site, int64_t rows, const AttentionLengths& lengths,
               std::optional<int64_t> used_experts) {
  OpWork work;
  if (site.fixed_bytes > 0 || site.bytes_per_row > 0) work.bytes = site.fixed_bytes + rows * site.bytes_per_row;
  if (site.record.schema == span_layout::kSchemaGemm) work.flops = gemm_flops(site.record, rows);
  if (site.record.schema == span_layout::kSchemaAttention) {
    work.bytes += visible_tokens(lengths, site.sliding_window) * site.bytes_per_kv_token;
    work.flops = static_cast<double>(attention_pairs(lengths, site.sliding_window) * site.flops_per_pair);
  }
  if (site.record.schema == span_layout::kSchemaExperts) {
    if (!used_experts) used_experts = certain_experts(site, rows);
    work.bytes = used_experts ? work.bytes + *used_experts * site.bytes_per_expert : 0;
    work.flops = static_cast<double>(rows * site.flops_per_row);
  }
  return work;
}

std::optional<uint32_t> module_of(const SpanRecord& record) {
  switch (record.schema) {
    case span_layout::kSchemaGemm: return record.args[GemmArgs::kModule];
    case span_layout::kSchemaRows: return record.args[RowsArgs::kModule];
    case span_layout::kSchemaAttention: return record.args[AttentionArgs::kModule];
    case span_layout::kSchemaExperts: return record.args[ExpertsArgs::kModule];
    default: return std::nullopt;
  }
}

OpWork recorded_work(const SpanRecord& record) {
  switch (record.schema) {
    case span_layout::kSchemaGemm:
      return {wide(record, GemmArgs::kBytes), gemm_flops(record, record.args[GemmArgs::kDims1])};
    case span_layout::kSchemaRows: return {wide(record, RowsArgs::kBytes), 0};
    case span_layout::kSchemaAttention: return {wide(record, AttentionArgs::kBytes), 0};
    default: return {};
  }
}

}  // namespace vitrine
