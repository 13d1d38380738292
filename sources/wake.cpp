#include "sources/wake.hpp"

#include <algorithm>
#include <cstdint>
#include <ctime>

namespace logpipe {

int wait_for(std::span<pollfd> descriptors, std::optional<std::chrono::steady_clock::time_point> until) {
  timespec timeout{};
  if (until) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(*until - std::chrono::steady_clock::now());
    const auto nanoseconds = std::max<std::int64_t>(left.count(), 0);
    timeout.tv_sec = nanoseconds / 1'000'000'000;
    timeout.tv_nsec = nanoseconds % 1'000'000'000;
  }
  return ppoll(descriptors.data(), descriptors.size(), until ? &timeout : nullptr, nullptr);
}

}  // namespace logpipe
