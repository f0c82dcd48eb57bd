// The stream is captured into a graph of our own making, whose nodes can be counted while they come in.
#include "backend/cuda/graph.h"

#include <memory>
#include <utility>

namespace vitrine::cuda {

void Capture::begin() {
  require(graph_ == nullptr, "a capture is going on already");
  cudaGraph_t graph = nullptr;
  check(cudaGraphCreate(&graph, 0), "cudaGraphCreate");
  const cudaError_t code =
      cudaStreamBeginCaptureToGraph(stream_, graph, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal);
  if (code != cudaSuccess) cudaGraphDestroy(graph);
  check(code, "cudaStreamBeginCaptureToGraph");
  graph_ = graph;
}

int32_t Capture::nodes() const {
  require(graph_ != nullptr, "no capture is going on");
  size_t count = 0;
  check(cudaGraphGetNodes(graph_, nullptr, &count), "cudaGraphGetNodes");
  return static_cast<int32_t>(count);
}

VitrineCudaGraph* Capture::end() {
  require(graph_ != nullptr, "no capture is going on");
  cudaGraph_t captured = nullptr;  // is graph_, but null when an op broke the capture
  const cudaError_t code = cudaStreamEndCapture(stream_, &captured);
  const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(&cudaGraphDestroy)> graph(
      std::exchange(graph_, nullptr), cudaGraphDestroy);
  check(code, "cudaStreamEndCapture");
  size_t nodes = 0;
  check(cudaGraphGetNodes(graph.get(), nullptr, &nodes), "cudaGraphGetNodes");
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph.get(), 0), "cudaGraphInstantiate");
  auto result = std::make_unique<VitrineCudaGraph>(exec, static_cast<int32_t>(nodes));
  check(cudaGraphUpload(exec, stream_), "cudaGraphUpload");
  return result.release();
}

void Capture::abandon() {
  if (graph_ == nullptr) return;
  cudaGraph_t captured = nullptr;
  cudaStreamEndCapture(stream_, &captured);
  cudaGetLastError();
  cudaGraphDestroy(std::exchange(graph_, nullptr));
}

}  // namespace vitrine::cuda
