#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe::torture {

/// This program as a child, that dies with its parent. Threads: one. Ends: the destructor kills it.
class Child {
 public:
  /// `log` gets what it says on stderr, behind what is there.
  Child(std::filesystem::path log) : log_(std::move(log)) {}
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// How one ended: its exit status, or 128 and the signal as a shell says it.
  struct End {
    int status{0};
    bool killed{false};  ///< by SIGKILL
  };

  /// False: no process is to be had.
  bool start(const std::vector<std::string>& arguments);
  void signal(int number) const;
  /// Nothing when it has not ended within that time.
  std::optional<End> wait(std::chrono::milliseconds limit);
  [[nodiscard]] bool running() const noexcept { return pid_ > 0; }
  /// From now on no file of its may grow beyond that many bytes. False: not permitted.
  bool limit_files(std::uint64_t bytes) const;
  static constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};
  /// How long its log is, bytes.
  std::uint64_t log_length() const;
  /// Where in its log the running one begins.
  std::uint64_t begin() const noexcept { return begin_; }
  /// Whether those words are in its log, from that byte on.
  bool said(std::string_view words, std::uint64_t from) const;
  /// The same, since it was started.
  bool said(std::string_view words) const { return said(words, begin_); }

 private:
  const std::filesystem::path log_;
  pid_t pid_{-1};
  std::uint64_t begin_{0};  // of what the running one says
};

}  // namespace logpipe::torture
