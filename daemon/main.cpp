#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/cli.hpp"

namespace {

/// A closed standard descriptor would be taken by the next file that is opened, which would then be read or written as
/// if it were the input or output. O_PATH keeps the number busy while every read and write on it still fails with
/// EBADF.
void reserve_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) == -1) {
      [[maybe_unused]] const int reserved = open("/", O_PATH);  // the lowest free number: this one
    }
  }
}

/// Tailing takes a descriptor per file. The soft limit is kept low for programs that use select(2); this one does not.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  reserve_standard_descriptors();
  raise_descriptor_limit();
  return logpipe::run_command_line(argc, argv);
}
