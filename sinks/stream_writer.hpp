#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "channel/result.hpp"

namespace logpipe {

/// Writes to a descriptor that somebody else owns and may share with other programs (stdout), waiting where it must,
/// but never beyond a stop. O_NONBLOCK cannot be set on it, for it would hold for everybody who shares the open file;
/// so pipes and terminals are opened once more through /proc, sockets are told per call, and where neither is possible
/// a pipe is written in pieces of PIPE_BUF bytes, which fit whenever poll says so (pipe(7)). Threads: one at a time.
class StreamWriter {
 public:
  /// An Error when the descriptor is closed or not open for writing. To be asked before anything else is opened, which
  /// would get the number of a closed one.
  static Status check(int fd);
  enum class Reopen : bool { never, when_possible };
  /// `stop_fd` becomes readable when waiting must end.
  StreamWriter(int fd, int stop_fd, Reopen reopen = Reopen::when_possible);
  ~StreamWriter();
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  /// True when the other end can go away: a pipe, a socket, a terminal.
  bool has_reader() const noexcept { return kind_ != Kind::file; }

  enum class Outcome : std::uint8_t { written, stopped, closed, failed };
  struct Write {
    Outcome outcome;
    std::size_t bytes{0};  ///< written: at least 1, maybe fewer than offered
    int code{0};           ///< failed: errno
  };
  /// Waits until something can be written, and writes as much as there is room for.
  Write write(iovec* pieces, std::size_t count);

 private:
  enum class Kind : std::uint8_t { file, pipe, terminal, socket };
  Outcome wait_writable();

  const int fd_;
  const int stop_fd_;
  Kind kind_{Kind::file};
  int own_fd_{-1};        // our own open file of the same pipe or terminal, O_NONBLOCK
  bool nonblock_{false};  // fd_ itself came with O_NONBLOCK
};

}  // namespace logpipe
