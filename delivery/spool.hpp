#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/channel.hpp"
#include "channel/result.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/delivery.hpp"
#include "delivery/files.hpp"
#include "delivery/run_context.hpp"
#include "delivery/spool_record.hpp"
#include "telemetry/health.hpp"
#include "telemetry/ledger.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

struct SpoolOptions {
  std::string sink;
  std::filesystem::path directory;  ///< this sink's own
  std::uint64_t max_bytes{1ull << 30};
  std::uint64_t segment_bytes{16ull << 20};
  bool sync{true};             ///< segments are synced before the journal says that they are written
  StateFiles* files{nullptr};  ///< for tests; null: the system's. Outlives the spool
  BlockPool* blocks{nullptr};
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
  PipelineAccount* account{nullptr};  ///< what is handed out of it is received there, and due at the sink
};

/// A queue on the disk in front of one sink. To the checkpoint store it is two things, both of the name `SINK/spool`:
/// - a sink, whose output files are the segments. So one record of the journal holds the positions of the sources and
///   the lengths of the segments, and after a crash the segments end where the sources go on.
/// - a source, whose files are the segments. So one record of the journal holds the sink's positions in the segments
///   together with the lengths of its own output files.
/// Nothing is handed to the sink before the journal has it as written: a position of the sink is never behind the end
/// that a segment is cut back to. Both halves are exactly once, and so is the whole. What came from where it cannot be
/// read again is not cut off: it is taken over into a new segment, at least once.
///
/// A segment is written by one process only, and removed when the journal says that the sink has all of it. Damage (a
/// hash that does not match, a segment that is missing) is skipped, kept aside in the directory, counted and logged.
///
/// Threads: write() on one, read() on another, the hooks on any. Ends: write() ends with its channel, read() when
/// write() has ended and all is handed out, or at once then when the intake has ended: the rest waits on the disk.
/// Limits: `max_bytes` on the disk, beyond which, or when the disk is full, write() waits.
class Spool {
 public:
  explicit Spool(SpoolOptions options);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Its name in the checkpoint store and in the ledger.
  static std::string name_of(const std::string& sink) { return sink + "/spool"; }
  static bool is_name(std::string_view name) noexcept { return name.ends_with("/spool"); }
  /// Where the spool of a sink is. Names that are no file names are spelled with `%`.
  static std::filesystem::path directory_of(const std::filesystem::path& state_dir, const std::string& sink);
  /// There is something in it, left by another run.
  static bool has_content(const std::filesystem::path& directory);

  // Hooks for the store, see CheckpointStore::Hooks::committed.
  void written(const CheckpointStore::Committed& news);    ///< of `SINK/spool`
  void delivered(const CheckpointStore::Committed& news);  ///< of the sink
  /// Hook for the sink's completions.
  void completed(const Delivery& delivery) noexcept;

  /// Finds what the last run left and checks it. `progress`: of `SINK/spool`. Once, before write() and read(). What
  /// fails is returned by write().
  void open(CheckpointStore& store, SinkProgress& progress);

  /// Another one of the same directory takes over: the files are left as they are.
  void leave() noexcept { left_.store(true); }

  /// Puts deliveries on the disk until their channel ends.
  Status write(Receiver<Delivery> in, const RunContext& ctx);
  /// Hands them out in the same order.
  Status read(Sender<Delivery> out, const RunContext& ctx);

  std::uint64_t bytes() const;                                                               ///< on the disk
  std::uint64_t events() const noexcept { return events_.load(std::memory_order_relaxed); }  ///< not delivered yet
  std::uint64_t damaged_records() const noexcept { return damaged_.load(std::memory_order_relaxed); }

 private:
  struct Segment {
    std::uint64_t number{0};
    std::filesystem::path path;
    std::uint64_t device{0};
    std::uint64_t inode{0};
    std::uint64_t file_id{0};    // in the store; 0: not read yet
    std::uint64_t length{0};     // written
    std::uint64_t committed{0};  // of it, the journal has
    std::uint64_t delivered{0};  // of it, the sink has, says the journal
    bool closed{false};
    bool read{false};  // to its end
    bool lost{false};  // gone, or another file in its place: nothing of ours to remove
    enum class End : std::uint8_t { none, retiring, retired } end{End::none};
    SourceFileRef file;
  };
  /// What lies behind the end of a recovered segment, to be cut off once what had to be kept of it is committed anew.
  struct Tail {
    std::filesystem::path path;
    std::uint64_t length{0};
  };
  struct Writing {  // write thread only
    std::shared_ptr<Segment> segment;
    std::shared_ptr<const OutputHandle> handle;
    std::string record;
    bool in_trouble{false};
  };
  struct Reading {  // read thread only
    std::shared_ptr<Segment> segment;
    int fd{-1};
    std::uint64_t offset{0};
    std::string buffer;
    bool in_trouble{false};  // the next segment cannot be opened for now
  };

  // Recovery.
  Status recover();
  Status recover_segment(const OutputMark& mark, std::uint64_t number);
  Status keep_tail(int fd, const Segment& segment, std::uint64_t size);
  Result<bool> was_delivered(const std::filesystem::path& path);
  void announce_again();
  void remove_strangers(const std::vector<OutputMark>& marks);
  void count_events(int fd, const Segment& segment);

  // Writing.
  static Delivery nobodys();
  Status put(const Delivery& delivery, const RunContext& ctx);
  Status put_record(const RunContext& ctx, OutputMark& mark);
  Status make_room(std::uint64_t bytes, const RunContext& ctx);
  bool closes_gap();
  bool any_whole() const;
  bool sink_is_gone() const;
  Status begin_segment();
  void close_segment();
  Status try_write(std::uint64_t bytes);
  void report_trouble(const Error& error);
  void report_recovery();

  // Reading.
  bool write_ended() const;
  void sink_has_gone();
  void tell();
  std::optional<Delivery> next(const RunContext& ctx);
  enum class Opened : std::uint8_t { yes, none, not_yet };
  Opened open_next_segment(std::unique_lock<std::mutex>& lock);
  bool open_segment(Segment& segment, Resume& resume);
  void pass_by_delivered(std::uint64_t until);
  void close_reading();
  Delivery read_record(std::uint64_t end);
  Delivery skip_damage(std::uint64_t end, const std::optional<spool::RecordHeader>& header);
  void keep_aside(std::uint64_t end);
  void settle_until(std::uint64_t end, Delivery& delivery);
  void subtract_events(std::uint64_t events) noexcept;
  void remove_delivered(std::unique_lock<std::mutex>& lock);
  void cut_tails(std::unique_lock<std::mutex>& lock);
  static std::filesystem::path done_path(const std::filesystem::path& path) { return path.string() + ".done"; }

  std::filesystem::path path_of(std::uint64_t number) const;

  const SpoolOptions options_;
  const std::string name_;
  const std::string component_;
  StateFiles& files_;
  CheckpointStore* store_{nullptr};  // these two constant after open()
  SinkProgress* progress_{nullptr};
  Status opened_;

  Writing writing_;
  Reading reading_;
  std::vector<std::pair<spool::RecordHeader, std::string>> kept_;  // before write() begins, then its own

  // A mutex, not channels: both threads and whoever commits look at the segments as a whole, once per delivery.
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_.
  std::deque<std::shared_ptr<Segment>> segments_;  // ascending
  std::uint64_t bytes_{0};
  std::uint64_t next_number_{1};
  std::uint64_t news_{0};  // counts what somebody may wait for
  bool write_ended_{false};
  bool sink_gone_{false};
  bool final_commit_{false};
  std::vector<Tail> tails_;
  std::optional<std::pair<std::uint64_t, std::uint64_t>> kept_until_;  // segment and length that hold all of kept_

  std::atomic<bool> left_{false};
  std::atomic<std::uint64_t> events_{0};
  std::atomic<std::uint64_t> damaged_{0};
  std::atomic<std::uint64_t> damaged_bytes_{0};
  std::atomic<std::int64_t> oldest_ns_{0};  // when what was handed out last had been read
  ComponentHealth health_;
  std::vector<MetricCallback> callbacks_;
};

}  // namespace logpipe
