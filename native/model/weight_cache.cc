// Naming, checking and writing of cache files.
#include "model/weight_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <system_error>

namespace vitrine {
namespace {

constexpr int64_t kAlignment = 4096;
constexpr int64_t kMostWritten = int64_t{1} << 30;  // one call writes less than 2 GiB

template <class... Parts>
[[noreturn]] void give_up(const Parts&... parts) {
  throw WeightCacheError(sentence(parts...));
}

int64_t aligned(int64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

WeightCache::WeightCache(const WeightCachePlan& plan, const std::vector<ParameterSlot>& slots, Backend& backend)
    : slots_(slots), backend_(backend), directory_(plan.directory), wait_(plan.wait) {
  const std::string layout(backend.weight_layout());
  if (layout.empty()) give_up("the weights of ", backend.name(), " cannot be mapped from a file");
  path_ = directory_ + "/" + plan.identity + "." + layout + ".weights";
  lock_path_ = path_ + ".lock";

  std::string table;
  int64_t end = 0;  // of the weights, counted from the end of the header
  for (const ParameterSlot& slot : slots) {
    const auto bytes = static_cast<int64_t>(backend.packed_bytes(slot.kind, slot.rows, slot.cols, slot.dtype));
    places_.push_back({end, bytes});
    table += sentence(slot.name, " ", dtype_name(slot.dtype), " [", slot.rows, ", ", slot.cols, "] ", bytes,
                      " bytes at +", end, "\n");
    end = aligned(end + bytes);
  }
  header_ = sentence("vitrine packed weights\nlayout ", layout, "\nidentity ", plan.identity, "\n", slots.size(),
                     " parameters:\n", table);
  const int64_t first = aligned(static_cast<int64_t>(header_.size()));
  header_.resize(static_cast<size_t>(first), '\n');
  for (Place& place : places_) place.offset += first;
  bytes_ = first + end;
}

WeightCache::~WeightCache() {
  if (file_ >= 0) {
    close(file_);
    unlink(part_path_.c_str());
  }
  if (lock_ < 0) return;
  if (lock_has_its_name()) unlink(lock_path_.c_str());
  close(lock_);
}

std::unique_ptr<const MappedFile> WeightCache::map() {
  struct stat status;
  const bool there = stat(path_.c_str(), &status) == 0;
  if (!there && errno == ENOENT) return nullptr;
  if (there && (!S_ISREG(status.st_mode) || status.st_size != bytes_)) {
    problem_ = sentence(path_, ": expected a file of ", bytes_, " bytes, got ",
                        S_ISREG(status.st_mode) ? "" : "something else of ", status.st_size);
    return nullptr;
  }
  try {
    auto file = std::make_unique<const MappedFile>(path_, bytes_);
    const auto header_bytes = static_cast<int64_t>(header_.size());
    if (std::memcmp(file->fetch(0, header_bytes), header_.data(), header_.size()) == 0) {
      file->fetch(0, bytes_);
      return file;
    }
    problem_ = path_ + ": its header is not that of these weights";
  } catch (const Error& error) {
    problem_ = error.what();
  }
  return nullptr;
}

WeightPtr WeightCache::borrow(const ParameterSlot& slot, const MappedFile& file) const {
  return backend_.borrow_weight(slot.kind, slot.rows, slot.cols, slot.dtype,
                                static_cast<const char*>(file.data()) + place(slot).offset, !file.lies_in_memory());
}

void WeightCache::lock() {
  // The file that was waited for is removed by who held it, or with the folder: then it locks nobody out.
  do {
    if (lock_ >= 0) close(lock_);
    lock_ = open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0) give_up("cannot open ", lock_path_, ": ", std::strerror(errno));
    while (flock(lock_, wait_ ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        const std::string holder = lock_holder();
        close(lock_);
        lock_ = -1;  // it is not ours to remove
        throw WeightCacheLocked(sentence(lock_path_, " is held by ", holder));
      }
      if (errno != EINTR) give_up("cannot lock ", lock_path_, ": ", std::strerror(errno));
    }
  } while (!lock_has_its_name());
  sign_lock();
}

void WeightCache::sign_lock() const {
  const std::string process = std::to_string(getpid());
  const bool emptied = ftruncate(lock_, 0) == 0;
  // What cannot be signed, on a full disk, is a lock all the same.
  [[maybe_unused]] const bool is_signed = emptied && pwrite(lock_, process.data(), process.size(), 0) > 0;
}

std::string WeightCache::lock_holder() const {
  char process[16];
  const ssize_t length = pread(lock_, process, sizeof(process), 0);
  return length > 0 ? "process " + std::string(process, static_cast<size_t>(length)) : "another process";
}

bool WeightCache::lock_has_its_name() const {
  struct stat held;
  struct stat named;
  return fstat(lock_, &held) == 0 && stat(lock_path_.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

void WeightCache::create() {
  remove_leftovers();
  // No two processes write under one name, whatever becomes of the lock: what one of them names is its own.
  std::random_device random;
  part_path_ = sentence(path_, ".part.", getpid(), ".", random());
  file_ = open(part_path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) give_up("cannot write ", part_path_, ": ", std::strerror(errno));
  // Reserves the space; where the file system cannot, a full disk shows later.
  if (fallocate(file_, 0, 0, bytes_) != 0) {
    if (errno != EOPNOTSUPP) give_up("no room for ", bytes_, " bytes in ", directory_, ": ", std::strerror(errno));
    if (ftruncate(file_, bytes_) != 0) give_up("cannot write ", part_path_, ": ", std::strerror(errno));
  }
}

void WeightCache::remove_leftovers() const {
  const std::string begin = std::filesystem::path(path_).filename().string() + ".part";
  std::error_code error;  // what cannot be removed is only in the way of space
  std::filesystem::directory_iterator entry(directory_, error);
  for (const std::filesystem::directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().string().starts_with(begin)) unlink(entry->path().c_str());
  }
}

void WeightCache::write(const ParameterSlot& slot, const Weight& weight) {
  write_bytes(weight.packed(), place(slot).bytes, place(slot).offset);
}

void WeightCache::write_bytes(const void* bytes, int64_t count, int64_t offset) {
  for (int64_t done = 0; done < count;) {
    const auto part = static_cast<size_t>(std::min(kMostWritten, count - done));
    const ssize_t written = pwrite(file_, static_cast<const char*>(bytes) + done, part, offset + done);
    if (written < 0 && errno != EINTR) give_up("cannot write ", part_path_, ": ", std::strerror(errno));
    done += std::max<ssize_t>(0, written);
  }
  sync_file_range(file_, offset, count, SYNC_FILE_RANGE_WRITE);  // the disk starts while the next weight is packed
}

void WeightCache::sync() {
  if (fsync(file_) != 0) give_up("cannot write ", part_path_, ": ", std::strerror(errno));
}

std::unique_ptr<const MappedFile> WeightCache::publish() {
  sync();
  write_bytes(header_.data(), static_cast<int64_t>(header_.size()), 0);
  sync();
  if (rename(part_path_.c_str(), path_.c_str()) != 0) give_up("cannot write ", path_, ": ", std::strerror(errno));
  close(file_);
  file_ = -1;
  const std::string before = std::move(problem_);
  problem_.clear();
  auto file = map();
  if (file == nullptr) give_up(problem_.empty() ? path_ + " was removed at once" : problem_);
  problem_ = before;
  return file;
}

}  // namespace vitrine
