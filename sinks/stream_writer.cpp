#include "sinks/stream_writer.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace logpipe {
namespace {

constexpr int kPipeBytes = 1024 * 1024;  // the most an unprivileged process may ask for (pipe(7))
// A terminal says it is writable long before this much room is left.
constexpr std::size_t kTerminalPiece = 256;

}  // namespace

StreamWriter::StreamWriter(int fd, int stop_fd, Reopen reopen) : fd_(fd), stop_fd_(stop_fd) {
  struct ::stat info {};
  if (::fstat(fd_, &info) != 0) return;
  if (S_ISFIFO(info.st_mode)) {
    kind_ = Kind::pipe;
    static_cast<void>(::fcntl(fd_, F_SETPIPE_SZ, kPipeBytes));  // may not be allowed; only slower then
  } else if (S_ISSOCK(info.st_mode)) {
    kind_ = Kind::socket;
  } else if (S_ISCHR(info.st_mode) && ::isatty(fd_) == 1) {
    kind_ = Kind::terminal;
  }
  const int flags = ::fcntl(fd_, F_GETFL);
  nonblock_ = flags >= 0 && (flags & O_NONBLOCK) != 0;
  if ((kind_ == Kind::pipe || kind_ == Kind::terminal) && !nonblock_ && reopen == Reopen::when_possible) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd_);
    own_fd_ = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  }
}

StreamWriter::~StreamWriter() {
  if (own_fd_ >= 0) ::close(own_fd_);
}

Status StreamWriter::check(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fail(Error::from_errno(errno, "stdout is closed"));
  if ((flags & O_PATH) != 0) return fail(ErrorKind::io, "stdout is closed");  // a place holder, see daemon/main.cpp
  if ((flags & O_ACCMODE) == O_RDONLY) return fail(ErrorKind::io, "stdout is not open for writing");
  return {};
}

StreamWriter::Outcome StreamWriter::wait_writable() {
  pollfd waits[] = {{fd_, POLLOUT, 0}, {stop_fd_, POLLIN, 0}};
  for (;;) {
    if (::poll(waits, 2, -1) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return Outcome::failed;
    }
    if ((waits[1].revents & POLLIN) != 0) return Outcome::stopped;
    // POLLERR and POLLHUP too: the write tells what it is.
    if (waits[0].revents != 0) return Outcome::written;
  }
}

StreamWriter::Write StreamWriter::write(iovec* pieces, std::size_t count) {
  const bool may_block = kind_ != Kind::file && kind_ != Kind::socket && own_fd_ < 0 && !nonblock_;
  bool wait_first = may_block;
  for (;;) {
    if (wait_first) {
      const Outcome outcome = wait_writable();
      if (outcome == Outcome::failed) return {Outcome::failed, 0, errno};
      if (outcome == Outcome::stopped) return {Outcome::stopped};
    }
    ssize_t written = 0;
    if (kind_ == Kind::socket) {
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = count;
      written = ::sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (may_block) {
      const std::size_t most = kind_ == Kind::pipe ? PIPE_BUF : kTerminalPiece;
      written = ::write(fd_, pieces[0].iov_base, pieces[0].iov_len < most ? pieces[0].iov_len : most);
    } else {
      written = ::writev(own_fd_ >= 0 ? own_fd_ : fd_, pieces, static_cast<int>(count));
    }
    if (written > 0) return {Outcome::written, static_cast<std::size_t>(written)};
    const int code = written == 0 ? EIO : errno;
    if (code == EINTR) continue;
    if (code == EAGAIN || code == EWOULDBLOCK) {
      wait_first = true;
      continue;
    }
    if (code == EPIPE || code == ECONNRESET || (kind_ == Kind::terminal && code == EIO)) return {Outcome::closed};
    return {Outcome::failed, 0, code};
  }
}

}  // namespace logpipe
