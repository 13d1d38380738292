#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace logpipe::detail {

/// Lets a map with std::string keys be asked with a std::string_view.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
};

/// Which of `shards` a hash belongs to. Mixed first: tables use the hash as it is, and not every hash has many bits.
inline std::size_t shard_of_hash(std::size_t hash, std::size_t shards) noexcept {
  return ((static_cast<std::uint64_t>(hash) * 0x9E3779B97F4A7C15U) >> 32) % shards;
}

}  // namespace logpipe::detail
