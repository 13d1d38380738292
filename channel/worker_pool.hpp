#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/pool_options.hpp"
#include "channel/pool_state.hpp"
#include "channel/task_group.hpp"

namespace logpipe {

/// Runs threads of `group` that turn every item of `in` into a result and emit the results in order.
///   make_worker(index) -> callable Out(In&&) or Result<Out>(In&&). Copied for each worker, called on its thread;
///     scratch memory lives there. Indices are below `options.workers`; one is in use once at a time.
///   emit(Out&&) -> Status or void: called by one thread at a time (whichever worker's result was next), in the
///     order of the input, or with Order::none as results come, or with Order::key in the order of each key. A slow
///     emit holds up nobody else until the window `ahead` is used up. A failure ends the pool.
///   on_done(Status): called once, by the pool's last thread, after the last emit and with `in` gone. Must not throw.
/// Workers: `options.workers`, all the time, or with `options.min_workers` below it as many as the load asks for: more
/// when items wait while all are busy, fewer when some have been idle for long (PoolScaling). Those sent home are gone,
/// their threads and scratch memory with them. One thread more then watches over it; it sleeps while workers idle.
/// Ends: with `in` closed and drained: success, everything emitted. With `run` done: at once; what was taken and not
/// yet emitted is destroyed and the tasks fail with the context's error. With a failed emit, or with OnFailure::stop a
/// failed item: the same, with that failure. `run` should hang below `group.context()`, so that a failure elsewhere
/// ends the pool too. Then `emit`, `on_done` and the hooks are destroyed with all they own, so channels below close.
/// Limits: a group with a limit needs room for `min_workers`, and one more if the pool scales; growth beyond is tried.
/// A pool grows by what waits in its input, so one over a rendezvous, where nothing does, keeps to `min_workers`.
template <class In, class MakeWorker, class Emit, class OnDone>
requires std::invocable<OnDone&, Status>
void run_worker_pool(TaskGroup& group, Merged<In> in, const Context& run, const WorkerPoolOptions& options,
                     MakeWorker make_worker, Emit emit, OnDone on_done,
                     std::type_identity_t<PoolHooks<In>> hooks = {}) {
  using Worker = std::invoke_result_t<MakeWorker&, std::size_t>;
  using Out = typename detail::PoolOutput<std::invoke_result_t<Worker&, In&&>>::type;
  using State = detail::PoolState<In, Out, Emit, OnDone>;
  using Member = detail::PoolMember<State>;

  const auto state =
      std::make_shared<State>(std::move(in), run, options, std::move(hooks), std::move(emit), std::move(on_done));
  std::optional<Member> scaler;
  if (options.scales()) scaler.emplace(state, std::nullopt);
  std::vector<Member> members;  // all of them before the first thread: one alone is not the last
  members.reserve(options.least());
  for (std::size_t i = 0; i < options.least(); ++i) members.emplace_back(state, i);

  const auto worker_name = [name = options.name](std::size_t index) { return name + "-" + std::to_string(index); };
  const detail::PoolGuard<State> spawning(*state, "no thread for " + options.name);
  for (std::size_t i = 0; i < options.least(); ++i) {
    group.spawn(worker_name(i), detail::worker_task<State>(worker_name(i), i, make_worker, std::move(members[i])));
  }
  if (!scaler) return;
  group.spawn(options.name + "-scaler",
              [&group, state, worker_name, make_worker = std::move(make_worker), member = std::move(*scaler)] {
                member->scale([&](std::size_t seat) {
                  auto task = detail::worker_task<State>(worker_name(seat), seat, make_worker, Member(state, seat));
                  try {
                    return group.try_spawn(worker_name(seat), std::move(task));
                  } catch (const std::system_error&) {
                    return false;  // no thread is to be had: those that are there go on
                  }
                });
              });
}

/// The same without `on_done`.
template <class In, class MakeWorker, class Emit>
void run_worker_pool(TaskGroup& group, Merged<In> in, const Context& run, const WorkerPoolOptions& options,
                     MakeWorker make_worker, Emit emit, std::type_identity_t<PoolHooks<In>> hooks = {}) {
  run_worker_pool(
      group, std::move(in), run, options, std::move(make_worker), std::move(emit), [](const Status&) noexcept {},
      std::move(hooks));
}

/// The same over one channel.
template <class In, class MakeWorker, class Emit, class OnDone>
requires std::invocable<OnDone&, Status>
void run_worker_pool(TaskGroup& group, Receiver<In> in, const Context& run, const WorkerPoolOptions& options,
                     MakeWorker make_worker, Emit emit, OnDone on_done,
                     std::type_identity_t<PoolHooks<In>> hooks = {}) {
  run_worker_pool(group, Merged<In>(std::move(in)), run, options, std::move(make_worker), std::move(emit),
                  std::move(on_done), std::move(hooks));
}
template <class In, class MakeWorker, class Emit>
void run_worker_pool(TaskGroup& group, Receiver<In> in, const Context& run, const WorkerPoolOptions& options,
                     MakeWorker make_worker, Emit emit, std::type_identity_t<PoolHooks<In>> hooks = {}) {
  run_worker_pool(group, Merged<In>(std::move(in)), run, options, std::move(make_worker), std::move(emit),
                  std::move(hooks));
}

/// The composed form: `fn(In&&) -> Out` or Result<Out> on several threads, results in a channel of `output` capacity
/// that closes when the pool ends. `fn` is copied for each worker. The pool fails with `closed` when nobody receives
/// any more.
template <class In, class Fn>
[[nodiscard]] auto worker_pool(TaskGroup& group, const Context& ctx, Receiver<In> in, const WorkerPoolOptions& options,
                               Fn fn, Capacity output = {.items = 1}, std::type_identity_t<PoolHooks<In>> hooks = {})
    -> Receiver<typename detail::PoolOutput<std::invoke_result_t<Fn&, In&&>>::type> {
  using Out = typename detail::PoolOutput<std::invoke_result_t<Fn&, In&&>>::type;
  auto [sender, receiver] = make_channel<Out>(output);
  run_worker_pool(
      group, std::move(in), ctx, options, [fn = std::move(fn)](std::size_t) { return fn; },
      [ctx, out = std::move(sender)](Out&& result) mutable -> Status {
        switch (out.send(std::move(result), ctx)) {
          case SendStatus::sent:
            return {};
          case SendStatus::closed:
            return fail(ErrorKind::closed, "nobody receives the pool's results any more");
          default:
            return fail(error_of(ctx));
        }
      },
      std::move(hooks));
  return std::move(receiver);
}

}  // namespace logpipe
