#include "channel/stop_event.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace logpipe {

StopEvent::StopEvent(const std::stop_token& stop)
    : descriptor_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}, callback_(stop, Signal{descriptor_.fd}) {}

StopEvent::Descriptor::~Descriptor() {
  if (fd >= 0) ::close(fd);
}

void StopEvent::Signal::operator()() const noexcept {
  const std::uint64_t one = 1;
  if (::write(fd, &one, sizeof one) < 0) return;  // full: it is readable already
}

}  // namespace logpipe
