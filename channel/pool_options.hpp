#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "channel/clock.hpp"
#include "channel/pool_scaling.hpp"
#include "channel/pool_stats.hpp"
#include "channel/result.hpp"

namespace logpipe {

/// The order in which a pool emits. The input is one stream in which every source's items stand in their order, so
/// emitting in the stream's order keeps each source's too: here `source` and `global` are the same, and only what
/// stands above the pool (who takes from which source when) tells them apart. `key`: items of one key in the stream's
/// order, different keys overtake each other; needs PoolHooks::key.
enum class Order : std::uint8_t { source, global, none, key };

/// What a failure on one item means: a worker's exception, or a failed Result it returned. (A failed emit always ends
/// the pool: there is nowhere to go on to.)
enum class OnFailure : std::uint8_t {
  stop,        ///< the pool ends with it
  keep_going,  ///< it is counted, and PoolHooks::on_failed has the item
};

struct WorkerPoolOptions {
  std::size_t workers{1};      ///< threads; at most, where `min_workers` is less
  std::size_t min_workers{0};  ///< 0: as many as `workers`, always
  Order order{Order::source};
  std::size_t ahead{8};  ///< items taken and not yet emitted, at most; raised to `workers` where lower
  std::string name{"worker"};
  OnFailure on_failure{OnFailure::stop};
  PoolScaling scaling{};
  std::shared_ptr<PoolStats> stats{};  ///< null: nothing is measured
  Clock* clock{&Clock::steady()};      ///< of scaling

  std::size_t least() const noexcept { return min_workers == 0 ? workers : min_workers; }
  bool scales() const noexcept { return least() < workers; }
};

template <class In>
class PoolDetach;

/// What a pool asks its maker about items, and tells him; all optional.
template <class In>
struct PoolHooks {
  /// For Order::key, called in the stream's order. A hash will do: keys that share one are merely kept in order, too.
  std::function<std::uint64_t(const In& item)> key{};
  /// Names an item that a worker has taken, for PoolStats; called only where there are stats. By several threads.
  std::function<std::string(const In& item)> label{};
  /// With OnFailure::keep_going: the item that failed, as the worker left it (whole, unless the worker moved from it),
  /// at its turn in the order, and like `emit` by one thread at a time and never beside it. Must not throw.
  std::function<void(In&& item, const Error& error)> on_failed{};
  /// The means to end the pool between two items, so that another goes on with its inputs; for one pool only.
  std::shared_ptr<PoolDetach<In>> detach{};
};

}  // namespace logpipe
