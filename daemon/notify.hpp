#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace logpipe {

/// The service manager's side of things: sd_notify(3). Does nothing without NOTIFY_SOCKET. Threads: any.
class ServiceNotifier {
 public:
  ServiceNotifier();

  /// Someone listens.
  bool active() const noexcept { return active_; }
  /// How often the watchdog wants to hear from us (half of WATCHDOG_USEC), if at all.
  std::optional<std::chrono::milliseconds> watchdog_interval() const noexcept { return watchdog_; }

  void ready(const std::string& status) const;      ///< READY=1
  void reloading(const std::string& status) const;  ///< RELOADING=1 with MONOTONIC_USEC
  void stopping(const std::string& status) const;   ///< STOPPING=1
  void status(const std::string& status) const;     ///< STATUS=…
  void watchdog() const;                            ///< WATCHDOG=1
  /// EXTEND_TIMEOUT_USEC: stopping takes at least this much longer.
  void extend_timeout(std::chrono::microseconds more) const;

 private:
  bool active_{false};
  std::optional<std::chrono::milliseconds> watchdog_;
};

}  // namespace logpipe
