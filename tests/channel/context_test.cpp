#include "channel/context.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "channel/channel.hpp"
#include "channel/result.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using logpipe::testing::await;

TEST_CASE("context: the background never ends and has neither deadline nor token") {
  const Context ctx = Context::background();
  CHECK_FALSE(ctx.done());
  CHECK(ctx.err() == ContextError::none);
  CHECK(ctx.cause().empty());
  CHECK_FALSE(ctx.deadline().has_value());
  CHECK_FALSE(ctx.token().stop_possible());
}

TEST_CASE("context: cancelling a parent ends the whole subtree with the parent's cause and leaves siblings alone") {
  const auto root = with_cancel(Context::background());
  const auto child = with_cancel(root.context);
  const auto grandchild = with_cancel(child.context);
  const auto sibling = with_cancel(root.context);

  child.cancel("disk full");
  CHECK(child.context.err() == ContextError::canceled);
  CHECK(grandchild.context.err() == ContextError::canceled);
  CHECK(grandchild.context.cause() == "disk full");
  CHECK_FALSE(sibling.context.done());
  CHECK_FALSE(root.context.done());
}

TEST_CASE("context: the first cause stays") {
  const auto [ctx, cancel] = with_cancel(Context::background());
  cancel("first");
  cancel("second");
  CHECK(ctx.cause() == "first");
}

TEST_CASE("context: cancelling without words still gives a cause") {
  const auto [ctx, cancel] = with_cancel(Context::background());
  cancel();
  CHECK(ctx.cause() == "canceled");
  CHECK(error_of(ctx).kind == ErrorKind::canceled);
}

TEST_CASE("context: a child of an ended parent is born ended") {
  const auto parent = with_cancel(Context::background());
  parent.cancel("too late");
  const auto child = with_cancel(parent.context);
  CHECK(child.context.done());
  CHECK(child.context.cause() == "too late");
  CHECK(child.context.token().stop_requested());
}

TEST_CASE("context: destroying the cancel handle does not cancel") {
  Context ctx;
  {
    auto made = with_cancel(Context::background());
    ctx = made.context;
  }
  CHECK_FALSE(ctx.done());
}

TEST_CASE("context: a default cancel handle does nothing") {
  Cancel().cancel("nobody");
}

TEST_CASE("context: a deadline in the past is exceeded at once, and a later cancel does not change the answer") {
  const auto [ctx, cancel] = with_deadline(Context::background(), std::chrono::steady_clock::now() - 1ms);
  CHECK(ctx.err() == ContextError::deadline_exceeded);
  cancel("later");
  CHECK(ctx.err() == ContextError::deadline_exceeded);
  CHECK(ctx.cause() == "the deadline has passed");
  CHECK(error_of(ctx).kind == ErrorKind::deadline_exceeded);
  CHECK(ctx.token().stop_requested());
}

TEST_CASE("context: a cancel before the deadline is a cancel") {
  const auto [ctx, cancel] = with_timeout(Context::background(), 1h);
  cancel("enough");
  CHECK(ctx.err() == ContextError::canceled);
}

TEST_CASE("context: the earlier deadline wins on the way down") {
  const auto now = std::chrono::steady_clock::now();
  const auto outer = with_deadline(Context::background(), now + 1h);
  const auto longer = with_deadline(outer.context, now + 2h);
  const auto shorter = with_deadline(outer.context, now + 1min);
  CHECK(longer.context.deadline() == now + 1h);
  CHECK(shorter.context.deadline() == now + 1min);
  CHECK(with_cancel(shorter.context).context.deadline() == now + 1min);
}

TEST_CASE("context: an immeasurably long timeout is no deadline") {
  const auto scope = with_timeout(Context::background(), std::chrono::nanoseconds::max());
  CHECK_FALSE(scope.context.deadline().has_value());
}

TEST_CASE("context: values are found by key, nearest first, and keys of one name are different") {
  static constexpr Key<std::string> kRunId{"id"};
  static constexpr Key<std::string> kOther{"id"};
  const Context outer = with_value(Context::background(), kRunId, std::string("outer"));
  const auto scope = with_cancel(outer);
  const Context inner = with_value(scope.context, kRunId, std::string("inner"));
  REQUIRE(scope.context.value(kRunId) != nullptr);
  CHECK(*scope.context.value(kRunId) == "outer");
  CHECK(*inner.value(kRunId) == "inner");
  CHECK(inner.value(kOther) == nullptr);
  CHECK(Context::background().value(kRunId) == nullptr);
  scope.cancel("below a value, too");
  CHECK(inner.done());
}

TEST_CASE("context: a stop callback runs once on the cancelling thread, and may drop the last context") {
  auto scope = std::make_unique<Cancellable>(with_cancel(Context::background()));
  const Cancel cancel = scope->cancel;
  int calls = 0;
  const std::stop_callback callback(scope->context.token(), [&] {
    ++calls;
    scope.reset();
  });
  cancel("go");
  cancel("again");
  CHECK(calls == 1);
}

TEST_CASE("context: a stop callback may use its own context and its children") {
  const auto scope = with_cancel(Context::background());
  std::string seen;
  const std::stop_callback callback(scope.context.token(), [&] {
    const auto child = with_cancel(scope.context);
    child.cancel("no effect");
    seen = child.context.cause();
  });
  scope.cancel("why");
  CHECK(seen == "why");
}

TEST_CASE("context: a child's token stops when the parent is cancelled") {
  const auto parent = with_cancel(Context::background());
  const auto child = with_cancel(parent.context);
  const std::stop_token token = child.context.token();
  CHECK(token.stop_possible());
  CHECK_FALSE(token.stop_requested());
  parent.cancel();
  CHECK(token.stop_requested());
}

TEST_CASE("context: a token stops at the deadline with nobody asking") {
  const auto scope = with_timeout(Context::background(), 5ms);
  const auto child = with_cancel(scope.context);
  std::latch fired(2);
  const std::stop_callback own(scope.context.token(), [&] { fired.count_down(); });
  const std::stop_callback below(child.context.token(), [&] { fired.count_down(); });
  fired.wait();
  CHECK(scope.context.err() == ContextError::deadline_exceeded);
}

TEST_CASE("context: a condition variable wait on a token ends at the deadline") {
  const auto scope = with_timeout(Context::background(), 5ms);
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  CHECK_FALSE(changed.wait(lock, scope.context.token(), [] { return false; }));
}

TEST_CASE("context: the timer thread goes with the last context that needs it") {
  const std::size_t before = testing::thread_count();
  for (int round = 0; round < 20; ++round) {
    const auto first = with_timeout(Context::background(), 1h);
    const auto second = with_timeout(Context::background(), 2h);
    // A joined thread may show for an instant longer, hence the waiting.
    await([&] { return testing::thread_count() == before; });  // nobody has asked for a token
    const auto token = first.context.token();
    const auto other = second.context.token();
    CHECK(testing::thread_count() == before + 1);
  }
  await([&] { return testing::thread_count() == before; });
}

TEST_CASE("context: a timer callback may destroy the last context with a deadline") {
  for (int round = 0; round < 50; ++round) {
    auto scope = std::make_unique<Cancellable>(with_timeout(Context::background(), 50us));
    const std::stop_token token = scope->context.token();
    std::latch fired(1);
    const std::stop_callback callback(token, [&] {
      scope.reset();
      fired.count_down();
    });
    fired.wait();
  }
  // The timer ended by itself here; the next one starts all the same.
  const auto scope = with_timeout(Context::background(), 1ms);
  std::latch fired(1);
  const std::stop_callback callback(scope.context.token(), [&] { fired.count_down(); });
  fired.wait();
}

TEST_CASE("context: a blocked receive wakes when an ancestor is cancelled") {
  const auto root = with_cancel(Context::background());
  const auto middle = with_timeout(root.context, 1h);
  const auto leaf = with_cancel(middle.context);
  auto [sender, receiver] = make_channel<int>(1);
  RecvStatus status = RecvStatus::received;
  std::thread blocked([&, rx = std::move(receiver)]() mutable {
    int value = 0;
    status = rx.recv(value, leaf.context);
  });
  await([&, &tx = sender] { return tx.receiver_waiting(); });
  root.cancel();
  blocked.join();
  CHECK(status == RecvStatus::aborted);
}

TEST_CASE("context: a blocked receive wakes at the context's deadline") {
  const auto scope = with_timeout(Context::background(), 5ms);
  auto [sender, receiver] = make_channel<int>(1);
  int value = 0;
  CHECK(receiver.recv(value, scope.context) == RecvStatus::aborted);
  CHECK(scope.context.err() == ContextError::deadline_exceeded);
}

TEST_CASE("context: children come and go on many threads while the parent is cancelled") {
  for (int round = 0; round < 50; ++round) {
    const auto parent = with_cancel(Context::background());
    std::latch ready(4);
    std::atomic<int> ended{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        ready.count_down();
        for (;;) {
          const auto child = with_cancel(parent.context);
          const auto grandchild = with_timeout(child.context, 1h);
          const std::stop_callback callback(grandchild.context.token(), [&] { ended.fetch_add(1); });
          if (grandchild.context.done()) {
            await([&] { return grandchild.context.token().stop_requested(); });
            CHECK(grandchild.context.cause() == "round over");
            break;
          }
        }
      });
    }
    ready.wait();
    parent.cancel("round over");
    for (std::thread& thread : threads) thread.join();
    CHECK(ended.load() >= 4);
  }
}
