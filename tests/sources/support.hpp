#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/channel.hpp"
#include "delivery/checkpoint.hpp"
#include "sources/file.hpp"
#include "sources/source.hpp"

namespace logpipe::test {

/// Long enough for the slowest sanitizer; only a failing test ever waits for it.
inline constexpr std::chrono::seconds kPatience{60};

/// A directory of its own for each test, removed at the end.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "logpipe-sources-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = std::filesystem::canonical(name).string();
    REQUIRE(chmod(path_.c_str(), 0755) == 0);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

/// Appends with one write call.
inline void append(const std::string& path, std::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  REQUIRE(fd >= 0);
  REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  close(fd);
}

inline void rename_file(const std::string& from, const std::string& to) {
  std::filesystem::rename(from, to);
}

/// Checkpoints that a test sets and watches. Files are told apart by device and inode.
class FakeStore : public CheckpointStore {
 public:
  struct Finished {
    std::string path;
    std::uint64_t end;
  };

  /// What attach() answers for the file that `path` is now.
  void remember(const std::string& path, std::uint64_t offset) {
    struct stat info {};
    REQUIRE(stat(path.c_str(), &info) == 0);
    const std::lock_guard lock(mutex_);
    remembered_[{info.st_dev, info.st_ino}] = offset;
  }
  /// Waits for that many calls of finished().
  std::vector<Finished> await_finished(std::size_t count) {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, kPatience, [&] { return finished_.size() >= count; }));
    return finished_;
  }
  std::size_t restarts() const {
    const std::lock_guard lock(mutex_);
    return restarts_;
  }
  std::size_t attached() const {
    const std::lock_guard lock(mutex_);
    return attached_;
  }

  void begin_run(std::vector<std::string>, SinkFeeds) override {}
  void change_run(RunChange) override {}
  void set_account(const std::string&, std::size_t, SinkAccount*) override {}
  void split(const std::string&, const std::string&) override {}
  void join(const std::string&, const std::string&) override {}
  Resume attach(const std::string& source, const std::string& path, int fd, std::uint64_t first_offset) override {
    struct stat info {};
    fstat(fd, &info);
    const std::lock_guard lock(mutex_);
    ++attached_;
    const auto known = remembered_.find({info.st_dev, info.st_ino});
    return {make_file(source, path), known == remembered_.end() ? first_offset : known->second,
            known != remembered_.end()};
  }
  Resume restart(const SourceFileRef& file, int) override {
    const std::lock_guard lock(mutex_);
    ++restarts_;
    return {make_file(file->source, file->path), 0, false};
  }
  void finished(const SourceFileRef& file, std::uint64_t end) override {
    const std::lock_guard lock(mutex_);
    finished_.push_back({file->path, end});
    changed_.notify_all();
  }
  SinkProgress& sink(const std::string&, Hooks) override { std::abort(); }
  Status run(const Context&) override { return {}; }
  Status commit() override { return {}; }
  std::vector<Position> positions() const override { return {}; }
  std::vector<LedgerSnapshot::Lifetime> lifetime() const override { return {}; }
  std::uint64_t commits() const noexcept override { return 0; }
  std::uint64_t commit_failures() const noexcept override { return 0; }

 private:
  SourceFileRef make_file(const std::string& source, const std::string& path) {
    auto file = std::make_shared<SourceFile>();
    file->id = ++ids_;
    file->source = source;
    file->path = path;
    return file;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> remembered_;
  std::vector<Finished> finished_;
  std::size_t restarts_{0};
  std::size_t attached_{0};
  std::uint64_t ids_{0};
};

/// A line as the pipeline will see it.
struct Line {
  std::string text;
  std::string path;
  std::uint64_t file_id;
  std::uint64_t begin;  ///< in the file
  std::uint64_t end;
  SegmentKind kind;
  bool terminated;
};

/// Splits a block as Batch::open does, checking that its segments tell the truth about themselves.
inline void take_lines_of(const Block& block, std::vector<Line>& lines) {
  REQUIRE(!block.segments.empty());
  std::uint32_t at = 0;
  for (const Segment& segment : block.segments) {
    CHECK(segment.begin == at);  // no gaps: every byte of a block belongs to a segment
    at = segment.end;
    const std::string text(block.text(segment.begin, segment.end - segment.begin));
    if (segment.kind == SegmentKind::events) {
      CHECK(segment.file_end - segment.file_begin == text.size());
      auto begin = std::lower_bound(block.event_begins.begin(), block.event_begins.end(), segment.begin);
      REQUIRE(begin != block.event_begins.end());
      CHECK(*begin == segment.begin);
      while (begin != block.event_begins.end() && *begin < segment.end) {
        const std::uint32_t from = *begin - segment.begin;
        ++begin;
        const std::uint32_t next = begin == block.event_begins.end() ? segment.end : std::min(*begin, segment.end);
        const std::uint32_t to = next - segment.begin;
        const bool feed = text[to - 1] == '\n';
        lines.push_back({text.substr(from, to - from - (feed ? 1 : 0)), segment.file->path, segment.file->id,
                         segment.file_begin + from, segment.file_begin + to, segment.kind, feed});
      }
      continue;
    }
    if (segment.kind != SegmentKind::lines) {
      if (segment.kind == SegmentKind::dropped) CHECK(text.empty());
      lines.push_back(
          {text, segment.file->path, segment.file->id, segment.file_begin, segment.file_end, segment.kind, false});
      continue;
    }
    CHECK(segment.file_end - segment.file_begin == text.size());
    CHECK(!text.empty());
    for (std::size_t from = 0; from < text.size();) {
      const std::size_t feed = text.find('\n', from);
      const std::size_t next = feed == std::string::npos ? text.size() : feed + 1;
      const std::size_t body = feed == std::string::npos ? text.size() : feed;
      lines.push_back({text.substr(from, body - from), segment.file->path, segment.file->id, segment.file_begin + from,
                       segment.file_begin + next, segment.kind, feed != std::string::npos});
      from = next;
    }
  }
  CHECK(at == block.size());
}

/// Everything a source needs, with a channel whose other end is the test's.
struct Surroundings {
  explicit Surroundings(std::uint64_t budget = 64 * 1024 * 1024, std::size_t capacity = 4)
      : pool(budget),
        channel(make_channel<BlockRef>(capacity)),
        run(with_cancel(Context::background())),
        intake(with_cancel(run.context)),
        context{intake.context, run.context} {}

  SourceServices services(std::string name = "app") {
    SourceServices made;
    made.name = std::move(name);
    made.pool = &pool;
    made.checkpoints = &store;
    made.metrics = &metrics;
    made.health = &health;
    made.once = once;
    return made;
  }
  double metric(std::string_view name) const { return metrics.value(name, {{"source", "app"}}).value_or(-1); }

  BlockPool pool;
  FakeStore store;
  MetricsRegistry metrics;
  HealthTable health;
  Channel<BlockRef> channel;
  Cancellable run;
  Cancellable intake;
  RunContext context;
  bool once{false};
};

/// A source on its own thread, and what has come from it.
class Running {
 public:
  Running(Surroundings& surroundings, std::unique_ptr<Source> source)
      : surroundings_(surroundings),
        receiver_(std::move(surroundings.channel.receiver)),
        source_(std::move(source)),
        thread_([this, sender = std::move(surroundings.channel.sender)]() mutable {
          status_ = source_->run(std::move(sender), surroundings_.context);
        }) {}
  ~Running() {
    surroundings_.run.cancel();
    receiver_.reset();
    if (thread_.joinable()) thread_.join();
  }

  /// The next block, or null when the source has ended. Fails the test when nothing comes.
  BlockRef next_block() {
    BlockRef block;
    const RecvStatus status =
        receiver_->recv(block, Context::background(), std::chrono::steady_clock::now() + kPatience);
    REQUIRE(status != RecvStatus::timeout);
    if (status != RecvStatus::received) return nullptr;
    take_lines_of(*block, lines);
    return block;
  }
  /// Receives until there are that many lines.
  void await(std::size_t count) {
    while (lines.size() < count) {
      if (!next_block()) break;
    }
    REQUIRE(lines.size() == count);
  }
  /// Receives until this line has come.
  void await_line(const std::string& text) {
    for (std::size_t seen = 0;; ++seen) {
      while (seen >= lines.size()) REQUIRE(next_block() != nullptr);
      if (lines[seen].text == text) return;
    }
  }
  /// Stops the intake, takes what still comes and returns what run() returned.
  Status stop() {
    surroundings_.intake.cancel();
    return end();
  }
  /// Takes what comes until the source ends by itself.
  Status end() {
    while (next_block()) {
    }
    thread_.join();
    return std::move(*status_);
  }
  Receiver<BlockRef>& receiver() { return *receiver_; }
  void drop_receiver() { receiver_.reset(); }
  Status join() {
    thread_.join();
    return std::move(*status_);
  }

  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const Line& line : lines) all.push_back(line.text);
    return all;
  }
  std::vector<std::string> texts_of(const std::string& path) const {
    std::vector<std::string> all;
    for (const Line& line : lines) {
      if (line.path == path) all.push_back(line.text);
    }
    return all;
  }

  std::vector<Line> lines;

 private:
  Surroundings& surroundings_;
  std::optional<Receiver<BlockRef>> receiver_;
  std::unique_ptr<Source> source_;
  std::optional<Status> status_;
  std::thread thread_;
};

inline FileSourceOptions follow(std::vector<std::string> include) {
  FileSourceOptions options;
  options.include = std::move(include);
  options.discovery_interval = std::chrono::hours(1);  // inotify alone must do
  return options;
}

inline std::vector<std::string> list(std::initializer_list<const char*> texts) {
  return {texts.begin(), texts.end()};
}

}  // namespace logpipe::test
