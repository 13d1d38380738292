#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "event/block.hpp"

namespace logpipe {

/// The bytes a batch became for one sink: runs of the block that nobody touched, as they lie there, and copies of the
/// rest.
/// Threads: one at a time. Limits: own bytes below 4 GiB.
class Encoded {
 public:
  /// Runs of the block shorter than this are copied: an iovec costs more than the copy.
  static constexpr std::size_t kCopyBelow = 1024;

  struct Slice {
    std::uint32_t offset;
    std::uint32_t length;
    bool own;  ///< in our bytes; otherwise in the block
  };

  void clear() noexcept;
  bool empty() const noexcept { return total_ == 0; }
  std::size_t size() const noexcept { return total_; }         ///< bytes when written out
  std::size_t own_size() const noexcept { return own_size_; }  ///< bytes that were copied
  std::size_t own_capacity() const noexcept { return own_capacity_; }
  bool uses_block() const noexcept { return uses_block_; }
  const std::vector<Slice>& slices() const noexcept { return slices_; }

  /// Copies.
  void append(std::string_view text) {
    if (text.empty()) return;
    char* place = grow(text.size());
    std::memcpy(place, text.data(), text.size());
    commit(text.size());
  }
  void append(char c) {
    *grow(1) = c;
    commit(1);
  }
  /// Room for `length` bytes to be written by the caller, then made part of the output by commit().
  char* grow(std::size_t length) {
    if (own_capacity_ - own_size_ < length) enlarge(length);
    return own_.get() + own_size_;
  }
  void commit(std::size_t length) {
    if (length == 0) return;
    // Own bytes are only ever appended, so a last slice of ours always ends where the new bytes begin.
    if (!slices_.empty() && slices_.back().own) {
      slices_.back().length += static_cast<std::uint32_t>(length);
    } else {
      slices_.push_back({static_cast<std::uint32_t>(own_size_), static_cast<std::uint32_t>(length), true});
    }
    own_size_ += length;
    total_ += length;
  }
  /// A run of the block, by reference or, when short, copied. `block` is the one this output is made from.
  void append_run(const Block& block, std::uint32_t offset, std::uint32_t length);

  /// Fills `out` with the slices from byte `skip` on, at most `max` of them; returns how many. `block` may be null when
  /// uses_block() is false.
  std::size_t iovecs(const Block* block, std::size_t skip, iovec* out, std::size_t max) const noexcept;

 private:
  void enlarge(std::size_t length);
  std::unique_ptr<char[]> own_;
  std::size_t own_size_{0};
  std::size_t own_capacity_{0};
  std::size_t total_{0};
  bool uses_block_{false};
  std::vector<Slice> slices_;
};

}  // namespace logpipe
