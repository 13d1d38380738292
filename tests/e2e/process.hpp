#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe::test {

/// The program under test: the one of this build, or what LOGPIPE_TEST_BINARY names (an installed one, say).
std::string logpipe_binary();

/// A directory that goes away with its contents.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& path);  ///< empty when there is none
void write_file(const std::filesystem::path& path, std::string_view text);
void append_file(const std::filesystem::path& path, std::string_view text);  ///< one write()
std::vector<std::string> lines_of(std::string_view text);

bool contains(std::string_view text, std::string_view part);
std::size_t count_of(std::string_view text, std::string_view part);
std::uintmax_t size_of(const std::filesystem::path& path);  ///< 0 when there is none

/// A pipe that is full, so that nothing can be written until somebody reads. As large as the program would make it.
class FullPipe {
 public:
  FullPipe();
  ~FullPipe();
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;
  int in() const { return ends_[1]; }   ///< for Process::Options::stdout_fd
  int out() const { return ends_[0]; }  ///< does not block

 private:
  int ends_[2]{-1, -1};
};

/// How a child ended.
struct Exit {
  int status{-1};  ///< exit status; -1 when a signal ended it
  int signal{0};
  long max_rss_kib{0};  ///< the child's peak resident memory
  std::chrono::milliseconds wall{0};
};

/// A running child. Of the environment it gets what the test itself has, without what would change its behaviour (TERM,
/// NO_COLOR, LOGPIPE_CONFIG, the service manager's variables), and SIGPIPE as it comes from a shell. stdout and stderr
/// go to pipes that a thread empties, unless redirected. The destructor kills it.
class Process {
 public:
  struct Options {
    std::vector<std::string> arguments;
    std::filesystem::path directory;  ///< to run in
    std::map<std::string, std::string> environment;
    /// For the child's descriptors 0 and 1: -1 makes a pipe (closed at once for stdin unless keep_stdin), -2 closes it.
    int stdin_fd{-1};
    int stdout_fd{-1};
    bool keep_stdin{false};
    bool watchdog_pid{false};  ///< sets WATCHDOG_PID to the child's own number, as a service manager does
  };
  explicit Process(Options options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// Writes to the child's stdin; false when the child has closed it.
  bool write_stdin(std::string_view text);
  void close_stdin();
  /// Stops reading the child's stdout and closes our end.
  void close_stdout();
  std::string stdout_text() const;  ///< what came so far
  std::string stderr_text() const;
  /// Blocks until `done(text so far)` holds for stdout or stderr, the stream ends, or the limit passes; whether it
  /// held.
  bool wait_stdout(const std::function<bool(const std::string&)>& done,
                   std::chrono::seconds limit = std::chrono::seconds(60));
  bool wait_stderr(const std::function<bool(const std::string&)>& done,
                   std::chrono::seconds limit = std::chrono::seconds(60));
  /// Waits for the end; kills the child and reports signal 9 when the limit passes.
  Exit wait(std::chrono::seconds limit = std::chrono::seconds(60));
  bool running();

 private:
  struct Streams;
  pid_t pid_{-1};
  int stdin_{-1};
  std::unique_ptr<Streams> streams_;
  std::optional<Exit> exit_;
  std::chrono::steady_clock::time_point started_;
};

/// Runs the program to its end with `input` on stdin.
struct Result {
  Exit exit;
  std::string out;
  std::string err;
};
Result run(std::vector<std::string> arguments, std::string_view input = {}, const std::filesystem::path& directory = {},
           std::map<std::string, std::string> environment = {});

/// How many times slower than a release build the program may be here: for time limits that are part of a promise.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kSlowness = 5;
#else
inline constexpr int kSlowness = 1;
#endif

/// Waits until `condition` holds, looking again whenever something in `watched` changes (inotify), at the latest every
/// 20 ms; false when the limit passes first.
bool wait_until(const std::filesystem::path& watched, const std::function<bool()>& condition,
                std::chrono::seconds limit = std::chrono::seconds(60));

}  // namespace logpipe::test
