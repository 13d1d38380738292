#include "channel/key_turns.hpp"

#include "channel/assert.hpp"

namespace logpipe::detail {

KeyTurns::KeyTurns(std::size_t slots) : slots_(slots), turn_(slots) {
  free_.reserve(slots);
  for (std::size_t slot = slots; slot > 0; --slot) free_.push_back(slot - 1);
  last_of_key_.reserve(slots);
}

std::size_t KeyTurns::enter(std::uint64_t key) {
  LOGPIPE_ASSERT(!free_.empty());
  const std::size_t slot = free_.back();
  const auto [last, first] = last_of_key_.try_emplace(key, slot);
  free_.pop_back();
  if (!first) {
    slots_[last->second].behind = slot;
    last->second = slot;
  }
  slots_[slot] = Slot{.key = key, .first = first};
  return slot;
}

void KeyTurns::ready(std::size_t slot) {
  slots_[slot].ready = true;
  if (slots_[slot].first) queue(slot);
}

std::optional<std::size_t> KeyTurns::next() {
  if (turn_count_ == 0) return std::nullopt;
  const std::size_t slot = turn_[turn_begin_];
  turn_begin_ = (turn_begin_ + 1) % turn_.size();
  --turn_count_;
  if (const std::size_t behind = slots_[slot].behind; behind != kNone) {
    slots_[behind].first = true;
    if (slots_[behind].ready) queue(behind);
  } else {
    last_of_key_.erase(slots_[slot].key);
  }
  free_.push_back(slot);
  return slot;
}

void KeyTurns::queue(std::size_t slot) {
  turn_[(turn_begin_ + turn_count_) % turn_.size()] = slot;
  ++turn_count_;
}

}  // namespace logpipe::detail
