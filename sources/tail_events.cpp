// Reading events of several lines; the rest of Tail is in tail.cpp.

#include <algorithm>
#include <utility>

#include "sources/tail.hpp"

namespace logpipe {

/// What stands at the position is the beginning of a line so long that it is an event of its own.
bool Tail::in_long_line() const noexcept {
  return pending_.lines == 0 && searched_ - position_ > tools_.events->line_bytes_max();
}

/// Reads what is pending again, with what has been appended to it.
Tail::Turn Tail::read_events(Outbox& outbox, std::size_t expected) {
  constexpr std::size_t kWorthReading = 16 * 1024;
  const auto held = static_cast<std::size_t>(searched_ - position_);
  const auto left = static_cast<std::size_t>(std::min<std::uint64_t>(size_ - position_, held + kTurnBytes));
  Block* block = outbox.room(std::min(left, held + kWorthReading), std::max(left, expected));
  if (block == nullptr) return Turn::stopped;
  std::size_t read = 0;
  if (const Turn turn = read_again(block->end(), std::min(left, block->room()), read); turn != Turn::more) return turn;

  const std::size_t taken = tools_.events->take(outbox, file(), position_, read, pending_, Follows::perhaps);
  searched_ = position_ + read;
  if (taken > 0) {
    const std::uint64_t from = std::exchange(position_, position_ + taken);
    settled(*block, from);
  }
  return at_end() ? Turn::idle : Turn::more;
}

Tail::Turn Tail::finish_event(Outbox& outbox) {
  if (pending_.lines == 0 || written_to()) return Turn::idle;
  return take_events(outbox, pending_.bytes, Follows::no_line);
}

/// Takes events out of the `bytes` at the position, all of which have been looked at.
Tail::Turn Tail::take_events(Outbox& outbox, std::size_t bytes, Follows follows) {
  Block* block = outbox.room(bytes, bytes);
  if (block == nullptr) return Turn::stopped;
  if (const Turn turn = read_whole(block->end(), bytes); turn != Turn::more) return turn;
  const std::size_t taken = tools_.events->take(outbox, file(), position_, bytes, pending_, follows);
  if (taken == 0) return Turn::idle;
  const std::uint64_t from = std::exchange(position_, position_ + taken);
  searched_ = std::max(searched_, position_);
  settled(*block, from);
  return at_end() ? Turn::idle : Turn::more;
}

}  // namespace logpipe
