#include "sinks/gathered.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace logpipe {
namespace {

bool is_replayable(const Delivery& delivery) {
  return std::any_of(delivery.ranges.begin(), delivery.ranges.end(),
                     [](const SourceRange& range) { return range.file && range.file->id != 0; });
}

}  // namespace

void Gathered::add(Delivery&& delivery, const std::string& only_path) {
  if (deliveries_.empty()) since_ = std::chrono::steady_clock::now();
  deliveries_.push_back(std::move(delivery));
  const Delivery& added = deliveries_.back();
  memory_ += added.memory();
  if (added.parts.empty()) {
    if (!added.encoded.empty()) share(only_path, 0, added.encoded.size());
    return;
  }
  std::size_t begin = 0;
  for (const Delivery::Part& part : added.parts) {
    if (part.bytes > 0) share(part.path, begin, part.bytes);
    begin += part.bytes;
  }
}

void Gathered::share(const std::string& path, std::size_t begin, std::size_t bytes) {
  std::size_t index = 0;
  if (used_ == 0 || files_[0].path != path) {
    const auto found = by_path_.find(path);
    index = found == by_path_.end() ? used_ : found->second;
  }
  if (index == used_) {
    if (used_ == files_.size()) files_.emplace_back();
    File& fresh = files_[used_++];
    fresh.path = path;
    fresh.shares.clear();
    fresh.bytes = 0;
    fresh.replayable = false;
    // One file is the usual case, and needs no look-up.
    if (index > 0) by_path_.emplace(fresh.path, index);
  }
  File& file = files_[index];
  file.shares.push_back({deliveries_.size() - 1, begin, bytes});
  file.bytes += bytes;
  file.replayable = file.replayable || is_replayable(deliveries_.back());
  largest_ = std::max(largest_, file.bytes);
}

void Gathered::clear() noexcept {
  constexpr std::size_t kFilesKept = 4096;
  deliveries_.clear();
  by_path_.clear();
  if (files_.size() > kFilesKept) files_.clear();
  used_ = 0;
  largest_ = 0;
  memory_ = 0;
}

std::size_t Gathered::iovecs(const File& file, std::size_t skip, iovec* out, std::size_t max) const noexcept {
  std::size_t count = 0;
  for (const Share& share : file.shares) {
    if (skip >= share.bytes) {
      skip -= share.bytes;
      continue;
    }
    const Delivery& delivery = deliveries_[share.delivery];
    std::size_t left = share.bytes - std::exchange(skip, 0);
    while (left > 0 && count < max) {
      const std::size_t got =
          delivery.encoded.iovecs(delivery.block(), share.begin + share.bytes - left, out + count, max - count);
      for (std::size_t i = 0; i < got && left > 0; ++i) {
        iovec& piece = out[count++];
        piece.iov_len = std::min(piece.iov_len, left);
        left -= piece.iov_len;
      }
    }
    if (count == max) break;
  }
  return count;
}

void Gathered::pieces(const File& file, std::vector<std::string_view>& out) const {
  std::array<iovec, 256> some;
  for (std::size_t done = 0; done < file.bytes;) {
    const std::size_t count = iovecs(file, done, some.data(), some.size());
    for (std::size_t i = 0; i < count; ++i) {
      out.emplace_back(static_cast<const char*>(some[i].iov_base), some[i].iov_len);
      done += some[i].iov_len;
    }
  }
}

}  // namespace logpipe
