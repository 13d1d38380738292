#include "sources/outbox.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace logpipe {

Outbox::Outbox(Sender<BlockRef> sender, const SourceServices& services, const RunContext& ctx)
    : sender_(std::move(sender)), pool_(*services.pool), ctx_(ctx), source_(services.index) {
  if (services.health != nullptr) heartbeat_ = services.health->heartbeat("source " + services.name);
}

Block* Outbox::room(std::size_t need, std::size_t expected) {
  if (block_ && block_->room() >= need) return block_.get();
  if (!send()) return nullptr;
  const std::size_t wanted = std::max(need, std::min(expected, BlockPool::kBlockBytes));
  block_ = pool_.try_acquire(wanted);
  if (!block_) {
    heartbeat_.wait();
    block_ = pool_.acquire(wanted, (reading_on_ ? ctx_.run : ctx_.intake).token());
    heartbeat_.beat();
  }
  return block_.get();
}

void Outbox::append(const SourceFileRef& file, std::uint64_t file_begin, std::uint64_t file_end, std::size_t bytes,
                    SegmentKind kind) {
  if (kind == SegmentKind::lines) {
    std::vector<std::uint64_t> parts;
    for (const std::uint64_t until : file->delivered_until) {
      if (until <= file_begin || until >= file_end) continue;
      if (block_->end()[until - file_begin - 1] != '\n') parts.push_back(until);
    }
    std::sort(parts.begin(), parts.end());
    for (const std::uint64_t until : parts) {
      if (until == file_begin) continue;
      const auto length = static_cast<std::size_t>(until - file_begin);
      add_segment(file, file_begin, until, length, kind);
      file_begin = until;
      bytes -= length;
    }
  }
  add_segment(file, file_begin, file_end, bytes, kind);
}

void Outbox::add_segment(const SourceFileRef& file, std::uint64_t file_begin, std::uint64_t file_end, std::size_t bytes,
                         SegmentKind kind) {
  Block& block = *block_;
  if (block.segments.empty()) {
    block.source = source_;
    block.read_at = std::chrono::system_clock::now();
    block.read_mono = std::chrono::steady_clock::now();
  }
  const auto begin = static_cast<std::uint32_t>(block.size());
  block.set_size(block.size() + bytes);
  const auto end = static_cast<std::uint32_t>(block.size());
  if ((kind == SegmentKind::lines || kind == SegmentKind::events) && !block.segments.empty()) {
    Segment& last = block.segments.back();
    const bool continued = last.kind == kind && last.file == file && last.file_end == file_begin;
    if (continued && block.data()[begin - 1] == '\n') {
      last.file_end = file_end;
      last.end = end;
      return;
    }
  }
  block.segments.push_back({file, file_begin, file_end, begin, end, kind});
}

bool Outbox::send() {
  if (!block_) return !failed_;
  if (block_->segments.empty()) {
    block_.reset();
    return !failed_;
  }
  if (!block_->event_begins.empty()) block_->charge_origins();
  heartbeat_.wait();
  const SendStatus status = sender_.send(freeze(std::move(block_)), ctx_.run);
  heartbeat_.beat();
  if (status != SendStatus::sent) failed_ = true;
  return !failed_;
}

bool Outbox::due() const noexcept {
  return holds() && std::chrono::steady_clock::now() - block_->read_mono >= kLinger;
}

std::optional<std::chrono::steady_clock::time_point> Outbox::settle() {
  if (!holds()) {
    block_.reset();
    return std::nullopt;
  }
  if (!sender_.receiver_waiting() && !due()) return block_->read_mono + kLinger;
  send();
  return std::nullopt;
}

bool Outbox::send_if_due() {
  return due() ? send() : !failed_;
}

}  // namespace logpipe
