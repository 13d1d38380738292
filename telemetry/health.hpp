#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe {

enum class HealthState : std::uint8_t {
  ok,
  degraded,  ///< works, but worse than it should: retrying, breaker open with a spool behind it
  failed,    ///< does not work; takes the daemon out of `ready`
};
std::string_view name(HealthState state) noexcept;

/// What the daemon as a whole is doing.
enum class Phase : std::uint8_t { starting, running, reloading, draining };
std::string_view name(Phase phase) noexcept;

/// Clocks, to be replaced in tests.
struct HealthClocks {
  std::function<std::chrono::system_clock::time_point()> wall{[] { return std::chrono::system_clock::now(); }};
  std::function<std::chrono::steady_clock::time_point()> steady{[] { return std::chrono::steady_clock::now(); }};
};

/// An HTTP status and a JSON body.
struct HealthReply {
  int status{200};
  std::string body;
};

namespace detail {
struct HealthEntry;
struct HeartbeatCell {
  std::atomic<std::uint64_t> beats{0};
  std::atomic<bool> waiting{true};
  std::atomic<bool> gone{false};
};
struct HealthCore;
}  // namespace detail

/// One component's line in the table; starts as ok, leaves the table when destroyed. Move-only. Threads: any.
class ComponentHealth {
 public:
  ComponentHealth() = default;
  ComponentHealth(ComponentHealth&&) noexcept = default;
  ComponentHealth& operator=(ComponentHealth&&) noexcept = default;
  /// The same state again only updates the reason; `since` says when the state was entered. `reason` is for the
  /// operator, in the style of an error message; it is cut at 500 bytes.
  void set(HealthState state, std::string_view reason = {});

 private:
  friend class HealthTable;
  std::shared_ptr<detail::HealthEntry> entry_;
};

/// One thread's sign of life; leaves the table when destroyed. Move-only. `beat` costs two relaxed stores: once per
/// batch. Threads: the beating thread only. A default-constructed one does nothing.
class Heartbeat {
 public:
  Heartbeat() = default;
  Heartbeat(Heartbeat&&) noexcept = default;
  Heartbeat& operator=(Heartbeat&&) noexcept = default;
  /// Progress was made, and more work is at hand.
  void beat() noexcept {
    if (!cell_) return;
    cell_->waiting.store(false, std::memory_order_relaxed);
    cell_->beats.store(cell_->beats.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  /// From here until the next `beat` the thread waits for somebody else (input, space, a retry's time, a reader of our
  /// pipe): silence is no stall. A heartbeat starts like this.
  void wait() noexcept {
    if (cell_) cell_->waiting.store(true, std::memory_order_relaxed);
  }

 private:
  friend class HealthTable;
  std::shared_ptr<detail::HeartbeatCell> cell_;
};

/// Health of every component, life of every thread, and the phase of the daemon; answers the probes.
/// Threads: any. Handles may outlive the table. Two components of one name (old and new, during a reload) are two
/// lines.
class HealthTable {
 public:
  /// `/live` fails when a thread has been stalled for `stall_limit`.
  explicit HealthTable(std::chrono::milliseconds stall_limit = std::chrono::seconds(60), HealthClocks clocks = {});

  [[nodiscard]] ComponentHealth component(std::string_view name);
  [[nodiscard]] Heartbeat heartbeat(std::string_view thread);

  void set_phase(Phase phase);
  [[nodiscard]] Phase phase() const;

  /// Threads that have been at work without a beat for at least `limit`, by name. Nothing is timed by the thread
  /// itself: the time since a beat runs from the first call that saw it, so call this regularly (a third of the
  /// watchdog's interval).
  [[nodiscard]] std::vector<std::string> stalled(std::chrono::milliseconds limit);
  /// All beats so far, of threads gone too: whether anything moves at all.
  [[nodiscard]] std::uint64_t beats() const;

  /// 200 unless a thread is stalled: a reason to restart the process.
  [[nodiscard]] HealthReply live();
  /// 200 while running or reloading and no component has failed: a reason to send traffic elsewhere.
  [[nodiscard]] HealthReply ready() const;
  /// 200, or 503 if a component has failed or a thread is stalled; the whole table, components by name.
  [[nodiscard]] HealthReply health();

 private:
  std::shared_ptr<detail::HealthCore> core_;
};

}  // namespace logpipe
