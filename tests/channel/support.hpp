#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

namespace logpipe::testing {

/// Gives the processor away until another thread has made `condition` true. The test's time limit is the deadline.
template <class Condition>
void await(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

inline std::size_t count_entries(const char* directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}
inline std::size_t thread_count() {
  return count_entries("/proc/self/task");
}
inline std::size_t descriptor_count() {
  return count_entries("/proc/self/fd");
}

}  // namespace logpipe::testing
