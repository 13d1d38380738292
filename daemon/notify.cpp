#include "daemon/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace logpipe {

namespace {

/// What must arrive waits for a manager that is busy.
void send(const std::string& lines) {
  sd_notify(0, lines.c_str());
}

/// What comes again in a moment does not: sd_notify(3) blocks while the manager's socket is full, and the thread that
/// calls this hears the signals. The address is a path, or a name in the abstract namespace behind an `@`.
void send_if_room(const std::string& lines) {
  const char* const name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un where{};
  const std::size_t length = name != nullptr ? std::strlen(name) : 0;
  if (length == 0 || length >= sizeof(where.sun_path)) return;
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path, name, length);
  if (name[0] == '@') where.sun_path[0] = '\0';
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  static_cast<void>(
      ::sendto(fd, lines.data(), lines.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&where), size));
  ::close(fd);
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
  if (active_) send_if_room("STATUS=" + status);
}

void ServiceNotifier::watchdog() const {
  if (active_) send_if_room("WATCHDOG=1");
}

void ServiceNotifier::extend_timeout(std::chrono::microseconds more) const {
  if (active_) send_if_room("EXTEND_TIMEOUT_USEC=" + std::to_string(more.count()));
}

}  // namespace logpipe
