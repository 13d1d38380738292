#include "event/arena.hpp"

#include <algorithm>

namespace logpipe {

namespace {
constexpr std::size_t kKeptBytes = 1024 * 1024;
}

void Arena::next_chunk(std::size_t length) {
  const std::size_t first = current_;
  // Chunks of the last batch come first; one that is too small for this length stays unused until the next reset().
  if (current_ < chunks_.size()) ++current_;
  while (current_ < chunks_.size() && chunks_[current_].size < length) ++current_;
  if (current_ == chunks_.size()) {
    const std::size_t size = std::max(kChunkBytes, length);
    chunks_.push_back({std::unique_ptr<char[]>(new char[size]), size});
  }
  for (std::size_t i = first; i < current_; ++i) before_ += chunks_[i].size;
  used_ = 0;
}

void Arena::reset() noexcept {
  std::size_t kept = 0;
  std::size_t bytes = 0;
  while (kept < chunks_.size() && bytes + chunks_[kept].size <= kKeptBytes) bytes += chunks_[kept++].size;
  chunks_.resize(kept);
  current_ = 0;
  used_ = 0;
  before_ = 0;
}

std::size_t Arena::capacity() const noexcept {
  std::size_t bytes = 0;
  for (const Chunk& chunk : chunks_) bytes += chunk.size;
  return bytes;
}

}  // namespace logpipe
