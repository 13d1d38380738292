#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace logpipe {

/// Bump memory for text that lives as long as the work on one batch. Addresses are stable; reset() keeps the chunks.
/// Threads: one at a time.
class Arena {
 public:
  static constexpr std::size_t kChunkBytes = 64 * 1024;

  /// Uninitialised bytes; `length` may be 0.
  char* allocate(std::size_t length) {
    if (current_ == chunks_.size() || chunks_[current_].size - used_ < length) next_chunk(length);
    char* result = chunks_[current_].bytes.get() + used_;
    used_ += length;
    return result;
  }
  std::string_view copy(std::string_view text) {
    char* place = allocate(text.size());
    if (!text.empty()) std::memcpy(place, text.data(), text.size());
    return {place, text.size()};
  }
  /// Gives back the end of the last allocation (after writing less than was asked for).
  void shrink_last(std::size_t unused) noexcept { used_ -= unused; }
  /// Forgets all text. Chunks beyond 1 MiB are freed, so that one odd batch does not stay in memory for ever.
  void reset() noexcept;
  std::size_t capacity() const noexcept;
  /// Bytes taken since the last reset(), with what was left over at the ends of chunks.
  std::size_t used() const noexcept { return before_ + used_; }

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    std::size_t size;
  };
  void next_chunk(std::size_t length);
  std::vector<Chunk> chunks_;
  std::size_t current_{0};
  std::size_t used_{0};    // of the current chunk
  std::size_t before_{0};  // the sizes of those before it
};

}  // namespace logpipe
