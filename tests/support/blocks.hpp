#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "event/block.hpp"

namespace logpipe::test {

/// A block that holds `text` as one segment of whole lines, beginning at `file_offset` of a made-up file.
inline BlockPtr block_of(BlockPool& pool, std::string_view text, std::uint64_t file_offset = 0, SourceFileRef file = {}) {
  if (!file) {
    auto made = std::make_shared<SourceFile>();
    made->id = 1;
    made->source = "test";
    made->path = "test.log";
    file = made;
  }
  BlockPtr block = pool.acquire(text.size() == 0 ? 1 : text.size(), {});
  std::memcpy(block->data(), text.data(), text.size());
  block->set_size(text.size());
  const auto size = static_cast<std::uint32_t>(text.size());
  block->segments.push_back({std::move(file), file_offset, file_offset + size, 0, size, SegmentKind::lines});
  block->read_at = std::chrono::system_clock::now();
  block->read_mono = std::chrono::steady_clock::now();
  return block;
}

}  // namespace logpipe::test
