#include "channel/semaphore.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <latch>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "channel/task_group.hpp"
#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;
using logpipe::testing::ManualClock;
using namespace std::chrono_literals;

namespace {

const Context kForever = Context::background();

}  // namespace

static_assert(!std::is_copy_constructible_v<Permit> && std::is_nothrow_move_constructible_v<Permit>);

TEST_CASE("semaphore: gives out its total and takes it back when permits die") {
  Semaphore semaphore(5);
  {
    const Permit three = semaphore.try_acquire(3).value();
    CHECK(three.count() == 3);
    CHECK_FALSE(semaphore.try_acquire(3));
    const Permit two = semaphore.acquire(kForever, 2).value();
    CHECK(semaphore.in_use() == 5);
    CHECK_FALSE(semaphore.try_acquire());
  }
  CHECK(semaphore.in_use() == 0);
  CHECK(semaphore.waiting() == 0);
}

TEST_CASE("semaphore: a permit is split, given back in parts, moved, and empty after its release") {
  Semaphore semaphore(10);
  Permit permit = semaphore.acquire(kForever, 10).value();
  Permit part = permit.split(4);
  CHECK(part.count() == 4);
  CHECK(permit.count() == 6);
  permit.release(5);
  CHECK(semaphore.in_use() == 5);
  Permit moved = std::move(permit);
  CHECK(moved.count() == 1);
  CHECK_FALSE(permit);      // NOLINT: that a moved-from permit is empty is promised
  part = std::move(moved);  // gives back what it held
  CHECK(semaphore.in_use() == 1);
  part.release();
  CHECK_FALSE(part);
  part.release();
  CHECK(semaphore.in_use() == 0);
  CHECK_FALSE(part.split(0));
}

TEST_CASE("semaphore: nothing is granted at once, more than the total is refused at once") {
  Semaphore semaphore(2);
  const Permit all = semaphore.acquire(kForever, 2).value();
  CHECK(semaphore.acquire(kForever, 0).value().count() == 0);
  CHECK(semaphore.try_acquire(0).has_value());
  const auto refused = semaphore.acquire(kForever, 3);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::invalid);
  CHECK(refused.error().message == "3 permits asked for, there are 2");
  CHECK_FALSE(semaphore.try_acquire(SIZE_MAX));
}

TEST_CASE("semaphore: an ended context and a passed deadline are told apart, and take nothing") {
  Semaphore semaphore(1);
  const auto ended = with_cancel(kForever);
  ended.cancel("stop");
  CHECK(semaphore.acquire(ended.context).error().message == "stop");  // although there is a permit
  const Permit all = semaphore.acquire(kForever).value();
  const auto late = semaphore.acquire(kForever, 1, SteadyTime{});
  REQUIRE_FALSE(late.has_value());
  CHECK(late.error().kind == ErrorKind::deadline_exceeded);
  const auto scope = with_deadline(kForever, std::chrono::steady_clock::now() + 1ms);
  CHECK(semaphore.acquire(scope.context).error().kind == ErrorKind::deadline_exceeded);
  CHECK(semaphore.waiting() == 0);
  CHECK(semaphore.in_use() == 1);
}

TEST_CASE("semaphore: the deadline is looked at by the given clock, and so is the time waited") {
  ManualClock clock;
  Semaphore semaphore(1, clock);
  const Permit all = semaphore.acquire(kForever).value();
  CHECK(semaphore.blocked_seconds() == 0);
  TaskGroup group(kForever);
  for (int i = 0; i < 2; ++i) {
    group.spawn("late", [&] {
      CHECK(semaphore.acquire(kForever, 1, clock.now() + 10s).error().kind == ErrorKind::deadline_exceeded);
    });
  }
  await([&] { return clock.waiting() == 2; });
  clock.advance(4s);
  CHECK(semaphore.blocked_seconds() == doctest::Approx(8));
  CHECK(semaphore.waiting() == 2);
  clock.advance(6s);
  CHECK(group.wait().has_value());
  CHECK(semaphore.blocked_seconds() == doctest::Approx(20));
  clock.advance(1h);
  CHECK(semaphore.blocked_seconds() == doctest::Approx(20));
}

TEST_CASE("semaphore: a large request is not overtaken by small ones, nor by try_acquire") {
  Semaphore semaphore(4);
  Permit one = semaphore.acquire(kForever).value();
  TaskGroup group(kForever);
  std::vector<std::string> served;
  std::mutex mutex;  // the served add themselves on threads of their own
  const auto note = [&](const char* name) {
    std::lock_guard lock(mutex);
    served.emplace_back(name);
  };
  std::latch large_noted(1);
  group.spawn("large", [&] {
    const Permit all = semaphore.acquire(kForever, 4).value();
    note("large");
    large_noted.count_down();
  });
  await([&] { return semaphore.waiting() == 1; });
  group.spawn("small", [&] {
    const Permit small = semaphore.acquire(kForever).value();
    note("small");
  });
  await([&] { return semaphore.waiting() == 2; });
  CHECK(semaphore.in_use() == 1);
  CHECK_FALSE(semaphore.try_acquire());  // three are free, but not for one who comes later
  one.release();
  large_noted.wait();
  CHECK(group.wait().has_value());
  CHECK(served == std::vector<std::string>{"large", "small"});
}

TEST_CASE("semaphore: when the request at the head gives up, those behind it that fit are served") {
  Semaphore semaphore(4);
  const Permit one = semaphore.acquire(kForever).value();
  const auto impatient = with_cancel(kForever);
  TaskGroup group(kForever);
  group.spawn("large", [&] { CHECK(semaphore.acquire(impatient.context, 4).error().kind == ErrorKind::canceled); });
  await([&] { return semaphore.waiting() == 1; });
  std::latch served(2);
  for (int i = 0; i < 2; ++i) {
    group.spawn("small", [&] {
      const Permit small = semaphore.acquire(kForever).value();
      served.arrive_and_wait();
    });
  }
  await([&] { return semaphore.waiting() == 3; });
  impatient.cancel();
  CHECK(group.wait().has_value());
  CHECK(semaphore.in_use() == 1);
}

TEST_CASE("semaphore: growing wakes those who fit, shrinking refuses what will never fit and waits for the rest") {
  Semaphore semaphore(2);
  Permit two = semaphore.acquire(kForever, 2).value();
  TaskGroup group(kForever);
  group.spawn("second", [&] { CHECK(semaphore.acquire(kForever, 2).value().count() == 2); });
  await([&] { return semaphore.waiting() == 1; });
  semaphore.resize(4);
  CHECK(group.wait().has_value());
  CHECK(semaphore.total() == 4);

  Permit more = semaphore.acquire(kForever, 2).value();
  group.spawn("large", [&] { CHECK(semaphore.acquire(kForever, 2).error().kind == ErrorKind::invalid); });
  await([&] { return semaphore.waiting() == 1; });
  group.spawn("small", [&] { CHECK(semaphore.acquire(kForever).value().count() == 1); });
  await([&] { return semaphore.waiting() == 2; });
  semaphore.resize(1);
  await([&] { return semaphore.waiting() == 1; });
  CHECK(semaphore.in_use() == 4);
  CHECK(semaphore.total() == 1);
  two.release();
  more.release(1);
  CHECK(semaphore.in_use() == 1);
  CHECK(semaphore.waiting() == 1);
  more.release();
  CHECK(group.wait().has_value());
  CHECK(semaphore.in_use() == 0);
}

// Every waiting request is a thread that has been seen waiting before the next step, so the order is the schedule's.
TEST_CASE("semaphore: random schedules agree with a single-threaded model") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    struct Request {
      std::size_t count;
      Cancellable scope{with_cancel(Context::background())};
      std::atomic<int> state{0};  // 0: waits, 1: granted, 2: canceled, 3: refused
      Permit permit;
    };
    std::size_t total = 1 + random() % 6;
    Semaphore semaphore(total);
    TaskGroup group(kForever);
    std::vector<std::shared_ptr<Request>> all;
    std::vector<std::shared_ptr<Request>> held;
    std::deque<std::shared_ptr<Request>> queue;
    std::size_t in_use = 0;
    const auto serve = [&] {
      while (!queue.empty() && in_use + queue.front()->count <= total) {
        const auto served = queue.front();
        queue.pop_front();
        in_use += served->count;
        await([&] { return served->state.load() != 0; });
        REQUIRE(served->state.load() == 1);
        held.push_back(served);
      }
    };
    for (int step = 0; step < 120; ++step) {
      CAPTURE(step);
      switch (random() % 6) {
        case 0:
        case 1: {  // acquire
          const auto request = std::make_shared<Request>();
          request->count = 1 + random() % (total + 1);
          all.push_back(request);
          const bool refused = request->count > total;
          const bool waits = !refused && (!queue.empty() || in_use + request->count > total);
          if (queue.size() >= 8 && waits) break;
          group.spawn("request", [&semaphore, request] {
            auto permit = semaphore.acquire(request->scope.context, request->count);
            if (permit) request->permit = std::move(*permit);
            request->state.store(permit ? 1 : permit.error().kind == ErrorKind::invalid ? 3 : 2);
          });
          if (waits) {
            queue.push_back(request);
            await([&] { return semaphore.waiting() == queue.size(); });
          } else {
            await([&] { return request->state.load() != 0; });
            REQUIRE(request->state.load() == (refused ? 3 : 1));
            if (!refused) {
              in_use += request->count;
              held.push_back(request);
            }
          }
          break;
        }
        case 2: {  // try_acquire
          const std::size_t count = 1 + random() % total;
          const bool fits = queue.empty() && in_use + count <= total;
          auto permit = semaphore.try_acquire(count);
          REQUIRE(permit.has_value() == fits);
          if (fits) {
            const auto request = std::make_shared<Request>();
            request->count = count;
            request->permit = std::move(*permit);
            held.push_back(request);
            in_use += count;
          }
          break;
        }
        case 3: {  // release
          if (held.empty()) break;
          const std::size_t at = random() % held.size();
          const std::size_t part = 1 + random() % held[at]->count;
          held[at]->permit.release(part);
          held[at]->count -= part;
          in_use -= part;
          if (held[at]->count == 0) held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
          serve();
          break;
        }
        case 4: {  // cancel one that waits
          if (queue.empty()) break;
          const auto at = queue.begin() + static_cast<std::ptrdiff_t>(random() % queue.size());
          const auto request = *at;
          queue.erase(at);
          request->scope.cancel();
          await([&] { return request->state.load() != 0; });
          REQUIRE(request->state.load() == 2);
          serve();
          break;
        }
        default: {
          if (random() % 3 != 0) break;
          total = 1 + random() % 6;
          semaphore.resize(total);
          std::erase_if(queue, [&](const std::shared_ptr<Request>& request) {
            if (request->count <= total) return false;
            await([&] { return request->state.load() != 0; });
            REQUIRE(request->state.load() == 3);
            return true;
          });
          serve();
        }
      }
      REQUIRE(semaphore.in_use() == in_use);
      REQUIRE(semaphore.waiting() == queue.size());
      REQUIRE(semaphore.total() == total);
    }
    for (const auto& request : queue) request->scope.cancel();
    CHECK(group.wait().has_value());
    held.clear();
    all.clear();
    queue.clear();
    CHECK(semaphore.in_use() == 0);
  }
}
