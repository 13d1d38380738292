#pragma once

namespace logpipe::detail {
/// Prints the condition and its place to stderr and aborts. Async-signal-safe.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;
}  // namespace logpipe::detail

/// A broken invariant stops the program, in every build. Never for what a user can cause.
#define LOGPIPE_ASSERT(condition) \
  (static_cast<bool>(condition) ? void(0) : ::logpipe::detail::assertion_failed(#condition, __FILE__, __LINE__))
