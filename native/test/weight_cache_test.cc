// The cache of packed weights: the bytes that are mapped are those that are packed, nobody is given a wrong file, and
// what cannot be cached is loaded all the same.
#include "model/weight_cache.h"

#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backend/cpu/packed_matrix.h"
#include "model/weight_loader.h"
#include "op_test_support.h"
#include "reference_backend.h"
#include "test_framework.h"
#include "tiny_model.h"

namespace vitrine::test {
namespace {

namespace fs = std::filesystem;
using Place = WeightOrigin::Place;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "vitrine-cache-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  /// Names of what is in it.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

 private:
  std::string path_;
};

LoadPlan cached_plan(const ModelSpec& spec, const std::string& directory, const std::string& identity = "id") {
  LoadPlan plan = dummy_plan(spec, 17);
  plan.cache = WeightCachePlan{directory, identity};
  return plan;
}

std::vector<const Weight*> all_weights(const Weights& weights) {
  std::vector<const Weight*> list;
  const auto add = [&list](const WeightPtr& weight) {
    if (weight) list.push_back(weight.get());
  };
  for (const WeightPtr* weight : {&weights.embed_tokens, &weights.norm, &weights.lm_head}) add(*weight);
  for (const LayerWeights& layer : weights.layers) {
    for (const WeightPtr* weight : {&layer.input_norm, &layer.post_attention_norm, &layer.qkv_proj, &layer.qkv_bias,
                                    &layer.q_norm, &layer.k_norm, &layer.o_proj, &layer.o_bias, &layer.gate_up_proj,
                                    &layer.gate_up_bias, &layer.down_proj, &layer.down_bias, &layer.router}) {
      add(*weight);
    }
    for (const ExpertParameters& expert : layer.experts) add(expert.gate_up_proj), add(expert.down_proj);
  }
  return list;
}

bool same_bytes(const Weights& a, const Weights& b) {
  const auto left = all_weights(a);
  const auto right = all_weights(b);
  if (left.size() != right.size() || a.bytes() != b.bytes()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i]->bytes() != right[i]->bytes() || left[i]->rows() != right[i]->rows()) return false;
    if (std::memcmp(left[i]->packed(), right[i]->packed(), left[i]->bytes()) != 0) return false;
  }
  return true;
}

bool lies_in(const Weights& weights, const MappedFile& file) {
  const char* begin = static_cast<const char*>(file.data());
  for (const Weight* weight : all_weights(weights)) {
    const char* data = static_cast<const char*>(weight->packed());
    if (data < begin || data + weight->bytes() > begin + file.bytes()) return false;
    if (reinterpret_cast<uintptr_t>(data) % 64 != 0) return false;
  }
  return true;
}

/// kB of a field of /proc/self/smaps, of the mapping that begins at `start`.
int64_t mapped_kib(const void* start, const std::string& field) {
  std::ifstream smaps("/proc/self/smaps");
  std::ostringstream begin;
  begin << std::hex << reinterpret_cast<uintptr_t>(start) << '-';
  std::string line;
  bool inside = false;
  while (std::getline(smaps, line)) {
    if (line.starts_with(begin.str())) inside = true;
    if (inside && line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1));
  }
  return -1;
}

uint64_t fnv1a(const void* data, size_t bytes) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3ULL;
  return hash;
}

struct TinyModel {
  const char* name;
  ModelSpec spec;
};

std::vector<TinyModel> tiny_models() {
  ModelSpec biases = tiny_spec();
  biases.qkv_bias = biases.output_bias = biases.mlp_bias = biases.qk_norm = biases.tie_word_embeddings = true;
  ModelSpec experts = tiny_spec();
  experts.layers[1].moe = MoeSpec{5, 2, true, 24};
  ModelSpec float8 = tiny_spec();
  for (LayerSpec& layer : float8.layers) layer.float8 = {true, true, true, true};
  return {{"plain", tiny_spec()}, {"biases, norms, tied", biases}, {"experts", experts}, {"float8", float8}};
}

/// A folder, and what a cache of the tiny model's weights needs.
struct CacheFixture {
  TemporaryFolder folder;
  ModelSpec spec = tiny_spec();
  ThreadPool pool{1};
  std::unique_ptr<Backend> backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  Weights weights;
  std::vector<ParameterSlot> slots = parameter_slots(spec, weights);
};

}  // namespace

TEST("weight_cache: what is mapped is what is packed, for every instruction set and type, in one file") {
  for (const CpuIsa isa : supported_cpu_isas()) {
    for (auto& [name, spec] : tiny_models()) {
      for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
        spec.dtype = dtype;
        const std::string what = sentence(cpu_isa_name(isa), ", ", name, ", ", dtype_name(dtype));
        const TemporaryFolder folder;
        ThreadPool pool(2);
        const auto backend = make_cpu_backend(isa, pool);
        const Weights packed = load_weights(spec, dummy_plan(spec, 17), *backend, pool);
        const Weights written = load_weights(spec, cached_plan(spec, folder.path()), *backend, pool);
        CHECK(packed.origin.place == Place::kMemory && packed.mapping == nullptr);
        CHECK_EQ(written.origin.place, Place::kWritten);
        CHECK_MESSAGE(same_bytes(written, packed), what);
        CHECK_MESSAGE(written.mapping != nullptr && lies_in(written, *written.mapping), what);

        const auto other = make_cpu_backend(supported_cpu_isas().front(), pool);
        const Weights mapped = load_weights(spec, cached_plan(spec, folder.path()), *other, pool);
        CHECK_EQ(mapped.origin.place, Place::kMapped);
        CHECK_EQ(mapped.origin.problem, "");
        CHECK_MESSAGE(same_bytes(mapped, packed), what);
        CHECK_MESSAGE(lies_in(mapped, *mapped.mapping), what);
        CHECK_EQ(folder.files().size(), size_t{1});
        CHECK_EQ(mapped.origin.path, folder.path() + "/" + folder.files()[0]);
      }
    }
  }
}

TEST("weight_cache: packed bytes are those that the layout's name stands for") {
  // Another hash here means another layout: kPackedLayout must change too, or old files are taken for new ones.
  ThreadPool pool(1);
  const std::vector<float> numbers = exact_floats(45 * 37, 3);
  const auto hash = [&](WeightKind kind, int64_t rows, int64_t cols, DType dtype) {
    const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
    const auto weight = backend->create_weight(kind, rows, cols, dtype);
    backend->load_rows(*weight, 0, rows, numbers.data(), DType::kFloat32);
    return fnv1a(weight->packed(), weight->bytes());
  };
  CHECK_EQ(kPackedLayout, "cpu-panels-1");
  CHECK_EQ(hash(WeightKind::kMatrix, 45, 37, DType::kFloat32), 0x990c15a49e991840ull);
  CHECK_EQ(hash(WeightKind::kMatrix, 45, 37, DType::kFloat16), 0xf58abaa16a8b2cfeull);
  CHECK_EQ(hash(WeightKind::kMatrix, 45, 37, DType::kBFloat16), 0x0261f06f360ab248ull);
  CHECK_EQ(hash(WeightKind::kVector, 45, 1, DType::kFloat32), 0x2e616351dfdf9425ull);

  std::vector<uint8_t> codes(45 * 37);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 7 % 127);
  std::vector<float> scales(45);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.25f * static_cast<float>(i + 1);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  const auto stored = backend->create_weight(WeightKind::kMatrix, 45, 37, DType::kFloat8E4M3);
  backend->load_quantized_rows(*stored, 0, 45, codes.data(), scales.data());
  CHECK_EQ(fnv1a(stored->packed(), stored->bytes()), 0x8b0ce6aa34d7d53dull);
}

TEST("weight_cache: pages are shared, and not counted as memory that can still be had") {
  const TemporaryFolder folder;
  ModelSpec spec = tiny_spec();
  spec.vocab_size = 100'000;
  ThreadPool pool(2);
  const auto first = make_cpu_backend(supported_cpu_isas().back(), pool);
  const auto second = make_cpu_backend(supported_cpu_isas().back(), pool);
  const Weights one = load_weights(spec, cached_plan(spec, folder.path()), *first, pool);
  const Weights two = load_weights(spec, cached_plan(spec, folder.path()), *second, pool);
  for (const Weights* weights : {&one, &two}) {
    const void* start = weights->mapping->data();
    CHECK_EQ(mapped_kib(start, "Rss"), weights->mapping->bytes() / 1024);  // all there before the first step
    CHECK_EQ(mapped_kib(start, "Anonymous"), 0);
    CHECK_EQ(mapped_kib(start, "Private_Dirty"), 0);
    CHECK_EQ(mapped_kib(start, "Private_Clean"), 0);
  }
  CHECK(first->available_bytes() > 0);
  const int64_t more_than_there_is = int64_t{1} << 38;
  const auto borrow = [&](bool seems_available) {
    return first->borrow_weight(WeightKind::kMatrix, more_than_there_is, 64, DType::kFloat32, one.norm->packed(),
                                seems_available);
  };
  CHECK(borrow(false));  // of tmpfs: the system counts it as used
  CHECK(first->available_bytes() > 0);
  CHECK(borrow(true));
  CHECK_EQ(first->available_bytes(), size_t{0});
  const std::vector<float> row(40);
  CHECK_THROWS_WITH(first->load_rows(*one.embed_tokens, 0, 1, row.data(), DType::kFloat32), "bytes are borrowed");
  CHECK_THROWS_WITH(first->load_rows(*one.norm, 0, 1, row.data(), DType::kFloat32), "bytes are borrowed");
}

TEST("weight_cache: a file that is not the right one is replaced, and its problem told") {
  const TemporaryFolder folder;
  const ModelSpec spec = tiny_spec();
  ThreadPool pool(2);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  const Weights packed = load_weights(spec, dummy_plan(spec, 17), *backend, pool);
  const auto load = [&](const std::string& identity = "id") {
    return load_weights(spec, cached_plan(spec, folder.path(), identity), *backend, pool);
  };
  const std::string path = load().origin.path;
  const auto size = fs::file_size(path);
  const auto replaced = [&](const std::string& problem) {
    const Weights weights = load();
    CHECK_EQ(weights.origin.place, Place::kWritten);
    CHECK_MESSAGE(weights.origin.problem.find(problem) != std::string::npos, weights.origin.problem);
    CHECK(same_bytes(weights, packed));
    CHECK_EQ(fs::file_size(path), size);
    CHECK_EQ(load().origin.place, Place::kMapped);
  };

  fs::resize_file(path, size / 2);
  replaced(sentence("expected a file of ", size, " bytes, got ", size / 2));
  fs::resize_file(path, size + 1);
  replaced(sentence("got ", size + 1));
  fs::resize_file(path, 0);
  replaced("got 0");
  std::ofstream(path, std::ios::binary) << std::string(size, 'x');
  replaced("its header is not that of these weights");
  const std::string other = load("other").origin.path;
  CHECK(other != path);
  fs::rename(other, path);  // the right size and layout, another identity
  replaced("its header is not that of these weights");
  std::ofstream(path + ".part.12.345", std::ios::binary) << "left by a process that died";
  fs::remove(path);
  CHECK_EQ(load().origin.place, Place::kWritten);
  CHECK_EQ(folder.files().size(), size_t{1});

  fs::remove(path);
  fs::create_directory(path);
  const Weights weights = load();
  CHECK_EQ(weights.origin.place, Place::kMemory);
  CHECK_MESSAGE(weights.origin.problem.find("cannot write " + path) != std::string::npos, weights.origin.problem);
  CHECK(same_bytes(weights, packed));
  CHECK_EQ(folder.files().size(), size_t{1});
}

TEST("weight_cache: who maps a file keeps it when it is replaced or deleted") {
  const TemporaryFolder folder;
  const ModelSpec spec = tiny_spec();
  ThreadPool pool(1);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  const Weights packed = load_weights(spec, dummy_plan(spec, 17), *backend, pool);
  const Weights first = load_weights(spec, cached_plan(spec, folder.path()), *backend, pool);
  fs::remove(first.origin.path);
  const Weights second = load_weights(spec, cached_plan(spec, folder.path()), *backend, pool);
  CHECK_EQ(second.origin.place, Place::kWritten);
  CHECK(same_bytes(first, packed));
  CHECK(same_bytes(second, packed));
}

TEST("weight_cache: what one writer names is its own file, also when its folder was deleted under it") {
  const TemporaryFolder folder;
  const std::string directory = folder.path() + "/cache";
  const ModelSpec spec = tiny_spec();
  ThreadPool pool(1);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  Weights weights;
  const std::vector<ParameterSlot> slots = parameter_slots(spec, weights);
  const WeightCachePlan plan{directory, "id"};
  fs::create_directory(directory);
  WeightCache first(plan, slots, *backend);
  first.lock();
  first.create();
  fs::remove_all(directory);
  fs::create_directory(directory);
  WeightCache second(plan, slots, *backend);
  second.lock();
  second.create();
  CHECK_THROWS_WITH(first.publish(), "cannot write ");
  CHECK(second.map() == nullptr);
  CHECK_EQ(second.problem(), "");
  CHECK(second.publish() != nullptr);
}

TEST("weight_cache: who does not want to wait is told by whom the lock is held, and takes nothing from it") {
  CacheFixture fixture;
  auto& [folder, spec, pool, backend, weights, slots] = fixture;
  LoadPlan impatient = cached_plan(spec, folder.path());
  impatient.cache->wait = false;
  {
    WeightCache writer({folder.path(), "id"}, slots, *backend);
    writer.lock();
    const std::string held = sentence(writer.path(), ".lock is held by process ", getpid());
    CHECK_THROWS_WITH(load_weights(spec, impatient, *backend, pool), held);
    CHECK_THROWS_WITH(load_weights(spec, impatient, *backend, pool), held);  // the lock is still there
    fs::resize_file(writer.path() + ".lock", 0);
    CHECK_THROWS_WITH(load_weights(spec, impatient, *backend, pool), "is held by another process");
  }
  CHECK_EQ(load_weights(spec, impatient, *backend, pool).origin.place, Place::kWritten);
  CHECK_EQ(folder.files().size(), size_t{1});
}

TEST("weight_cache: who writes one file keeps nobody from another") {
  CacheFixture fixture;
  auto& [folder, spec, pool, backend, weights, slots] = fixture;
  WeightCache first({folder.path(), "one"}, slots, *backend);
  first.lock();
  first.create();
  const Weights other = load_weights(spec, cached_plan(spec, folder.path(), "two"), *backend, pool);
  CHECK_EQ(other.origin.place, Place::kWritten);
  CHECK(first.publish() != nullptr);
}

TEST("weight_cache: a file has no header before all else is written") {
  CacheFixture fixture;
  auto& [folder, spec, pool, backend, weights, slots] = fixture;
  WeightCache cache({folder.path(), "id"}, slots, *backend);
  cache.lock();
  cache.create();
  for (const std::string& name : folder.files()) {
    if (name.find(".part.") == std::string::npos) continue;
    fs::copy_file(folder.path() + "/" + name, cache.path());  // what a crash or a rename may make of it
  }
  CHECK(cache.map() == nullptr);
  CHECK_MESSAGE(cache.problem().find("its header is not that of these weights") != std::string::npos, cache.problem());
}

TEST("weight_cache: a file of tmpfs lies in memory") {
  std::string path = "/dev/shm/vitrine-mapped-XXXXXX";
  struct statfs system;
  if (statfs("/dev/shm", &system) != 0 || system.f_type != TMPFS_MAGIC) SKIP("/dev/shm is no tmpfs");
  const int file = mkstemp(path.data());
  CHECK(file >= 0);
  CHECK_EQ(ftruncate(file, 4096), 0);
  close(file);
  CHECK(MappedFile(path, 4096).lies_in_memory());
  fs::remove(path);
  const std::string program = fs::canonical("/proc/self/exe");
  CHECK_EQ(statfs(program.c_str(), &system), 0);
  const bool in_memory = system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC;
  CHECK_EQ(MappedFile(program, static_cast<int64_t>(fs::file_size(program))).lies_in_memory(), in_memory);
}

TEST("weight_cache: of engines that start at once one writes") {
  const TemporaryFolder folder;
  ModelSpec spec = tiny_spec();
  spec.vocab_size = 20'000;
  std::atomic<int> written{0};
  std::atomic<int> mapped{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      ThreadPool pool(1);
      const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
      const Weights packed = load_weights(spec, dummy_plan(spec, 17), *backend, pool);
      const Weights cached = load_weights(spec, cached_plan(spec, folder.path()), *backend, pool);
      CHECK(same_bytes(cached, packed));
      if (cached.origin.place == Place::kWritten) ++written;
      if (cached.origin.place == Place::kMapped) ++mapped;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(written.load(), 1);
  CHECK_EQ(mapped.load(), 3);
  CHECK_EQ(folder.files().size(), size_t{1});
}

TEST("weight_cache: without a folder, without space or without a layout the weights are packed into memory") {
  const TemporaryFolder folder;
  ModelSpec spec = tiny_spec();
  ThreadPool pool(2);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  const Weights packed = load_weights(spec, dummy_plan(spec, 17), *backend, pool);
  const auto refused = [&](const Weights& weights, const std::string& problem) {
    CHECK_EQ(weights.origin.place, Place::kMemory);
    CHECK(weights.mapping == nullptr);
    CHECK_MESSAGE(weights.origin.problem.find(problem) != std::string::npos, weights.origin.problem);
    CHECK(folder.files().empty());
  };
  const std::string nowhere = folder.path() + "/gone";
  const Weights without_folder = load_weights(spec, cached_plan(spec, nowhere), *backend, pool);
  refused(without_folder, ".weights.lock: No such file or directory");
  CHECK(same_bytes(without_folder, packed));

  rlimit before;
  CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{64 * 1024, before.rlim_max};
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Weights without_space = load_weights(spec, cached_plan(spec, folder.path()), *backend, pool);
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  refused(without_space, "no room for ");
  CHECK(same_bytes(without_space, packed));

  const auto reference = make_reference_backend();
  refused(load_weights(spec, cached_plan(spec, folder.path()), *reference, pool),
          "the weights of reference cannot be mapped from a file");
}

TEST("weight_cache: a checkpoint that cannot be loaded is an error, and leaves no file") {
  const TemporaryFolder folder;
  const ModelSpec spec = tiny_spec();
  ThreadPool pool(1);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  LoadPlan plan = cached_plan(spec, folder.path());
  plan.parameters.pop_back();
  CHECK_THROWS_WITH(load_weights(spec, plan, *backend, pool), "missing in the plan");
  plan = cached_plan(spec, folder.path());
  plan.parameters.push_back(plan.parameters.front());
  CHECK_THROWS_WITH(load_weights(spec, plan, *backend, pool), "in the plan twice");
  CHECK(folder.files().empty());
}

}  // namespace vitrine::test
