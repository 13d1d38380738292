#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe {

/// One generation of one file (or stream) that a source reads: after a truncation the same path is a new one.
/// Constant after construction, shared by every segment read from it.
struct SourceFile {
  std::uint64_t id{0};  ///< unique within a state directory, for ever; 0: cannot be re-read (a pipe, a terminal)
  std::string source;   ///< name of the source in the configuration
  std::string path;
  /// Per sink of the pipeline, in the order of the configuration: bytes before this offset are already that sink's own
  /// (the sink was ahead when the process ended). Empty: nothing is.
  std::vector<std::uint64_t> delivered_until;
};
using SourceFileRef = std::shared_ptr<const SourceFile>;

/// What stood right before a position of a file: by it the file is known again, and a file whose content was replaced
/// is told from one that only grew.
struct Witness {
  static constexpr std::uint32_t kBytesMax = 32;
  std::uint64_t hash{0};   ///< XXH3-64 of the last `bytes` bytes before the position
  std::uint32_t bytes{0};  ///< 0: not known
  friend bool operator==(const Witness&, const Witness&) = default;
};

/// How the bytes of a segment stand for lines.
enum class SegmentKind : std::uint8_t {
  lines,      ///< whole lines; the last one may lack its line end (end of input)
  events,     ///< events of one or more whole lines each; Block::event_begins tells where each one begins
  joined,     ///< one event that its source put together from several lines: the file range covers all of them
  rewritten,  ///< lines as a pipeline published them; Block::origins tells where each one came from
  truncated,  ///< one line longer than the limit: the block holds its head, the file range covers all of it
  dropped,    ///< one line longer than the limit, of which nothing was kept: no bytes in the block
};

/// Neighbouring bytes of a block that are neighbours in one source file as well.
struct Segment {
  SourceFileRef file;
  std::uint64_t file_begin{0};  ///< offset in the file of the first byte
  std::uint64_t file_end{0};    ///< behind the last byte; > file_begin + (end - begin) only when bytes were left out
  std::uint32_t begin{0};       ///< in the block
  std::uint32_t end{0};
  SegmentKind kind{SegmentKind::lines};
  Witness witness{};  ///< of `file_end`; known at the end of a read at least
};

/// Where a rewritten line comes from.
struct LineOrigin {
  std::uint32_t begin{0};        ///< of the line in its block
  std::uint32_t topic{0};        ///< index in Block::topics
  std::uint64_t file_offset{0};  ///< of the first byte of the event it was, in the file of its segment
};

class BlockPool;
struct BlockReturn;

/// Bytes as they were read, with what tells their positions. Written by one source, then frozen and shared.
/// Threads: one owner until it is frozen into a BlockRef, then read-only.
class Block {
 public:
  /// simdjson reads up to this many bytes behind the end.
  static constexpr std::size_t kPadding = 64;

  Block(std::size_t capacity, BlockPool* pool);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  char* data() noexcept { return bytes_.get(); }
  const char* data() const noexcept { return bytes_.get(); }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }  ///< without the padding
  std::size_t room() const noexcept { return capacity_ - size_; }
  /// Bytes it is charged with: the capacity, and what its origins take.
  std::size_t memory() const noexcept { return capacity_ + extra_; }
  /// Charges what `origins`, `event_begins` and `segments` take now. Once, before it is frozen.
  void charge_origins() noexcept;
  char* end() noexcept { return bytes_.get() + size_; }
  void set_size(std::size_t size) noexcept { size_ = size; }
  std::string_view text(std::size_t offset, std::size_t length) const noexcept {
    return {bytes_.get() + offset, length};
  }

  std::vector<Segment> segments;
  /// Of segments of kind `events` only: where in the block each event begins, ascending.
  std::vector<std::uint32_t> event_begins;
  /// Of a published block only: a line each, ascending, and the topics its lines were published under.
  std::vector<LineOrigin> origins;
  std::shared_ptr<const std::vector<std::string>> topics;
  std::vector<bool> unpublished;                      ///< by topic: for taps only, no pipeline can subscribe to it
  std::uint32_t source{0};                            ///< index of the source among all of the process
  std::chrono::system_clock::time_point read_at{};    ///< when its first bytes were read; stamped once per block
  std::chrono::steady_clock::time_point read_mono{};  ///< the same moment, for latencies

 private:
  friend class BlockPool;
  friend struct BlockReturn;
  void reset() noexcept;
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_;
  std::size_t size_{0};
  std::size_t extra_{0};
  BlockPool* pool_;
};

struct BlockReturn {
  void operator()(Block* block) const noexcept;
};
using BlockPtr = std::unique_ptr<Block, BlockReturn>;
using BlockRef = std::shared_ptr<const Block>;
/// What a block counts as in a channel: the memory it holds.
inline std::size_t byte_size(const BlockRef& block) noexcept {
  return block ? block->memory() : 0;
}

/// The memory budget of the process, in bytes, and the blocks it is spent on. A block is charged when a source takes it
/// and released when the last reader lets go of it; what stages and encoders add is charged on top without waiting, so
/// use may pass the budget by what is being worked on at that moment, and the next acquire waits until it is back
/// below.
/// Threads: any. Ends: outlives every block taken from it. A waiter must not hold blocks that nobody but itself
/// can release.
class BlockPool {
 public:
  static constexpr std::size_t kBlockBytes = 256 * 1024;

  explicit BlockPool(std::uint64_t budget_bytes);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// A block of at least `bytes` capacity (size classes 4 KiB, 32 KiB, 256 KiB, beyond that exactly), waiting until the
  /// budget has room; a block larger than the whole budget is given when nothing else is out. Null only when `stop` was
  /// requested.
  BlockPtr acquire(std::size_t bytes, const std::stop_token& stop);
  /// The same without waiting; null when the budget has no room.
  BlockPtr try_acquire(std::size_t bytes);
  /// The same whether or not there is room: for what is made of blocks that are charged already. Never waits, never
  /// null.
  BlockPtr take(std::size_t bytes);

  /// Charges or releases bytes that are not in blocks (encoded output). Never waits.
  void charge(std::size_t bytes) noexcept;
  void release(std::size_t bytes) noexcept;

  std::uint64_t used() const noexcept;  ///< bytes charged now
  std::uint64_t peak() const noexcept;  ///< the most that was ever charged
  std::uint64_t budget() const noexcept { return budget_; }
  /// Time spent waiting in acquire, all callers together, waits going on included.
  double blocked_seconds() const noexcept;

 private:
  friend struct BlockReturn;
  void give_back(Block* block) noexcept;
  BlockPtr take_locked(std::size_t capacity);
  bool fits(std::size_t capacity) const noexcept;  // with mutex_ held
  static std::size_t size_class(std::size_t bytes) noexcept;

  const std::uint64_t budget_;
  // A mutex, not a channel: one short critical section per block, and `event/` sits below the channel library's waits.
  mutable std::mutex mutex_;
  std::condition_variable_any room_;
  std::uint64_t used_{0};                                // guarded by mutex_
  std::uint64_t peak_{0};                                // guarded by mutex_
  std::chrono::steady_clock::duration blocked_{};        // guarded by mutex_: of waits that are over
  std::chrono::steady_clock::duration waiting_since_{};  // guarded by mutex_: sum of the beginnings of waits going on
  int waiting_{0};                                       // guarded by mutex_
  std::vector<std::unique_ptr<Block>> free_[3];          // guarded by mutex_, bounded
};

/// Freezes a block: from here on it is shared and read-only.
BlockRef freeze(BlockPtr block);

}  // namespace logpipe
