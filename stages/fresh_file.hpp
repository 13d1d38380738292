#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "stages/shared_counter.hpp"
#include "stages/stage.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

/// How often a file was read again, and how often that failed.
struct FreshFileCounts {
  FreshFileCounts(const StageServices& services, const std::string& label);
  SharedCounter reloads;
  SharedCounter failures;
};

/// What a file held, read again when it changes. It is looked at every `interval` by whoever asks then; a content that
/// has been the same for two looks takes the place of the one before, as somebody may be writing it; one that cannot be
/// used is reported and counted, and the one before stays. `T` has content(), which tells contents apart. Threads: any.
template <class T>
class FreshFile {
 public:
  using Content = std::shared_ptr<const T>;
  /// Reads the file; null, and why, when it cannot be used.
  using Load = std::function<Content(std::string& problem)>;

  /// `interval` 0: never looked at. `label`: what metrics call the file.
  FreshFile(std::filesystem::path path, std::chrono::nanoseconds interval, Content content, Load load,
            const StageServices& services, const std::string& label)
      : path_(std::move(path)),
        interval_(interval),
        load_(std::move(load)),
        component_("stages." + services.name),
        content_(std::move(content)),
        next_(std::chrono::steady_clock::now() + interval_),
        counts_(services, label) {}

  Content get() {
    if (interval_.count() == 0) return content_;
    {
      const std::lock_guard lock(mutex_);
      const auto now = std::chrono::steady_clock::now();
      if (now < next_ || looking_) return content_;
      looking_ = true;  // the others go on meanwhile
    }
    look();
    const std::lock_guard lock(mutex_);
    looking_ = false;
    next_ = std::chrono::steady_clock::now() + interval_;
    return content_;
  }

 private:
  /// What changes with the content or the right to read it, as far as the directory can tell.
  struct State {
    std::uint64_t device{0};
    std::uint64_t inode{0};
    std::int64_t size{-1};
    std::int64_t written{0};  ///< nanoseconds, likewise below
    std::int64_t changed{0};
    friend bool operator==(const State&, const State&) = default;
  };

  State state_now() const {
    struct ::stat info {};
    if (::stat(path_.c_str(), &info) != 0) return {};
    const auto nanos = [](const timespec& time) { return time.tv_sec * 1'000'000'000LL + time.tv_nsec; };
    return {info.st_dev, info.st_ino, info.st_size, nanos(info.st_mtim), nanos(info.st_ctim)};
  }

  /// One thread at a time.
  void look() {
    const State now = state_now();
    const bool settled = seen_ && now == *seen_;
    seen_ = now;
    // What could not be read is tried again after a while: the reason may have nothing to do with the file.
    const bool again = failed_ && std::chrono::steady_clock::now() >= retry_;
    if (!settled || (loaded_ && now == *loaded_ && !again)) return;
    loaded_ = now;
    std::string problem;
    const Content content = load_(problem);
    failed_ = content == nullptr;
    if (failed_) {
      retry_ = std::chrono::steady_clock::now() + std::chrono::minutes(1);
      counts_.failures.add(1);
      log::warn(component_, "a lookup table has changed and cannot be used, the one before stays",
                {{"file", path_.native()}, {"problem", problem}});
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      if (content->content() == content_->content()) return;
      content_ = content;
    }
    counts_.reloads.add(1);
    log::info(component_, "lookup table read again", {{"file", path_.native()}});
  }

  const std::filesystem::path path_;
  const std::chrono::nanoseconds interval_;
  const Load load_;
  const std::string component_;
  // A mutex: a copy of a pointer for each batch, and a look now and then.
  std::mutex mutex_;
  Content content_;                             // guarded by mutex_; constant when nobody looks
  std::chrono::steady_clock::time_point next_;  // guarded by mutex_
  bool looking_{false};                         // guarded by mutex_
  // Of the thread that looks.
  std::optional<State> loaded_;  // what was read last, or could not be
  std::optional<State> seen_;
  bool failed_{false};
  std::chrono::steady_clock::time_point retry_;
  const FreshFileCounts counts_;
};

}  // namespace logpipe
