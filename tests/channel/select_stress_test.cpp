#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "channel/select.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr int kScale = 1;
#else
constexpr int kScale = 4;
#endif

/// A box that knows whether it holds its number: what was moved from twice, or lost, shows.
using Box = std::unique_ptr<std::uint64_t>;

/// Takes as many bytes as it says.
struct Sized {
  std::size_t bytes{0};
};
std::size_t byte_size(const Sized& sized) {
  return sized.bytes;
}

}  // namespace

TEST_CASE("stress: senders of unequal sizes, plain and selecting, all get through a byte bound") {
  const int items = 500 * kScale;
  constexpr int kProducers = 10;
  std::atomic<std::uint64_t> bytes_sent{0};
  std::atomic<std::uint64_t> bytes_received{0};
  std::atomic<int> received{0};
  TaskGroup group(Context::background());
  auto [a_tx, a_rx] = make_channel<Sized>({.items = 6, .bytes = 100});
  auto [b_tx, b_rx] = make_channel<Sized>({.items = 6, .bytes = 100});
  for (int p = 0; p < kProducers; ++p) {
    group.spawn("producer", [&, p, ctx = group.context(), a = a_tx.clone(), b = b_tx.clone()]() mutable -> Status {
      std::mt19937_64 random(static_cast<std::uint64_t>(p));
      for (int i = 0; i < items; ++i) {
        Sized item{random() % 130};  // some of them larger than the bound
        bytes_sent.fetch_add(item.bytes);
        const bool sent = p % 2 == 0 ? a.send(std::move(item), ctx) == SendStatus::sent
                                     : select(ctx, on_send(a, item), on_send(b, item)).status == SelectStatus::sent;
        if (!sent) return fail(ErrorKind::internal, "not sent");
      }
      return {};
    });
  }
  for (int c = 0; c < 3; ++c) {
    group.spawn("consumer", [&, ctx = group.context(), a = a_rx.clone(), b = b_rx.clone()]() mutable {
      while (a || b) {
        Sized item;
        const Selected selected = select(ctx, on_recv(a, item), on_recv(b, item));
        if (selected.status == SelectStatus::closed) (selected.index == 0 ? a : b) = {};
        if (selected.status != SelectStatus::received) continue;
        bytes_received.fetch_add(item.bytes);
        received.fetch_add(1);
      }
    });
  }
  a_tx = {};
  b_tx = {};
  a_rx = {};
  b_rx = {};
  CHECK(group.wait().has_value());
  CHECK(received.load() == kProducers * items);
  CHECK(bytes_received.load() == bytes_sent.load());
}

TEST_CASE("stress: selects on both sides of channels of all kinds lose and double nothing") {
  std::thread([] {}).join();  // a sanitizer's own thread comes with the first one
  const std::size_t threads_before = testing::thread_count();
  for (const auto& [producers, consumers] : {std::pair{1, 1}, {4, 4}, {16, 3}, {3, 16}, {64, 64}}) {
    CAPTURE(producers);
    CAPTURE(consumers);
    const int items = 12000 * kScale / (producers + consumers);
    const std::size_t total = static_cast<std::size_t>(producers * items);
    std::vector<std::atomic<int>> seen(total);
    {
      TaskGroup group(Context::background());
      std::vector<Channel<Box>> channels;
      for (const std::size_t capacity : {0U, 1U, 3U, 0U}) channels.push_back(make_channel<Box>(capacity));
      for (int p = 0; p < producers; ++p) {
        std::vector<Sender<Box>> ends;
        for (auto& channel : channels) ends.push_back(channel.sender.clone());
        group.spawn("producer", [&, p, ctx = group.context(), tx = std::move(ends)]() mutable -> Status {
          for (int i = 0; i < items; ++i) {
            Box item = std::make_unique<std::uint64_t>(p * items + i);
            Selected selected;
            if (i % 4 == 0) {
              selected.status = tx[static_cast<std::size_t>(i / 4 % 4)].send(std::move(item), ctx) == SendStatus::sent
                                    ? SelectStatus::sent
                                    : SelectStatus::closed;
            } else {
              selected =
                  select(ctx, on_send(tx[0], item), on_send(tx[1], item), on_send(tx[2], item), on_send(tx[3], item));
            }
            if (selected.status != SelectStatus::sent || item) return fail(ErrorKind::internal, "not sent");
          }
          return {};
        });
      }
      for (int c = 0; c < consumers; ++c) {
        std::vector<Receiver<Box>> ends;
        for (auto& channel : channels) ends.push_back(channel.receiver.clone());
        group.spawn("consumer", [&, ctx = group.context(), rx = std::move(ends)]() mutable -> Status {
          std::size_t open = rx.size();
          while (open > 0) {
            Box item;
            const Selected selected =
                select(ctx, on_recv(rx[0], item), on_recv(rx[1], item), on_recv(rx[2], item), on_recv(rx[3], item));
            if (selected.status == SelectStatus::closed) {
              rx[selected.index] = {};
              --open;
            } else if (selected.status == SelectStatus::received) {
              seen[*item].fetch_add(1);
            } else {
              return fail(ErrorKind::internal, "unexpected");
            }
          }
          return {};
        });
      }
      channels.clear();
      const Status status = group.wait();
      CHECK_MESSAGE(status.has_value(), (status ? "" : status.error().message));
    }
    for (std::size_t i = 0; i < total; ++i) REQUIRE(seen[i].load() == 1);
  }
  testing::await([&] { return testing::thread_count() <= threads_before; });  // a joined thread may linger in /proc
}

TEST_CASE("stress: a ring of selects over rendezvous channels, each sending and receiving at once, never locks up") {
  for (const std::size_t size : {2U, 3U, 7U}) {
    CAPTURE(size);
    const int items = 2000 * kScale / static_cast<int>(size);
    TaskGroup group(Context::background());
    std::vector<Channel<int>> channels;
    for (std::size_t i = 0; i < size; ++i) channels.push_back(make_channel<int>(0));
    std::atomic<int> received{0};
    for (std::size_t i = 0; i < size; ++i) {
      group.spawn("ring",
                  [&, items, order = i % 2 == 0 ? SelectOrder::random : SelectOrder::priority, ctx = group.context(),
                   tx = channels[i].sender.clone(), rx = channels[(i + 1) % size].receiver.clone()]() mutable {
                    int next = 0;
                    int expected = 0;
                    int got = 0;
                    while (tx || rx) {
                      const Selected selected = select(ctx, order, on_recv(rx, got), on_send(tx, next));
                      if (selected.status == SelectStatus::closed) rx = {};
                      if (selected.status == SelectStatus::received) {
                        CHECK(got == expected++);
                        received.fetch_add(1);
                      }
                      if (selected.status == SelectStatus::sent && ++next == items) tx = {};
                    }
                  });
    }
    channels.clear();
    CHECK(group.wait().has_value());
    CHECK(received.load() == items * static_cast<int>(size));
  }
}

TEST_CASE("stress: selects that give up at random moments leave every item with one owner") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::atomic<std::int64_t> sent{0};
    std::atomic<std::int64_t> received{0};
    std::int64_t inside = 0;
    {
      TaskGroup group(Context::background());
      const auto abort = with_cancel(Context::background());
      std::vector<Channel<Box>> channels;
      for (const std::size_t capacity : {0U, 2U, 0U}) channels.push_back(make_channel<Box>(capacity));
      std::vector<std::shared_ptr<const ChannelStats>> stats;
      for (const auto& channel : channels) stats.push_back(channel.sender.stats());
      for (std::uint64_t t = 0; t < 12; ++t) {
        std::vector<Sender<Box>> senders;
        std::vector<Receiver<Box>> receivers;
        for (auto& channel : channels) senders.push_back(channel.sender.clone());
        for (auto& channel : channels) receivers.push_back(channel.receiver.clone());
        // Everybody sends into some channels and receives from the others, all with little patience.
        group.spawn("both", [&, random = std::mt19937_64(seed * 100 + t), tx = std::move(senders),
                             rx = std::move(receivers)]() mutable {
          const std::uint64_t rounds = random() % (150 * kScale);
          for (std::uint64_t i = 0; i < rounds; ++i) {
            Box out = std::make_unique<std::uint64_t>(i);
            Box in;
            const auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 60);
            const std::size_t a = random() % 3;
            const std::size_t b = random() % 3;
            const Selected selected = select(abort.context, on_send(tx[a], out), on_recv(rx[b], in), until(patience),
                                             on_recv(rx[(b + 1) % 3], in));
            CHECK((out == nullptr) == (selected.status == SelectStatus::sent));
            CHECK((in != nullptr) == (selected.status == SelectStatus::received));
            if (selected.status == SelectStatus::sent) sent.fetch_add(1);
            if (selected.status == SelectStatus::received) received.fetch_add(1);
            if (selected.status == SelectStatus::aborted) return;
            if (random() % 500 == 0) return;  // gone in the middle of it all
          }
        });
      }
      if (seed % 3 == 0) {
        group.spawn("canceller", [&] {
          for (int looks = 0; sent.load() < 300 && looks < 20000; ++looks) std::this_thread::yield();
          abort.cancel("over");
        });
      }
      channels.clear();
      CHECK(group.wait().has_value());
      inside = static_cast<std::int64_t>(stats[1]->items());
    }
    CHECK(sent.load() == received.load() + inside);
  }
}
