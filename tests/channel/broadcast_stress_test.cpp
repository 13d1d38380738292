#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "channel/broadcast.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr int kJoins = 100;
#else
constexpr int kJoins = 400;
#endif
constexpr int kThreads = 16;

/// Counts its live instances.
class Counted {
 public:
  Counted(std::atomic<std::int64_t>& alive, std::uint64_t number) : number_(number), alive_(&alive) {
    alive.fetch_add(1);
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { alive_->fetch_sub(1); }
  std::uint64_t number() const { return number_; }

 private:
  std::uint64_t number_;
  std::atomic<std::int64_t>* alive_;
};
using Item = std::shared_ptr<const Counted>;

}  // namespace

TEST_CASE("stress: outputs join and leave thousands of times under load and leave nothing behind") {
  std::thread([] {}).join();  // a sanitizer's own thread comes with the first one
  const std::size_t threads_before = testing::thread_count();
  const std::size_t descriptors_before = testing::descriptor_count();
  std::atomic<std::int64_t> alive{0};
  std::atomic<int> busy{kThreads};
  {
    TaskGroup group(Context::background());
    BroadcastInput<Item> input;
    const Broadcast<Item> hub = input.broadcast();
    for (int t = 0; t < kThreads; ++t) {
      group.spawn("output", [&, t, hub]() -> Status {
        std::mt19937_64 random(static_cast<std::uint64_t>(t));
        for (int i = 0; i < kJoins; ++i) {
          const auto policy = static_cast<WhenFull>(random() % 4);
          auto output = hub.join({.capacity = {.items = random() % 4}, .when_full = policy});
          std::uint64_t last = 0;
          std::uint64_t received = 0;
          for (std::uint64_t wanted = random() % 20; received < wanted; ++received) {
            Item item;
            const auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 500);
            const RecvStatus status = output.receiver.recv(item, Context::background(), patience);
            if (status != RecvStatus::received) break;
            // Nothing twice, nothing out of order; without a gap where nothing may be missed.
            if (item->number() <= last) return fail(ErrorKind::internal, "out of order");
            const bool lossless = policy == WhenFull::block || policy == WhenFull::disconnect;
            if (lossless && last != 0 && item->number() != last + 1) return fail(ErrorKind::internal, "a gap");
            last = item->number();
          }
          if (policy == WhenFull::block && output.state->missed() != 0) return fail(ErrorKind::internal, "missed");
        }
        busy.fetch_sub(1);
        return {};
      });
    }
    group.spawn("input", [&, in = std::move(input), ctx = group.context()]() mutable -> Status {
      for (std::uint64_t number = 1; busy.load() > 0; ++number) {
        if (in.send(std::make_shared<const Counted>(alive, number), ctx) != SendStatus::sent) break;
      }
      if (in.broadcast().outputs() != 0) return fail(ErrorKind::internal, "an output stayed");
      return {};
    });
    const Status status = group.wait();
    CHECK_MESSAGE(status.has_value(), (status ? "" : status.error().message));
  }
  CHECK(alive.load() == 0);
  CHECK(testing::descriptor_count() == descriptors_before);
  testing::await([&] { return testing::thread_count() <= threads_before; });
}

TEST_CASE("stress: the input may go at any moment while outputs join and leave") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::atomic<std::int64_t> alive{0};
    {
      TaskGroup group(Context::background());
      BroadcastInput<Item> input;
      const Broadcast<Item> hub = input.broadcast();
      for (std::uint64_t t = 0; t < 6; ++t) {
        group.spawn("output", [hub, random = std::mt19937_64(seed * 100 + t)]() mutable {
          for (;;) {
            auto output = hub.join({{.items = 1 + random() % 3}, static_cast<WhenFull>(random() % 4)});
            for (std::uint64_t wanted = random() % 10; wanted > 0 && output.receiver.recv(Context::background());) {
              --wanted;
            }
            if (output.state->end() == OutputState::End::input_closed) return;
          }
        });
      }
      group.spawn("input", [&, in = std::move(input), items = seed * 20]() mutable {
        for (std::uint64_t number = 1; number < items; ++number) {
          if (in.send(std::make_shared<const Counted>(alive, number), Context::background()) != SendStatus::sent)
            return;
        }
      });
      CHECK(group.wait().has_value());
    }
    CHECK(alive.load() == 0);
  }
}
