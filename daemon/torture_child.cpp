#include "daemon/torture_child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

namespace logpipe::torture {

Child::~Child() {
  if (!running()) return;
  signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool Child::start(const std::vector<std::string>& arguments) {
  std::vector<char*> words{const_cast<char*>("logpipe")};
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (log < 0 || nothing < 0) return false;
  begin_ = log_length();
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(nothing, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execv("/proc/self/exe", words.data());
    ::_exit(127);
  }
  ::close(log);
  ::close(nothing);
  return pid_ > 0;
}

void Child::signal(int number) const {
  if (running()) ::kill(pid_, number);
}

std::optional<Child::End> Child::wait(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  // A pidfd would need a newer kernel than we ask for.
  for (auto pause = std::chrono::microseconds(200);; pause = std::min(pause * 2, std::chrono::microseconds(20'000))) {
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      pid_ = -1;
      if (WIFEXITED(status)) return End{WEXITSTATUS(status), false};
      return End{128 + WTERMSIG(status), WTERMSIG(status) == SIGKILL};
    }
    if (std::chrono::steady_clock::now() >= end) return std::nullopt;
    std::this_thread::sleep_for(pause);
  }
}

std::uint64_t Child::log_length() const {
  std::error_code error;
  const auto length = std::filesystem::file_size(log_, error);
  return error ? 0 : length;
}

bool Child::said(std::string_view words, std::uint64_t from) const {
  std::ifstream log(log_, std::ios::binary);
  log.seekg(static_cast<std::streamoff>(from));
  std::ostringstream text;
  text << log.rdbuf();
  return text.view().find(words) != std::string_view::npos;
}

bool Child::limit_files(std::uint64_t bytes) const {
  rlimit limit{};
  if (!running() || ::prlimit(pid_, RLIMIT_FSIZE, nullptr, &limit) != 0) return false;
  limit.rlim_cur = std::min<rlim_t>(bytes == kNoLimit ? RLIM_INFINITY : bytes, limit.rlim_max);
  return ::prlimit(pid_, RLIMIT_FSIZE, &limit, nullptr) == 0;
}

}  // namespace logpipe::torture
