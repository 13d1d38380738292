#pragma once

#include "channel/clock.hpp"
#include "channel/context.hpp"

namespace logpipe {

/// Waits until `when` by `clock`. False when the context ended first, which wakes it at once. Threads: any.
[[nodiscard]] bool sleep_until(const Context& ctx, Clock& clock, SteadyTime when);

}  // namespace logpipe
