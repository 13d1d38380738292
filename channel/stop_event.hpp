#pragma once

#include <functional>
#include <stop_token>

namespace logpipe {

/// A descriptor that becomes readable when `stop` is requested, so that a poll() hears of it.
/// Threads: one that polls; the request may come from any. Errors: fd() is -1 when there is no
/// descriptor to be had; a poll() with it would miss the stop.
class StopEvent {
 public:
  explicit StopEvent(const std::stop_token& stop);
  StopEvent(const StopEvent&) = delete;
  StopEvent& operator=(const StopEvent&) = delete;
  int fd() const noexcept { return descriptor_.fd; }

 private:
  struct Signal {
    int fd;
    void operator()() const noexcept;
  };
  struct Descriptor {
    int fd;
    ~Descriptor();
  };
  Descriptor descriptor_;
  std::stop_callback<Signal> callback_;  // behind the descriptor: it signals from its construction to its destruction
};

}  // namespace logpipe
