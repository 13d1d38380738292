#pragma once

#include <chrono>
#include <optional>
#include <span>

#include <poll.h>

namespace logpipe {

/// Waits until a descriptor is ready or `until` has come (none: for as long as it takes). A signal may end it early.
/// Returns what poll returns and sets the entries' `revents`.
int wait_for(std::span<pollfd> descriptors, std::optional<std::chrono::steady_clock::time_point> until);

}  // namespace logpipe
