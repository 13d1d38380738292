#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/e2e/process.hpp"

namespace logpipe::test {

/// A line of JSON, with its line feed, that says which file it is from and which one of it. Every fifth is `debug`, the
/// others are `info`; `svc` is one of three, `shard` one of ten.
std::string numbered_line(unsigned file, std::uint64_t number);
bool is_debug(std::uint64_t number);
/// `a`, `b` or `c`.
char service_of(std::uint64_t number);
inline constexpr unsigned kShards = 10;
unsigned shard_of(std::uint64_t number);
/// The same line as `enrich: {set: {env: prod}}` leaves it.
std::string enriched_line(unsigned file, std::uint64_t number);

/// What became of numbered lines on their way, counted line by line.
struct Account {
  std::size_t expected{0};
  std::size_t lost{0};       ///< did not arrive
  std::size_t doubled{0};    ///< arrived once more than they should, each time counted
  std::size_t reordered{0};  ///< arrived behind a later one of the same stream
  std::size_t foreign{0};    ///< what is no expected line: torn, mixed up

  bool exact() const { return lost == 0 && doubled == 0 && reordered == 0 && foreign == 0; }
  std::string text() const;
};
/// `streams`: lines with their line feeds, all different, each stream in its order.
Account account_of(const std::vector<std::vector<std::string>>& streams, std::string_view arrived);

/// A log that a thread appends numbered lines to, in bursts, some of them torn over two writes; never more than it is
/// allowed to.
class GrowingFile {
 public:
  struct Options {
    std::filesystem::path path;
    unsigned file{0};
    std::uint32_t seed{1};
    std::uint64_t rotate_bytes{0};  ///< not 0: renamed to PATH.1 (and that to PATH.2, …) at that size
  };
  explicit GrowingFile(Options options);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  /// Lets it write until it has written that many bytes in all (and to the end of that burst); returns at once.
  void allow(std::uint64_t bytes);
  /// Waits until everything that was allowed is written.
  void wait_written();
  /// While no line is half written: renames the file as `rotate_bytes` does, or runs `action`, and goes on.
  void rotate();
  void between_lines(const std::function<void()>& action);
  std::uint64_t written() const;  ///< bytes
  std::uint64_t count() const;    ///< lines
  int rotations() const;

  /// All lines so far, as they were written. `keep` may leave some out, `line` may change them.
  std::vector<std::string> lines() const;
  std::vector<std::string> lines(const std::function<bool(std::uint64_t)>& keep,
                                 const std::function<std::string(unsigned, std::uint64_t)>& line) const;
  /// The numbers at which a file of a new name began; the first is 0.
  std::vector<std::uint64_t> generations() const;

 private:
  void run();
  void burst(std::mt19937& random);
  void rotate_now();
  void open();
  void put(std::string_view text);

  const Options options_;
  int fd_{-1};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t allowed_{0};
  std::uint64_t written_{0};
  std::uint64_t file_bytes_{0};
  std::uint64_t next_{0};
  std::vector<std::uint64_t> generations_{0};
  bool stop_{false};
  std::thread thread_;
};

/// `run --config FILE` with more arguments.
Process::Options daemon_of(const std::filesystem::path& config, std::vector<std::string> more = {});
bool wait_said(Process& process, const std::string& words);
/// Waits for a file to have that many bytes; it must lie in `directory`.
bool wait_grown(const std::filesystem::path& file, std::uintmax_t bytes);
/// The same while more lines are allowed, so that it is reached however many were in the file before anybody looked.
bool wait_grown_fed(GrowingFile& log, const std::filesystem::path& file, std::uintmax_t bytes);
/// The sum of a metric's series whose line begins with that text; 0 if there is none.
double metric_of(const std::string& exposition, const std::string& series);

}  // namespace logpipe::test
