#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "channel/channel.hpp"
#include "delivery/run_context.hpp"
#include "event/block.hpp"
#include "sources/source.hpp"
#include "telemetry/health.hpp"

namespace logpipe {

/// Where an event that begins at `begin` has to end at the latest, when it could go on to `end`: at the first place in
/// between up to which some sink had settled the file when the process ended. That sink had what stands before it as an
/// event, and must get the rest as one.
inline std::uint64_t event_end(const SourceFile& file, std::uint64_t begin, std::uint64_t end) noexcept {
  for (const std::uint64_t until : file.delivered_until) {
    if (until > begin && until < end) end = until;
  }
  return end;
}

/// The block a source is filling, and its way out. Several files share a block; each adds its segments.
///
/// The flush rule: a block leaves when the next bytes do not fit, when nothing more is ready and the consumer waits,
/// and otherwise one millisecond after its first bytes were read.
///
/// Threads: the source's own. Ends: owns the source's Sender.
/// Limits: one block; it is sent before another is waited for, so that a source never waits for memory that it holds.
class Outbox {
 public:
  static constexpr std::chrono::milliseconds kLinger{1};

  Outbox(Sender<BlockRef> sender, const SourceServices& services, const RunContext& ctx);

  /// The block to append to, with room for `need` bytes at least. A new one is made for `expected` bytes if that is
  /// more, up to 256 KiB. Waits for memory and for the channel. Null: time to stop, because the intake or the run was
  /// cancelled or nobody receives any more.
  Block* room(std::size_t need, std::size_t expected);

  /// From now on room() waits although the intake was cancelled, until the run is.
  void read_on() noexcept { reading_on_ = true; }

  /// The block that room() gave last; null after a send.
  Block* block() noexcept { return block_.get(); }

  /// Makes the `bytes` bytes behind the block's end a segment, joined to the last one where they continue it.
  /// Where a sink had settled the file up to the middle of a line, `lines` are parted there: it had that part as an
  /// event, and must get the rest as one.
  void append(const SourceFileRef& file, std::uint64_t file_begin, std::uint64_t file_end, std::size_t bytes,
              SegmentKind kind);

  /// Whether there is anything to send.
  bool holds() const noexcept { return block_ && !block_->segments.empty(); }

  /// Sends what is held; a block without segments is given back. False: not taken, time to stop.
  bool send();

  /// Nothing more is ready to be read: sends if the consumer waits or the linger is over, otherwise says until when to
  /// wait for more. Gives an empty block back. Check failed() afterwards.
  std::optional<std::chrono::steady_clock::time_point> settle();

  /// The linger of what is held is over.
  bool due() const noexcept;

  /// Sends when the linger is over although more is ready.
  bool send_if_due();

  /// A send was refused: the run is cancelled, or nobody receives any more.
  bool failed() const noexcept { return failed_; }

  Heartbeat& heartbeat() noexcept { return heartbeat_; }

 private:
  void add_segment(const SourceFileRef& file, std::uint64_t file_begin, std::uint64_t file_end, std::size_t bytes,
                   SegmentKind kind);
  Sender<BlockRef> sender_;
  BlockPool& pool_;
  const RunContext& ctx_;
  const std::uint32_t source_;
  Heartbeat heartbeat_;
  BlockPtr block_;
  bool failed_{false};
  bool reading_on_{false};
};

}  // namespace logpipe
