#include "tests/e2e/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace logpipe::test {

namespace {

[[noreturn]] void fail_errno(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

/// Ours, but for what would change how the program behaves, and with what the test wants.
std::vector<std::string> environment_of(const Process::Options& options) {
  constexpr std::array<std::string_view, 7> kNotPassedOn{
      "LOGPIPE_CONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "NO_COLOR", "JOURNAL_STREAM", "TERM"};
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    const bool left_out = std::find(kNotPassedOn.begin(), kNotPassedOn.end(), name) != kNotPassedOn.end();
    if (!left_out && !options.environment.contains(std::string(name))) environment.emplace_back(text);
  }
  for (const auto& [name, value] : options.environment) environment.push_back(name + "=" + value);
  return environment;
}

}  // namespace

std::string logpipe_binary() {
  const char* other = std::getenv("LOGPIPE_TEST_BINARY");
  return other != nullptr ? other : LOGPIPE_BINARY;
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "logpipe-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) fail_errno("mkdtemp");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!out.flush()) throw std::runtime_error("write " + path.string());
}

void append_file(const std::filesystem::path& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) fail_errno("open " + path.string());
  const ssize_t n = ::write(fd, text.data(), text.size());
  ::close(fd);
  if (n != static_cast<ssize_t>(text.size())) fail_errno("append " + path.string());
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

std::uintmax_t size_of(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

FullPipe::FullPipe() {
  if (::pipe2(ends_, O_CLOEXEC | O_NONBLOCK) != 0) fail_errno("pipe");
  ::fcntl(ends_[1], F_SETPIPE_SZ, 1024 * 1024);  // may be refused, to the program as well
  const std::string filling(65536, '.');
  for (std::size_t piece : {filling.size(), std::size_t{1}}) {
    while (::write(ends_[1], filling.data(), piece) > 0) {
    }
  }
  ::fcntl(ends_[1], F_SETFL, 0);  // blocks, as a shell's pipe does
}

FullPipe::~FullPipe() {
  ::close(ends_[0]);
  ::close(ends_[1]);
}

/// The child's output, as it comes in.
struct Process::Streams {
  int fds[2]{-1, -1};  // stdout, stderr
  int wake{-1};
  int wake_in{-1};
  std::thread reader;
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::string text[2];
  bool ended[2]{false, false};
  bool close_out{false};

  void read_all() {
    std::vector<char> buffer(64 * 1024);
    for (;;) {
      pollfd fds_now[3] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}, {wake, POLLIN, 0}};
      {
        const std::lock_guard lock(mutex);
        if (close_out && fds[0] >= 0) {
          ::close(fds[0]);
          fds[0] = -1;
          ended[0] = true;
          changed.notify_all();
        }
        if (ended[0] && ended[1]) return;
        for (int i : {0, 1}) fds_now[i].fd = ended[i] ? -1 : fds[i];
      }
      ::poll(fds_now, 3, -1);
      if (fds_now[2].revents != 0) {
        char byte = 0;
        if (::read(wake, &byte, 1) <= 0) return;
        continue;
      }
      for (int i : {0, 1}) {
        if (fds_now[i].revents == 0) continue;
        const ssize_t n = ::read(fds[i], buffer.data(), buffer.size());
        const std::lock_guard lock(mutex);
        if (n > 0) {
          text[i].append(buffer.data(), static_cast<std::size_t>(n));
        } else {
          ended[i] = true;
        }
        changed.notify_all();
      }
    }
  }
};

Process::Process(Options options) : streams_(std::make_unique<Streams>()), started_(std::chrono::steady_clock::now()) {
  int in[2] = {-1, -1};
  int out[2] = {-1, -1};
  int err[2];
  int wake[2];
  if (options.stdin_fd == -1 && ::pipe2(in, O_CLOEXEC) != 0) fail_errno("pipe");
  if (options.stdout_fd == -1 && ::pipe2(out, O_CLOEXEC) != 0) fail_errno("pipe");
  if (::pipe2(err, O_CLOEXEC) != 0 || ::pipe2(wake, O_CLOEXEC) != 0) fail_errno("pipe");

  const std::string binary = logpipe_binary();
  std::vector<char*> argv{const_cast<char*>("logpipe")};
  for (std::string& argument : options.arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> environment = environment_of(options);
  // The child's own number, filled in by the child, which must not allocate any more.
  constexpr std::size_t kPidDigits = 12;
  char* watchdog_pid = nullptr;
  if (options.watchdog_pid) {
    environment.push_back("WATCHDOG_PID=" + std::string(kPidDigits, '\0'));
    watchdog_pid = environment.back().data() + std::strlen("WATCHDOG_PID=");
  }
  std::vector<char*> envp;
  for (std::string& entry : environment) envp.push_back(entry.data());
  envp.push_back(nullptr);

  pid_ = ::fork();
  if (pid_ < 0) fail_errno("fork");
  if (pid_ == 0) {
    if (watchdog_pid != nullptr) std::snprintf(watchdog_pid, kPidDigits, "%d", static_cast<int>(::getpid()));
    ::signal(SIGPIPE, SIG_DFL);  // what a shell gives to a child
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const int child_in = options.stdin_fd == -1 ? in[0] : options.stdin_fd;
    const int child_out = options.stdout_fd == -1 ? out[1] : options.stdout_fd;
    if (child_in >= 0) {
      ::dup2(child_in, 0);
    } else {
      ::close(0);
    }
    if (child_out >= 0) {
      ::dup2(child_out, 1);
    } else {
      ::close(1);
    }
    ::dup2(err[1], 2);
    if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) _exit(126);
    ::execve(binary.c_str(), argv.data(), envp.data());
    _exit(127);
  }
  if (in[0] >= 0) ::close(in[0]);
  if (out[1] >= 0) ::close(out[1]);
  ::close(err[1]);
  stdin_ = in[1];
  if (!options.keep_stdin) close_stdin();
  streams_->fds[0] = out[0];
  streams_->fds[1] = err[0];
  streams_->ended[0] = out[0] < 0;
  streams_->wake = wake[0];
  streams_->wake_in = wake[1];
  streams_->reader = std::thread([streams = streams_.get()] { streams->read_all(); });
}

Process::~Process() {
  if (running()) {
    ::kill(pid_, SIGKILL);
    wait();
  }
  close_stdin();
  ::close(streams_->wake_in);  // ends the reader
  if (streams_->reader.joinable()) streams_->reader.join();
  for (const int fd : {streams_->fds[0], streams_->fds[1], streams_->wake}) {
    if (fd >= 0) ::close(fd);
  }
}

void Process::signal(int number) const {
  ::kill(pid_, number);
}

bool Process::write_stdin(std::string_view text) {
  struct IgnorePipe {
    IgnorePipe() { ::signal(SIGPIPE, SIG_IGN); }
  };
  static const IgnorePipe ignore;
  while (!text.empty()) {
    const ssize_t n = ::write(stdin_, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void Process::close_stdin() {
  if (stdin_ >= 0) ::close(stdin_);
  stdin_ = -1;
}

void Process::close_stdout() {
  {
    const std::lock_guard lock(streams_->mutex);
    streams_->close_out = true;
  }
  [[maybe_unused]] const ssize_t n = ::write(streams_->wake_in, "x", 1);
  std::unique_lock lock(streams_->mutex);
  streams_->changed.wait(lock, [this] { return streams_->ended[0]; });
}

std::string Process::stdout_text() const {
  const std::lock_guard lock(streams_->mutex);
  return streams_->text[0];
}

std::string Process::stderr_text() const {
  const std::lock_guard lock(streams_->mutex);
  return streams_->text[1];
}

bool Process::wait_stdout(const std::function<bool(const std::string&)>& done, std::chrono::seconds limit) {
  std::unique_lock lock(streams_->mutex);
  streams_->changed.wait_for(lock, limit, [&] { return done(streams_->text[0]) || streams_->ended[0]; });
  return done(streams_->text[0]);
}

bool Process::wait_stderr(const std::function<bool(const std::string&)>& done, std::chrono::seconds limit) {
  std::unique_lock lock(streams_->mutex);
  streams_->changed.wait_for(lock, limit, [&] { return done(streams_->text[1]) || streams_->ended[1]; });
  return done(streams_->text[1]);
}

bool Process::running() {
  if (exit_) return false;
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0) return false;
  return info.si_pid == 0;
}

Exit Process::wait(std::chrono::seconds limit) {
  if (exit_) return *exit_;
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  bool killed = false;
  if (pidfd >= 0) {
    pollfd ended{pidfd, POLLIN, 0};
    if (::poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(limit).count())) == 0) {
      ::kill(pid_, SIGKILL);
      killed = true;
    }
    ::close(pidfd);
  }
  int status = 0;
  rusage usage{};
  ::wait4(pid_, &status, 0, &usage);
  Exit exit;
  if (WIFEXITED(status)) exit.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  if (killed) exit.signal = SIGKILL;
  exit.max_rss_kib = usage.ru_maxrss;
  exit.wall = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started_);
  exit_ = exit;
  {  // what it wrote last is still on its way
    std::unique_lock lock(streams_->mutex);
    streams_->changed.wait_for(lock, std::chrono::seconds(10),
                               [this] { return streams_->ended[0] && streams_->ended[1]; });
  }
  return exit;
}

Result run(std::vector<std::string> arguments, std::string_view input, const std::filesystem::path& directory,
           std::map<std::string, std::string> environment) {
  Process process({.arguments = std::move(arguments),
                   .directory = directory,
                   .environment = std::move(environment),
                   .keep_stdin = true});
  std::thread feeder([&] {
    process.write_stdin(input);
    process.close_stdin();
  });
  const Exit exit = process.wait(std::chrono::seconds(180));
  feeder.join();
  return {exit, process.stdout_text(), process.stderr_text()};
}

bool wait_until(const std::filesystem::path& watched, const std::function<bool()>& condition,
                std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  const int fd = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd < 0) fail_errno("inotify");
  ::inotify_add_watch(fd, watched.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_CLOSE_WRITE);
  bool held = condition();
  while (!held && std::chrono::steady_clock::now() < deadline) {
    pollfd changed{fd, POLLIN, 0};
    ::poll(&changed, 1, 20);
    char buffer[4096];
    while (::read(fd, buffer, sizeof(buffer)) > 0) {
    }
    held = condition();
  }
  ::close(fd);
  return held;
}

}  // namespace logpipe::test
