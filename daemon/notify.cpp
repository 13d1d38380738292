#include "daemon/notify.hpp"

#include <systemd/sd-daemon.h>
#include <time.h>

#include <cstdlib>

namespace logpipe {

namespace {
void send(const std::string& lines) {
  sd_notify(0, lines.c_str());
}
}  // namespace

ServiceNotifier::ServiceNotifier() : active_(std::getenv("NOTIFY_SOCKET") != nullptr) {
  std::uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) > 0 && usec > 0) {
    watchdog_ = std::chrono::milliseconds(std::max<std::uint64_t>(1, usec / 2000));
  }
}

void ServiceNotifier::ready(const std::string& status) const {
  if (active_) send("READY=1\nSTATUS=" + status);
}

void ServiceNotifier::reloading(const std::string& status) const {
  if (!active_) return;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const auto usec = static_cast<std::uint64_t>(now.tv_sec) * 1000000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000;
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(usec) + "\nSTATUS=" + status);
}

void ServiceNotifier::stopping(const std::string& status) const {
  if (active_) send("STOPPING=1\nSTATUS=" + status);
}

void ServiceNotifier::status(const std::string& status) const {
  if (active_) send("STATUS=" + status);
}

void ServiceNotifier::watchdog() const {
  if (active_) send("WATCHDOG=1");
}

void ServiceNotifier::extend_timeout(std::chrono::microseconds more) const {
  if (active_) send("EXTEND_TIMEOUT_USEC=" + std::to_string(more.count()));
}

}  // namespace logpipe
