#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace logpipe::detail {

/// Who is next where only the items of one key have an order: each key's items in the order they entered, different
/// keys as they become ready. Hands out the numbers of a fixed set of slots; what is in them is the caller's.
/// Threads: none of its own; the caller holds a lock.
class KeyTurns {
 public:
  explicit KeyTurns(std::size_t slots);

  /// A slot for the next item of `key`. There must be a free one.
  [[nodiscard]] std::size_t enter(std::uint64_t key);
  /// The item in `slot` is ready to leave.
  void ready(std::size_t slot);
  /// The slot whose turn it is, freed with this call: whatever is in it leaves now, before the next call.
  [[nodiscard]] std::optional<std::size_t> next();

 private:
  static constexpr std::size_t kNone = SIZE_MAX;
  struct Slot {
    std::uint64_t key{0};
    std::size_t behind{kNone};  ///< the next one of the key
    bool first{false};          ///< no earlier one of the key is inside
    bool ready{false};
  };
  void queue(std::size_t slot);

  std::vector<Slot> slots_;
  std::vector<std::size_t> free_;
  std::unordered_map<std::uint64_t, std::size_t> last_of_key_;
  // A ring: slots whose turn it is, first come, first served.
  std::vector<std::size_t> turn_;
  std::size_t turn_begin_{0};
  std::size_t turn_count_{0};
};

}  // namespace logpipe::detail
