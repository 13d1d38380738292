#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/delivery.hpp"
#include "event/batch.hpp"
#include "event/block.hpp"
#include "event/encoded.hpp"
#include "sinks/file_layer.hpp"
#include "sinks/sink.hpp"
#include "tests/support/blocks.hpp"

namespace logpipe::test {

/// A directory that goes with its owner.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "logpipe-sinks-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string file(std::string_view name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void put(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}
inline void add(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::app) << text;
}

/// Everything an Encoded would write, through its iovecs.
inline std::string written(const Encoded& encoded, const Block* block) {
  std::string result;
  iovec pieces[7];
  while (result.size() < encoded.size()) {
    const std::size_t count = encoded.iovecs(block, result.size(), pieces, 7);
    if (count == 0) break;
    for (std::size_t i = 0; i < count; ++i)
      result.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return result;
}

/// Remembers what a sink says about its progress, in order: `announce PATH LENGTH`, `complete EVENTS`, `retire PATH`.
class FakeProgress final : public SinkProgress {
 public:
  void complete(const Delivery& delivery, std::span<const OutputMark> outputs) override {
    complete_together(std::span(&delivery, 1), outputs);
  }
  void complete_together(std::span<const Delivery> deliveries, std::span<const OutputMark> outputs) override {
    std::lock_guard lock(mutex_);
    completed_ += deliveries.size();
    std::string sizes;
    for (const Delivery& delivery : deliveries) sizes += ' ' + std::to_string(delivery.encoded.size());
    log_.push_back("complete" + sizes);
    for (const OutputMark& mark : outputs) marks_.push_back(mark);
    last_outputs_.assign(outputs.begin(), outputs.end());
    changed_.notify_all();
  }
  Status announce(const OutputMark& output) override {
    if (on_announce) on_announce(output);
    std::lock_guard lock(mutex_);
    if (announce_failures > 0) {
      --announce_failures;
      return fail(ErrorKind::io, "append to the journal: No space left on device");
    }
    announced_.push_back(output);
    log_.push_back("announce " + std::filesystem::path(output.path).filename().string() + " " +
                   std::to_string(output.length));
    return {};
  }
  void retire(const std::string& path) override {
    std::lock_guard lock(mutex_);
    log_.push_back("retire " + std::filesystem::path(path).filename().string());
  }
  std::vector<OutputMark> recovered() const override { return from_last_run; }

  /// False when it takes longer than a test may.
  bool wait_completed(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return completed_ >= count; });
  }
  std::vector<std::string> log() const {
    std::lock_guard lock(mutex_);
    return log_;
  }
  std::size_t completed() const {
    std::lock_guard lock(mutex_);
    return completed_;
  }
  std::vector<OutputMark> marks() const {
    std::lock_guard lock(mutex_);
    return marks_;
  }
  std::vector<OutputMark> announced() const {
    std::lock_guard lock(mutex_);
    return announced_;
  }
  std::vector<OutputMark> last_outputs() const {
    std::lock_guard lock(mutex_);
    return last_outputs_;
  }

  std::vector<OutputMark> from_last_run;
  std::function<void(const OutputMark&)> on_announce;
  int announce_failures{0};

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t completed_{0};
  std::vector<std::string> log_;
  std::vector<OutputMark> marks_, announced_, last_outputs_;
};

/// A FileLayer whose calls can be made to fail, and whose clock and waits cost no time.
class FaultyLayer final : public FileLayer {
 public:
  /// One planned outcome of a writev: at most `most` bytes, or an errno.
  struct Plan {
    std::size_t most{SIZE_MAX};
    int code{0};
  };
  std::deque<Plan> writes;  // taken one per call; empty: the real thing
  std::deque<int> syncs;    // errno per call; 0 or empty: the real thing
  std::deque<int> opens;    // the same, for opens that may create
  std::vector<std::chrono::milliseconds> waits;
  std::function<bool(std::size_t)> on_wait;  // how many waits there were; false: behave as if stopped
  std::function<void()> on_write;
  std::chrono::steady_clock::time_point clock{std::chrono::seconds(1000)};
  std::optional<std::chrono::system_clock::time_point> wall;  // none: the real one
  std::deque<int> renames;                                    // errno per call; 0 or empty: the real thing
  std::vector<std::string> removed;
  std::uint64_t birth{0};  // 0: the real one
  int sync_calls{0};
  std::vector<std::string> synced_directories;
  std::vector<std::uint64_t> synced;  // how long a file was each time it was synced

  int open(const char* path, int flags, mode_t mode) override {
    if (!opens.empty()) {
      const int code = opens.front();
      opens.pop_front();
      if (code != 0) return errno = code, -1;
    }
    return FileLayer::open(path, flags, mode);
  }
  ssize_t writev(int fd, const iovec* pieces, int count) override {
    if (on_write) on_write();
    if (writes.empty()) return FileLayer::writev(fd, pieces, count);
    const Plan plan = writes.front();
    writes.pop_front();
    if (plan.code != 0) return errno = plan.code, -1;
    std::vector<iovec> some;
    std::size_t left = plan.most;
    for (int i = 0; i < count && left > 0; ++i) {
      iovec piece = pieces[i];
      if (piece.iov_len > left) piece.iov_len = left;
      left -= piece.iov_len;
      some.push_back(piece);
    }
    return FileLayer::writev(fd, some.data(), static_cast<int>(some.size()));
  }
  int sync_data(int fd) override {
    ++sync_calls;
    if (!syncs.empty()) {
      const int code = syncs.front();
      syncs.pop_front();
      if (code != 0) return errno = code, -1;
    }
    struct ::stat info {};
    if (FileLayer::fstat(fd, info) == 0 && S_ISREG(info.st_mode)) {
      synced.push_back(static_cast<std::uint64_t>(info.st_size));
    } else {
      std::error_code ignored;
      synced_directories.push_back(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored));
    }
    return FileLayer::sync_data(fd);
  }
  std::chrono::steady_clock::time_point now() override { return clock; }
  std::chrono::system_clock::time_point wall_now() override { return wall ? *wall : FileLayer::wall_now(); }
  std::uint64_t birth_ns(int fd) override { return birth != 0 ? birth : FileLayer::birth_ns(fd); }
  int rename(const char* from, const char* to) override {
    if (!renames.empty()) {
      const int code = renames.front();
      renames.pop_front();
      if (code != 0) return errno = code, -1;
    }
    return FileLayer::rename(from, to);
  }
  int remove(const char* path) override {
    removed.push_back(path);
    return FileLayer::remove(path);
  }
  bool wait(std::chrono::milliseconds duration, const std::stop_token& stop) override {
    waits.push_back(duration);
    clock += duration;
    if (on_wait && !on_wait(waits.size())) return false;
    return !stop.stop_requested();
  }
};

/// A sink on its own thread, fed through a channel.
class SinkRun {
 public:
  explicit SinkRun(std::unique_ptr<Sink> sink, std::size_t capacity = 16) : sink_(std::move(sink)) {
    auto channel = make_channel<Delivery>(capacity);
    sender_.emplace(std::move(channel.sender));
    Cancellable run = with_cancel(Context::background());
    cancel_ = run.cancel;
    context_ = run.context;
    const RunContext contexts{with_cancel(run.context).context, run.context};
    thread_ = std::thread([this, contexts, in = std::move(channel.receiver)]() mutable {
      status_ = sink_->run(std::move(in), contexts);
      // The end of the run is the end of the receiver: it was moved into run().
    });
  }
  ~SinkRun() {
    if (thread_.joinable()) {
      cancel_.cancel("test is over");
      sender_.reset();
      thread_.join();
    }
  }

  const Sink& sink() const { return *sink_; }
  void reopen() { sink_->reopen(); }
  /// Lines as one batch.
  Delivery delivery(std::string_view lines) {
    Batch batch;
    batch.open(freeze(block_of(pool_, lines)));
    return delivery(batch);
  }
  Delivery delivery(const Batch& batch) {
    Delivery result(pool_);
    sink_->encode(batch, batch.events, result);
    result.seal(batch);
    return result;
  }
  SendStatus send(std::string_view lines) { return sender_->send(delivery(lines), Context::background()); }
  SendStatus send(Delivery delivery) { return sender_->send(std::move(delivery), Context::background()); }
  void abort() { cancel_.cancel("drain timeout"); }
  void close() { sender_.reset(); }
  Status join() {
    thread_.join();
    return status_;
  }
  Status finish() {
    close();
    return join();
  }

 private:
  BlockPool pool_{64 << 20};
  std::unique_ptr<Sink> sink_;
  std::optional<Sender<Delivery>> sender_;
  Cancel cancel_;
  Context context_;
  Status status_;
  std::thread thread_;
};

inline SinkServices services(SinkProgress& progress, MetricsRegistry* metrics = nullptr,
                             HealthTable* health = nullptr) {
  return {"out", &progress, metrics, health};
}

}  // namespace logpipe::test
