#include "event/block.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace logpipe {

namespace {

constexpr std::array<std::size_t, 3> kClasses{4 * 1024, 32 * 1024, BlockPool::kBlockBytes};
constexpr std::array<std::size_t, 3> kFreeMax{64, 32, 16};
constexpr std::size_t kSegmentsKept = 1024;

}  // namespace

Block::Block(std::size_t capacity, BlockPool* pool)
    : bytes_(new char[capacity + kPadding]), capacity_(capacity), pool_(pool) {
  std::memset(bytes_.get() + capacity, 0, kPadding);
}

Block::~Block() = default;

void Block::reset() noexcept {
  segments.clear();
  if (segments.capacity() > kSegmentsKept) std::vector<Segment>().swap(segments);
  event_begins.clear();
  if (event_begins.capacity() > kSegmentsKept) std::vector<std::uint32_t>().swap(event_begins);
  origins.clear();
  if (origins.capacity() > kSegmentsKept) std::vector<LineOrigin>().swap(origins);
  topics.reset();
  unpublished.clear();
  size_ = 0;
  extra_ = 0;
  source = 0;
  read_at = {};
  read_mono = {};
}

void Block::charge_origins() noexcept {
  extra_ = origins.capacity() * sizeof(LineOrigin) + segments.capacity() * sizeof(Segment) +
           event_begins.capacity() * sizeof(std::uint32_t);
  if (pool_ != nullptr) pool_->charge(extra_);
}

void BlockReturn::operator()(Block* block) const noexcept {
  if (block->pool_ != nullptr) {
    block->pool_->give_back(block);
  } else {
    delete block;
  }
}

BlockPool::BlockPool(std::uint64_t budget_bytes) : budget_(budget_bytes) {
  // Returning a block must not allocate.
  for (std::size_t i = 0; i < kClasses.size(); ++i) free_[i].reserve(kFreeMax[i]);
}

BlockPool::~BlockPool() = default;

std::size_t BlockPool::size_class(std::size_t bytes) noexcept {
  for (const std::size_t capacity : kClasses) {
    if (bytes <= capacity) return capacity;
  }
  return bytes;
}

bool BlockPool::fits(std::size_t capacity) const noexcept {
  return used_ == 0 || (used_ <= budget_ && capacity <= budget_ - used_);
}

BlockPtr BlockPool::take_locked(std::size_t capacity) {
  BlockPtr block;
  for (std::size_t i = 0; i < kClasses.size(); ++i) {
    if (kClasses[i] != capacity || free_[i].empty()) continue;
    block.reset(free_[i].back().release());
    free_[i].pop_back();
    break;
  }
  if (!block) block.reset(new Block(capacity, this));
  used_ += capacity;
  peak_ = std::max(peak_, used_);
  return block;
}

BlockPtr BlockPool::acquire(std::size_t bytes, const std::stop_token& stop) {
  const std::size_t capacity = size_class(bytes);
  std::unique_lock lock(mutex_);
  if (!fits(capacity)) {
    const auto begin = std::chrono::steady_clock::now();
    ++waiting_;
    waiting_since_ += begin.time_since_epoch();
    const bool room = room_.wait(lock, stop, [&] { return fits(capacity); });
    --waiting_;
    waiting_since_ -= begin.time_since_epoch();
    blocked_ += std::chrono::steady_clock::now() - begin;
    if (!room) return nullptr;
  }
  return take_locked(capacity);
}

BlockPtr BlockPool::try_acquire(std::size_t bytes) {
  const std::size_t capacity = size_class(bytes);
  const std::lock_guard lock(mutex_);
  if (!fits(capacity)) return nullptr;
  return take_locked(capacity);
}

BlockPtr BlockPool::take(std::size_t bytes) {
  const std::size_t capacity = size_class(bytes);
  const std::lock_guard lock(mutex_);
  return take_locked(capacity);
}

void BlockPool::give_back(Block* block) noexcept {
  std::unique_ptr<Block> owned(block);  // freed after the lock is gone, when no list takes it
  const std::size_t charged = owned->memory();
  owned->reset();
  const std::lock_guard lock(mutex_);
  used_ -= charged;
  for (std::size_t i = 0; i < kClasses.size(); ++i) {
    if (kClasses[i] == owned->capacity() && free_[i].size() < kFreeMax[i]) {
      free_[i].push_back(std::move(owned));
      break;
    }
  }
  // All: waiters want different sizes, and the one that fits need not be the first.
  if (waiting_ != 0) room_.notify_all();
}

void BlockPool::charge(std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  used_ += bytes;
  peak_ = std::max(peak_, used_);
}

void BlockPool::release(std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  used_ -= bytes;
  if (waiting_ != 0) room_.notify_all();
}

std::uint64_t BlockPool::used() const noexcept {
  const std::lock_guard lock(mutex_);
  return used_;
}

std::uint64_t BlockPool::peak() const noexcept {
  const std::lock_guard lock(mutex_);
  return peak_;
}

double BlockPool::blocked_seconds() const noexcept {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(blocked_ + now * waiting_ - waiting_since_).count();
}

BlockRef freeze(BlockPtr block) {
  return BlockRef(std::move(block));
}

}  // namespace logpipe
