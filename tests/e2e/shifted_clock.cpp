// Loaded into the program with LD_PRELOAD: a wall clock that is off by what the file named in LOGPIPE_TEST_CLOCK says,
// a number of seconds that another process may change at any time. The monotonic clocks are left alone, as in a machine
// whose clock is set.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

const std::atomic<std::int64_t>* shared_offset() {
  static const std::atomic<std::int64_t>* const offset = [] {
    const char* path = std::getenv("LOGPIPE_TEST_CLOCK");
    const int fd = path != nullptr ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) std::abort();
    void* mapped = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    if (mapped == MAP_FAILED) std::abort();
    return static_cast<const std::atomic<std::int64_t>*>(mapped);
  }();
  return offset;
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, struct timespec* now) noexcept {
  using Call = int (*)(clockid_t, struct timespec*);
  static const Call real = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += shared_offset()->load();
  return result;
}
