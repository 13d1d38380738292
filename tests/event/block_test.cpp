#include "event/block.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <stop_token>
#include <thread>
#include <vector>

#include "event/arena.hpp"

using namespace logpipe;

namespace {

/// Returns once somebody waits in acquire(): the time spent there only moves while somebody does.
void wait_until_blocked(const BlockPool& pool, double before) {
  while (pool.blocked_seconds() <= before) std::this_thread::yield();
}

}  // namespace

TEST_CASE("block pool: a block has its size class, its padding and nothing of its last use") {
  BlockPool pool(1 << 20);
  {
    BlockPtr block = pool.acquire(1, {});
    CHECK(block->capacity() == 4096);
    CHECK(block->room() == 4096);
    std::memset(block->data(), 'x', block->capacity() + Block::kPadding);
    block->set_size(10);
    block->source = 3;
    block->segments.push_back({});
  }
  BlockPtr again = pool.acquire(4096, {});
  CHECK(again->size() == 0);
  CHECK(again->source == 0);
  CHECK(again->segments.empty());
  CHECK(pool.acquire(4097, {})->capacity() == 32 * 1024);
  CHECK(pool.acquire(32 * 1024 + 1, {})->capacity() == 256 * 1024);
  CHECK(pool.acquire(256 * 1024 + 1, {})->capacity() == 256 * 1024 + 1);
}

TEST_CASE("block pool: a block is charged while it is out, however many share it") {
  BlockPool pool(1 << 20);
  BlockRef shared = freeze(pool.acquire(256 * 1024, {}));
  BlockRef other = shared;
  CHECK(pool.used() == 256 * 1024);
  shared.reset();
  CHECK(pool.used() == 256 * 1024);
  other.reset();
  CHECK(pool.used() == 0);
  CHECK(pool.peak() == 256 * 1024);
  CHECK(pool.blocked_seconds() == 0);
}

TEST_CASE("block pool: charges beside the blocks keep new blocks waiting") {
  BlockPool pool(300 * 1024);
  pool.charge(100 * 1024);
  CHECK(pool.try_acquire(256 * 1024) == nullptr);
  CHECK(pool.try_acquire(4096) != nullptr);
  pool.release(100 * 1024);
  CHECK(pool.try_acquire(256 * 1024) != nullptr);
  pool.charge(400 * 1024);
  CHECK(pool.try_acquire(1) == nullptr);
  CHECK(pool.peak() == 400 * 1024);
  pool.release(400 * 1024);
}

TEST_CASE("block pool: a block larger than the budget is given when nothing else is out") {
  BlockPool pool(64 * 1024);
  BlockPtr small = pool.acquire(1, {});
  CHECK(pool.try_acquire(1 << 20) == nullptr);
  small.reset();
  BlockPtr large = pool.try_acquire(1 << 20);
  REQUIRE(large != nullptr);
  CHECK(pool.try_acquire(1) == nullptr);
  large.reset();
  CHECK(pool.used() == 0);
}

TEST_CASE("block pool: a waiter goes on when a block comes back") {
  BlockPool pool(4096);
  BlockPtr held = pool.acquire(4096, {});
  std::jthread waiter([&](const std::stop_token& stop) {
    BlockPtr block = pool.acquire(4096, stop);
    CHECK(block != nullptr);
  });
  wait_until_blocked(pool, 0);
  held.reset();
  waiter.join();
  CHECK(pool.used() == 0);
  CHECK(pool.blocked_seconds() > 0);
}

TEST_CASE("block pool: a stop wakes a waiter, which gets nothing") {
  BlockPool pool(4096);
  BlockPtr held = pool.acquire(4096, {});
  std::stop_source stop;
  std::jthread waiter([&] { CHECK(pool.acquire(1, stop.get_token()) == nullptr); });
  wait_until_blocked(pool, 0);
  stop.request_stop();
  waiter.join();
  CHECK(pool.used() == 4096);
}

TEST_CASE("block pool: a block is given after a stop when there is room") {
  BlockPool pool(4096);
  std::stop_source stop;
  stop.request_stop();
  CHECK(pool.acquire(1, stop.get_token()) != nullptr);
}

TEST_CASE("block pool: many threads never pass the budget and leave nothing behind") {
  constexpr int kThreads = 6;
  constexpr std::uint64_t kBudget = 600 * 1024;
  BlockPool pool(kBudget);
  std::latch begin(kThreads);
  std::atomic<int> taken{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      begin.arrive_and_wait();
      const std::size_t sizes[] = {100, 30'000, 256 * 1024, 400 * 1024};
      for (int i = 0; i < 500; ++i) {
        BlockPtr block = pool.acquire(sizes[(i + t) % 4], {});
        block->data()[block->capacity() - 1] = 'x';
        BlockRef shared = freeze(std::move(block));
        taken.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  threads.clear();
  CHECK(taken == kThreads * 500);
  CHECK(pool.used() == 0);
  CHECK(pool.peak() <= kBudget);
}

TEST_CASE("arena: addresses are stable, the memory is reused and one odd batch is forgotten") {
  Arena arena;
  const std::string_view first = arena.copy("first");
  for (int i = 0; i < 10'000; ++i) arena.copy("0123456789abcdef");
  CHECK(first == "first");
  const std::size_t warm = arena.capacity();
  CHECK(warm <= 4 * Arena::kChunkBytes);
  for (int round = 0; round < 5; ++round) {
    arena.reset();
    arena.copy("first");
    for (int i = 0; i < 10'000; ++i) arena.copy("0123456789abcdef");
    CHECK(arena.capacity() == warm);
  }
  arena.allocate(5 << 20);
  CHECK(arena.capacity() >= (5U << 20));
  arena.reset();
  CHECK(arena.capacity() <= (1U << 20));
  CHECK(arena.copy("").empty());
  CHECK(arena.copy({}).empty());
}

TEST_CASE("arena: what is given back is used by the next") {
  Arena arena;
  char* place = arena.allocate(100);
  arena.shrink_last(60);
  CHECK(arena.allocate(1) == place + 40);
  CHECK(arena.allocate(Arena::kChunkBytes) != nullptr);
  CHECK(arena.allocate(0) != nullptr);
}
