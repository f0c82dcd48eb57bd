// A tool that NVTX loads through NVTX_INJECTION64_PATH: writes every push and pop to the file VITRINE_NVTX_LOG, one
// line each, `push TID TEXT` or `pop TID`. Without that variable it does nothing, for measuring. native_tests link it
// in.
#include <fcntl.h>
#define NVTX_NO_IMPL  // types only: a tool does not call NVTX
#include <nvtx3/nvToolsExt.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {

int log_file = -1;

/// One write a line: lines of several threads, and of several processes, do not mix.
void log_line(std::string line) {
  line += '\n';
  if (write(log_file, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
}

std::string thread_id() { return std::to_string(syscall(SYS_gettid)); }

int NVTX_API push(const char* text) {
  if (log_file >= 0) log_line("push " + thread_id() + " " + text);
  return 0;
}

int NVTX_API push_attributes(const nvtxEventAttributes_t* event) {
  if (log_file >= 0) log_line("pushEx " + thread_id() + " " + event->message.ascii);
  return 0;
}

int NVTX_API pop() {
  if (log_file >= 0) log_line("pop " + thread_id());
  return 0;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
  if (const char* path = std::getenv("VITRINE_NVTX_LOG")) {
    log_file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_file < 0) return 0;
  }
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned int size = 0;
  if (!callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size) || size <= NVTX_CBID_CORE_RangePop) {
    return 0;
  }
  *table[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
  *table[NVTX_CBID_CORE_RangePushEx] = reinterpret_cast<NvtxFunctionPointer>(push_attributes);
  *table[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  return 1;
}
