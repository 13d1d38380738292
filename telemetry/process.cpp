#include "telemetry/process.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>

namespace logpipe {
namespace {

double seconds_of(clockid_t clock) noexcept {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_descriptors() noexcept {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(directory);
  return count - 1;  // without the one for the directory itself
}

double max_descriptors() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<double>::infinity();
  return static_cast<double>(limit.rlim_cur);
}

/// Field 22 of /proc/self/stat is in ticks since boot; the boot's own time would be in /proc/stat, which a hardened
/// unit hides, so it comes from the difference of the clocks. See proc(5).
double start_time() {
  std::ifstream stat("/proc/self/stat");
  std::stringstream content;
  content << stat.rdbuf();
  const std::string text = content.str();
  const std::size_t name_end = text.rfind(')');  // the name may contain spaces and parentheses
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int number = 3; number < 22; ++number) fields >> field;
  std::uint64_t ticks = 0;
  fields >> ticks;
  const double since_boot = static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_BOOTTIME) + since_boot;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

}  // namespace

std::vector<MetricCallback> register_process_metrics(MetricsRegistry& registry, const BuildInfo& build) {
  registry.info({"logpipe_build_info", "What this binary was built from."},
                {{"version", build.version}, {"revision", build.revision}, {"compiler", compiler()}});
  std::vector<MetricCallback> callbacks;
  callbacks.push_back(
      registry.counter_callback({"process_cpu_seconds_total", "User and system CPU time of the process."}, {},
                                [] { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }));
  callbacks.push_back(registry.gauge_callback({"process_resident_memory_bytes", "Resident memory of the process."}, {},
                                              [] { return resident_bytes(); }));
  callbacks.push_back(
      registry.gauge_callback({"process_open_fds", "Open file descriptors."}, {}, [] { return open_descriptors(); }));
  callbacks.push_back(registry.gauge_callback({"process_max_fds", "Limit of open file descriptors."}, {},
                                              [] { return max_descriptors(); }));
  callbacks.push_back(
      registry.gauge_callback({"process_start_time_seconds", "When the process started, in seconds since the epoch."},
                              {}, [started = start_time()] { return started; }));
  return callbacks;
}

}  // namespace logpipe
