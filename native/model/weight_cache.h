// A file of packed weights, which processes that load the same checkpoint map and so share: one copy in the system's
// file cache, nothing to convert. Of the engine thread.
//
// The file: a header in text that says whose bytes follow and where each parameter's lie, then these, each from the
// start of a page. A file is right when its size and header are those that this process would write. The header comes
// last, and the file gets its name when all of it is on the disk; it is never changed under it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/check.h"
#include "core/mapped_file.h"
#include "model/load_plan.h"
#include "model/weights.h"

namespace vitrine {

/// There can be no cache file: the device's weights cannot be mapped, no permission, no space.
class WeightCacheError : public Error {
 public:
  using Error::Error;
};

/// Another process writes the file, and the plan says not to wait for it. Names the lock and, where it is known, the
/// process.
class WeightCacheLocked : public Error {
 public:
  using Error::Error;
};

class WeightCache {
 public:
  /// Of `slots`, which must outlive it. Throws WeightCacheError when the backend cannot borrow weights.
  WeightCache(const WeightCachePlan& plan, const std::vector<ParameterSlot>& slots, Backend& backend);
  ~WeightCache();
  WeightCache(const WeightCache&) = delete;
  WeightCache& operator=(const WeightCache&) = delete;

  const std::string& path() const { return path_; }
  /// What is wrong with a file that was found; empty: nothing, or there was none.
  const std::string& problem() const { return problem_; }

  /// The whole file, its pages in memory; null where there is none, or not the right one.
  std::unique_ptr<const MappedFile> map();
  /// The weight of a slot, as it lies in a mapped file.
  WeightPtr borrow(const ParameterSlot& slot, const MappedFile& file) const;

  // --- writing: in this order. All throw WeightCacheError --------------------------------------------------------
  /// Waits for another process that writes the file, or throws WeightCacheLocked, as the plan says; held until the end
  /// of this.
  void lock();
  /// Starts a file of the right size under a name of its own, and removes those of processes that died.
  void create();
  void write(const ParameterSlot& slot, const Weight& weight);
  /// Names the file, once the disk has it, and maps it.
  std::unique_ptr<const MappedFile> publish();

 private:
  struct Place {
    int64_t offset;
    int64_t bytes;
  };
  const Place& place(const ParameterSlot& slot) const { return places_[static_cast<size_t>(&slot - slots_.data())]; }
  bool lock_has_its_name() const;
  void sign_lock() const;
  std::string lock_holder() const;
  void remove_leftovers() const;
  void write_bytes(const void* bytes, int64_t count, int64_t offset);
  void sync();

  const std::vector<ParameterSlot>& slots_;
  Backend& backend_;
  std::string directory_;
  std::string path_;
  std::string lock_path_;  ///< there while somebody holds or awaits it; says the process that holds it
  bool wait_;
  std::string part_path_;  ///< the file's name until it is complete
  std::string header_;
  std::vector<Place> places_;  ///< of each slot
  int64_t bytes_ = 0;
  std::string problem_;
  int lock_ = -1;
  int file_ = -1;  ///< while it is written
};

}  // namespace vitrine
