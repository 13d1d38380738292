#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "channel/result.hpp"
#include "daemon/verify.hpp"
#include "daemon/verify_input.hpp"
#include "sources/descriptor.hpp"

namespace logpipe::verifying {

/// How many examples of each kind a report has.
inline constexpr std::size_t kExamplesMax = 10;

/// What the comparisons get and fill in.
struct Comparison {
  const VerifyOptions& options;
  FileRow source;
  FileRow sink;
  VerifyReport report;
};
Status compare_lines(Comparison& comparison);
Status compare_numbers(Comparison& comparison);

/// Things put aside by part, in memory as long as there is room and otherwise in files without a name.
/// Threads: one. Ends: its files vanish with it, however the process ends.
template <class T>
class Parted {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  Parted(std::size_t parts, std::uint64_t memory, std::string directory)
      : parts_(parts), memory_(memory), directory_(std::move(directory)) {}

  Status add(std::size_t part, const T& item) {
    parts_[part].items.push_back(item);
    held_ += sizeof(T);
    return held_ > memory_ ? spill() : Status();
  }
  /// Everything of one part, in the order it came.
  Result<std::vector<T>> take(std::size_t part) {
    Part& from = parts_[part];
    std::vector<T> items(from.stored);
    for (std::size_t done = 0; done < from.stored * sizeof(T);) {
      const ssize_t got = pread(from.file.get(), reinterpret_cast<char*>(items.data()) + done,
                                from.stored * sizeof(T) - done, static_cast<off_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return fail(Error::from_errno(got < 0 ? errno : EIO, "read a temporary file in " + directory_));
      done += static_cast<std::size_t>(got);
    }
    items.insert(items.end(), from.items.begin(), from.items.end());
    from = Part{};
    return items;
  }

 private:
  struct Part {
    std::vector<T> items;
    Descriptor file;
    std::size_t stored{0};
  };

  Status spill() {
    for (Part& part : parts_) {
      if (part.items.empty()) continue;
      if (!part.file) part.file = Descriptor(open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
      if (!part.file) return fail(Error::from_errno(errno, "temporary file in " + directory_));
      const std::size_t bytes = part.items.size() * sizeof(T);
      for (std::size_t done = 0; done < bytes;) {
        const ssize_t put =
            write(part.file.get(), reinterpret_cast<const char*>(part.items.data()) + done, bytes - done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail(Error::from_errno(errno, "write a temporary file in " + directory_));
        done += static_cast<std::size_t>(put);
      }
      part.stored += part.items.size();
      std::vector<T>().swap(part.items);  // and its memory
    }
    held_ = 0;
    return {};
  }

  std::vector<Part> parts_;
  const std::uint64_t memory_;
  const std::string directory_;
  std::uint64_t held_{0};
};

/// Where the smallest of many numbers are kept.
class Smallest {
 public:
  explicit Smallest(std::size_t max) : max_(max) {}
  void add(std::uint64_t number) {
    if (numbers_.size() == max_) {
      if (number >= numbers_.front()) return;
      std::pop_heap(numbers_.begin(), numbers_.end());
      numbers_.back() = number;
    } else {
      numbers_.push_back(number);
    }
    std::push_heap(numbers_.begin(), numbers_.end());
  }
  std::vector<std::uint64_t> sorted() const {
    std::vector<std::uint64_t> all = numbers_;
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  const std::size_t max_;
  std::vector<std::uint64_t> numbers_;  // a heap, the largest first
};

}  // namespace logpipe::verifying
