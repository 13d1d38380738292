#include "delivery/watermark.hpp"

#include <algorithm>

namespace logpipe {

bool Watermark::complete(std::uint64_t begin, std::uint64_t end) {
  if (end <= contiguous_ || end <= begin) return true;
  if (begin <= contiguous_) {
    contiguous_ = end;
    auto last = pending_.begin();
    for (; last != pending_.end() && last->begin <= contiguous_; ++last) contiguous_ = std::max(contiguous_, last->end);
    pending_.erase(pending_.begin(), last);
    return true;
  }
  // The first range that ends at or behind `begin` is the first that can touch the new one.
  const auto first = std::lower_bound(pending_.begin(), pending_.end(), begin,
                                      [](const Range& range, std::uint64_t value) { return range.end < value; });
  auto last = first;
  for (; last != pending_.end() && last->begin <= end; ++last) {
    begin = std::min(begin, last->begin);
    end = std::max(end, last->end);
  }
  if (first != last) {
    *first = {begin, end};
    pending_.erase(first + 1, last);
    return true;
  }
  pending_.insert(first, {begin, end});
  if (pending_.size() <= kPendingMax) return true;
  pending_.pop_back();
  overflowed_ = true;
  return false;
}

void Watermark::reset(std::uint64_t start) noexcept {
  contiguous_ = start;
  pending_.clear();
  overflowed_ = false;
}

}  // namespace logpipe
