#include "delivery/watermark.hpp"

#include <algorithm>

namespace logpipe {

bool Watermark::complete(std::uint64_t begin, std::uint64_t end, Witness witness) {
  if (end <= contiguous_ || end <= begin) return true;
  if (begin <= contiguous_) {
    contiguous_ = end;
    witness_ = witness;
    auto last = pending_.begin();
    for (; last != pending_.end() && last->begin <= contiguous_; ++last) {
      if (last->end < contiguous_) continue;
      contiguous_ = last->end;
      witness_ = last->witness;
    }
    pending_.erase(pending_.begin(), last);
    return true;
  }
  // The first range that ends at or behind `begin` is the first that can touch the new one.
  const auto first = std::lower_bound(pending_.begin(), pending_.end(), begin,
                                      [](const Range& range, std::uint64_t value) { return range.end < value; });
  auto last = first;
  for (; last != pending_.end() && last->begin <= end; ++last) {
    begin = std::min(begin, last->begin);
    if (last->end < end) continue;
    end = last->end;
    witness = last->witness;
  }
  if (first != last) {
    *first = {begin, end, witness};
    pending_.erase(first + 1, last);
    return true;
  }
  pending_.insert(first, {begin, end, witness});
  if (pending_.size() <= kPendingMax) return true;
  pending_.pop_back();
  overflowed_ = true;
  return false;
}

void Watermark::reset(std::uint64_t start, Witness witness) noexcept {
  contiguous_ = start;
  witness_ = witness;
  pending_.clear();
  overflowed_ = false;
}

}  // namespace logpipe
