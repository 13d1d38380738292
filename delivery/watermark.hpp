#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "event/block.hpp"

namespace logpipe {

/// How far one source file is settled without a hole, while its ranges may be completed in any order and repeatedly.
/// Threads: one at a time.
/// Limits: `kPendingMax` completed ranges behind a hole. One more, and the farthest is taken as never completed: the
/// watermark then stays below it until reset(), so what lies behind is read again one day instead of being lost.
class Watermark {
 public:
  static constexpr std::size_t kPendingMax = 4096;

  explicit Watermark(std::uint64_t start = 0, Witness witness = {}) noexcept : contiguous_(start), witness_(witness) {}

  /// The bytes [begin, end) are settled; `witness` belongs to `end`. False when that had to be forgotten because of the
  /// limit.
  bool complete(std::uint64_t begin, std::uint64_t end, Witness witness = {});
  /// Begins again at `start`, with nothing behind it.
  void reset(std::uint64_t start, Witness witness = {}) noexcept;

  /// Every byte before this offset is settled.
  std::uint64_t contiguous() const noexcept { return contiguous_; }
  /// What stands before that offset, where it is known.
  Witness witness() const noexcept { return witness_; }
  /// Nothing is settled that the watermark does not cover.
  bool gap_free() const noexcept { return pending_.empty() && !overflowed_; }
  std::size_t pending() const noexcept { return pending_.size(); }

 private:
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
    Witness witness;  // of the end
  };
  std::uint64_t contiguous_;
  Witness witness_;
  std::vector<Range> pending_;  // ascending, neither overlapping nor touching, all behind contiguous_
  bool overflowed_{false};
};

}  // namespace logpipe
