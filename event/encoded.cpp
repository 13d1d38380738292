#include "event/encoded.hpp"

#include <algorithm>

namespace logpipe {

namespace {
constexpr std::size_t kFirstBytes = 4 * 1024;
}

void Encoded::clear() noexcept {
  own_size_ = 0;
  total_ = 0;
  uses_block_ = false;
  slices_.clear();
}

void Encoded::enlarge(std::size_t length) {
  std::size_t capacity = std::max(own_capacity_ * 2, kFirstBytes);
  while (capacity - own_size_ < length) capacity *= 2;
  std::unique_ptr<char[]> bytes(new char[capacity]);
  if (own_size_ != 0) std::memcpy(bytes.get(), own_.get(), own_size_);
  own_ = std::move(bytes);
  own_capacity_ = capacity;
}

void Encoded::append_run(const Block& block, std::uint32_t offset, std::uint32_t length) {
  if (length == 0) return;
  if (!slices_.empty() && !slices_.back().own && slices_.back().offset + slices_.back().length == offset) {
    slices_.back().length += length;
    total_ += length;
  } else if (length < kCopyBelow) {
    append(block.text(offset, length));
  } else {
    slices_.push_back({offset, length, false});
    total_ += length;
    uses_block_ = true;
  }
}

std::size_t Encoded::iovecs(const Block* block, std::size_t skip, iovec* out, std::size_t max) const noexcept {
  std::size_t count = 0;
  for (const Slice& slice : slices_) {
    if (count == max) break;
    if (skip >= slice.length) {
      skip -= slice.length;
      continue;
    }
    const char* bytes = (slice.own ? own_.get() : block->data()) + slice.offset + skip;
    // writev() does not write through iov_base.
    out[count++] = {const_cast<char*>(bytes), slice.length - skip};
    skip = 0;
  }
  return count;
}

}  // namespace logpipe
