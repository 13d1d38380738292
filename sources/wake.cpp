#include "sources/wake.hpp"

#include <algorithm>
#include <cstdint>
#include <ctime>

#include <sys/eventfd.h>
#include <unistd.h>

namespace logpipe {

StopDescriptor::StopDescriptor(const std::stop_token& token)
    : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), callback_(token, Signal{descriptor_.get()}) {}

void StopDescriptor::Signal::operator()() const noexcept {
  const std::uint64_t one = 1;
  if (fd >= 0) static_cast<void>(!write(fd, &one, sizeof one));
}

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
