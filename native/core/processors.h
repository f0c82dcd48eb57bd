// Which processors this process may use: its affinity mask, bounded by the CPU quota of its control group.
#pragma once

#include <string>
#include <vector>

namespace vitrine {

/// Processor numbers in the affinity mask of this process's main thread, ascending; never empty. Other threads may
/// already be pinned by a pool.
std::vector<int> allowed_processors();

/// Whole processors a control group's CPU quota allows (v2 cpu.max, v1 cpu.cfs_quota_us; the tightest of the group and
/// its parents), or 0 where none is set. Rounded down, at least 1: a team that overdraws its quota stalls at each join.
/// `proc_cgroup` is the text of /proc/self/cgroup, `mount` the folder control groups are mounted at.
int cgroup_cpu_limit(const std::string& proc_cgroup, const std::string& mount);

/// Threads worth starting: processors of the mask, bounded by the quota.
int usable_processor_count();

}  // namespace vitrine
