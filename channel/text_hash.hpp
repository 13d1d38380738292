#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace logpipe::detail {

/// Lets a map with std::string keys be asked with a std::string_view.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
};

/// Which of `shards` a hash belongs to: by its upper half, since tables use the lower one.
inline std::size_t shard_of_hash(std::size_t hash, std::size_t shards) noexcept {
  return (hash >> (sizeof(hash) * 4)) % shards;
}

}  // namespace logpipe::detail
