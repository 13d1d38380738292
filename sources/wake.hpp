#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <stop_token>

#include <poll.h>

#include "sources/descriptor.hpp"

namespace logpipe {

/// A descriptor that becomes readable when a stop token stops, for loops that wait in poll.
/// Threads: the stop may come from any. Ends: the descriptor closes with this.
class StopDescriptor {
 public:
  explicit StopDescriptor(const std::stop_token& token);
  /// -1 when none could be had; errno says why.
  int fd() const noexcept { return descriptor_.get(); }

 private:
  struct Signal {
    int fd;
    void operator()() const noexcept;
  };
  Descriptor descriptor_;
  std::stop_callback<Signal> callback_;  // after the descriptor, so that it ends before it
};

/// Waits until a descriptor is ready or `until` has come (none: for as long as it takes). A signal may end it early.
/// Returns what poll returns and sets the entries' `revents`.
int wait_for(std::span<pollfd> descriptors, std::optional<std::chrono::steady_clock::time_point> until);

}  // namespace logpipe
