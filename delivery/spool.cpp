#include "delivery/spool.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "delivery/retry.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

using spool::kSegmentHeader;

constexpr std::string_view kSuffix = ".spool";
/// Short pauses, without jitter: the disk is ours, and nobody else comes back at the same time.
constexpr RetryPolicy kPauses{
    .initial = std::chrono::milliseconds(50), .max = std::chrono::milliseconds(1000), .jitter = Jitter::none};

std::uint64_t wall_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace

Spool::Spool(SpoolOptions options)
    : options_(std::move(options)),
      name_(name_of(options_.sink)),
      component_("sinks." + options_.sink + ".spool"),
      files_(options_.files != nullptr ? *options_.files : StateFiles::system()) {
  if (options_.health != nullptr) health_ = options_.health->component(component_);
  if (options_.metrics == nullptr) return;
  MetricsRegistry& metrics = *options_.metrics;
  const Labels labels{{"sink", options_.sink}};
  const auto value = [](const std::atomic<std::uint64_t>& of) { return static_cast<double>(of.load()); };
  callbacks_.push_back(metrics.gauge_callback({"logpipe_spool_bytes", "Bytes of a sink's spool on the disk."}, labels,
                                              [this] { return static_cast<double>(bytes()); }));
  callbacks_.push_back(metrics.gauge_callback({"logpipe_spool_max_bytes", "The most bytes a sink's spool may take."},
                                              labels, [max = options_.max_bytes] { return static_cast<double>(max); }));
  callbacks_.push_back(
      metrics.gauge_callback({"logpipe_spool_events", "Events in a spool that the sink does not have."}, labels,
                             [this, value] { return value(events_); }));
  callbacks_.push_back(metrics.gauge_callback(
      {"logpipe_spool_oldest_seconds", "Time since the oldest event was read that the sink does not have."}, labels,
      [this] {
        const std::int64_t oldest = oldest_ns_.load();
        return events_ == 0 || oldest == 0 ? 0.0 : (static_cast<double>(wall_ns()) - static_cast<double>(oldest)) / 1e9;
      }));
  callbacks_.push_back(metrics.counter_callback(
      {"logpipe_spool_damaged_records_total", "Places in a spool that could not be read back as they were written."},
      labels, [this, value] { return value(damaged_); }));
  callbacks_.push_back(metrics.counter_callback(
      {"logpipe_spool_damaged_bytes_total", "Bytes of a spool that could not be read back as they were written."},
      labels, [this, value] { return value(damaged_bytes_); }));
}

/// What the sink has takes no room any more. The journal still names the segments, so an empty file stays of each.
Spool::~Spool() {
  callbacks_.clear();
  close_reading();
  if (left_.load()) return;
  for (const auto& segment : segments_) {
    const bool all = !segment->lost && segment->closed && segment->committed >= segment->length &&
                     segment->delivered >= segment->length;
    if (!all) continue;
    if (segment->end == Segment::End::none && !files_.rename(segment->path, done_path(segment->path))) continue;
    const Result<int> fd = files_.open(done_path(segment->path), O_WRONLY | O_NOFOLLOW);
    if (!fd) continue;
    static_cast<void>(files_.truncate(*fd, 0, segment->path));
    files_.close(*fd);
  }
}

std::filesystem::path Spool::directory_of(const std::filesystem::path& state_dir, const std::string& sink) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string name;
  for (const char c : sink) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || (c == '.' && !name.empty());
    if (plain) {
      name += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      (name += '%') += kHex[byte >> 4];
      name += kHex[byte & 15];
    }
  }
  return state_dir / "spool" / name;
}

bool Spool::has_content(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (entry.path().extension() == kSuffix) return true;
  }
  return false;
}

std::filesystem::path Spool::path_of(std::uint64_t number) const {
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < 12 ? 12 - digits.size() : 0, '0');
  return options_.directory / (digits + std::string(kSuffix));
}

std::uint64_t Spool::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

// --- Hooks.

void Spool::written(const CheckpointStore::Committed& news) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& segment : segments_) {
      for (const auto& [inode, length] : news.outputs) {
        if (segment->inode == inode) segment->committed = std::max(segment->committed, length);
      }
      const bool gone = std::find(news.retired.begin(), news.retired.end(), segment->inode) != news.retired.end();
      if (gone && segment->end == Segment::End::retiring) segment->end = Segment::End::retired;
    }
    ++news_;
  }
  changed_.notify_all();
}

void Spool::delivered(const CheckpointStore::Committed& news) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& segment : segments_) {
      if (segment->file_id == 0) continue;
      for (const auto& [id, offset] : news.positions) {
        if (segment->file_id == id) segment->delivered = std::max(segment->delivered, offset);
      }
    }
    ++news_;
  }
  changed_.notify_all();
}

void Spool::completed(const Delivery& delivery) noexcept {
  subtract_events(delivery.admitted.events);
}

// --- Writing.

Status Spool::write(Receiver<Delivery> in, const RunContext& ctx) {
  struct Ended {  // however it ends, nothing more comes
    Spool& spool;
    ~Ended() {
      spool.close_segment();
      {
        const std::lock_guard lock(spool.mutex_);
        spool.write_ended_ = true;
        ++spool.news_;
      }
      spool.changed_.notify_all();
    }
  } ended{*this};
  if (!opened_) return opened_;
  for (auto& [header, payload] : kept_) {
    Delivery delivery(*options_.blocks);
    if (!spool::restore(header, payload, delivery)) continue;
    OutputMark mark;
    writing_.record.clear();
    spool::append_record(writing_.record, delivery, {});
    if (Status status = put_record(ctx, mark); !status) return status;
    Delivery settled = nobodys();
    progress_->complete(settled, std::span(&mark, 1));
    events_.fetch_add(header.amount.events, std::memory_order_relaxed);
  }
  kept_.clear();
  {
    const std::lock_guard lock(mutex_);
    kept_until_ = writing_.segment ? std::make_pair(writing_.segment->number, writing_.segment->length)
                                   : std::make_pair(std::uint64_t{0}, std::uint64_t{0});
    ++news_;
  }
  changed_.notify_all();
  while (std::optional<Delivery> delivery = in.recv(ctx.run)) {
    if (Status status = put(*delivery, ctx); !status) return status;
  }
  if (ctx.run.done()) return fail(error_of(ctx.run));
  return {};
}

/// For positions and lengths alone: it is of no pipeline, so no account has it under way.
Delivery Spool::nobodys() {
  Delivery delivery;
  delivery.pipeline = ~std::uint32_t{0};
  return delivery;
}

Status Spool::put(const Delivery& delivery, const RunContext& ctx) {
  if (delivery.encoded.empty()) {  // only positions move
    progress_->complete(delivery);
    return {};
  }
  writing_.record.clear();
  spool::append_record(writing_.record, delivery, {});
  OutputMark mark;
  if (Status status = put_record(ctx, mark); !status) return status;
  events_.fetch_add(delivery.delivered.events, std::memory_order_relaxed);
  progress_->complete(delivery, std::span(&mark, 1));
  return {};
}

/// Writes `writing_.record`, however long it takes.
Status Spool::put_record(const RunContext& ctx, OutputMark& mark) {
  Retry pauses(kPauses, 0);
  for (;;) {
    if (Status room = make_room(writing_.record.size(), ctx); !room) return room;
    Status written = writing_.segment ? Status() : begin_segment();
    if (written) written = try_write(writing_.record.size());
    if (written) break;
    report_trouble(written.error());
    if (pauses.wait(ctx) == Retry::Next::stopped) return fail(error_of(ctx.run));
    if (sink_is_gone()) return fail(ErrorKind::closed, "the sink has gone");
  }
  report_recovery();
  Segment& segment = *writing_.segment;
  {
    const std::lock_guard lock(mutex_);
    segment.length += writing_.record.size();
    bytes_ += writing_.record.size();
  }
  mark = {segment.path.string(), segment.device, segment.inode, segment.length,
          options_.sync ? writing_.handle : nullptr};
  return {};
}

/// Waits until the record fits into the spool. A segment that is full is closed, and so is one that others wait for:
/// only a closed one can be removed.
Status Spool::make_room(std::uint64_t bytes, const RunContext& ctx) {
  if (writing_.segment && writing_.segment->length > kSegmentHeader &&
      writing_.segment->length + bytes > options_.segment_bytes) {
    close_segment();
  }
  const auto fits = [&] {
    return bytes_ == 0 || bytes_ + bytes + (writing_.segment ? 0 : kSegmentHeader) <= options_.max_bytes;
  };
  std::unique_lock lock(mutex_);
  if (fits()) return {};
  for (bool told = false; !fits();) {
    if (sink_gone_) return fail(ErrorKind::closed, "the sink has gone");
    const std::uint64_t seen = news_;
    lock.unlock();
    if (closes_gap()) return {};
    close_segment();
    if (!std::exchange(told, true)) {
      health_.set(HealthState::degraded, "the spool is full; its sources wait");
      log::warn(component_, "the spool is full; its sources wait", {{"max_bytes", options_.max_bytes}});
    }
    lock.lock();
    const auto worth_a_look = [&] { return sink_gone_ || fits() || (news_ != seen && !any_whole()); };
    if (!changed_.wait(lock, ctx.run.token(), worth_a_look)) return fail(error_of(ctx.run));
  }
  lock.unlock();
  if (!writing_.in_trouble) health_.set(HealthState::ok);
  return {};
}

/// Whether what comes next has to be taken beyond the limit. While only some parts of a batch are there (one that was
/// split by level), or something came ahead of its turn, the store commits nothing: waiting for the sink would be
/// waiting for ever, for it is handed nothing that is not committed. What closes the gap is this one, or behind it in a
/// queue that has limits of its own.
bool Spool::closes_gap() {
  if (!store_->commit()) return false;  // a journal that cannot be written says nothing about gaps
  const std::lock_guard lock(mutex_);
  return !segments_.empty() && !any_whole();
}

/// There is a segment that the journal has all of: the sink is handed it, and then it makes room. Under mutex_.
bool Spool::any_whole() const {
  return std::any_of(segments_.begin(), segments_.end(),
                     [](const auto& segment) { return segment->committed >= segment->length; });
}

bool Spool::sink_is_gone() const {
  const std::lock_guard lock(mutex_);
  return sink_gone_;
}

Status Spool::begin_segment() {
  auto segment = std::make_shared<Segment>();
  {
    const std::lock_guard lock(mutex_);
    segment->number = next_number_;
  }
  segment->path = path_of(segment->number);
  Result<int> fd = files_.open(segment->path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW);
  if (!fd) return fail(fd.error());
  auto handle = std::make_shared<const OutputHandle>(*fd);
  struct stat status {};
  const std::string header = spool::segment_header(segment->number, wall_ns());
  Result<std::size_t> written = files_.write_at(*fd, header, 0, segment->path);
  Status made = written ? Status() : fail(written.error());
  if (made && *written != header.size()) made = fail(Error::from_errno(ENOSPC, "write " + segment->path.string()));
  if (made && ::fstat(*fd, &status) != 0) made = fail(Error::from_errno(errno, "stat " + segment->path.string()));
  if (made && options_.sync) made = files_.sync_directory(options_.directory);
  segment->device = status.st_dev;
  segment->inode = status.st_ino;
  segment->length = kSegmentHeader;
  OutputMark mark{segment->path.string(), segment->device, segment->inode, segment->length,
                  options_.sync ? handle : nullptr};
  if (made) made = progress_->announce(mark);
  if (!made) {
    static_cast<void>(files_.remove(segment->path));
    return made;
  }
  writing_.segment = segment;
  writing_.handle = std::move(handle);
  const std::lock_guard lock(mutex_);
  segment->committed = kSegmentHeader;
  bytes_ += kSegmentHeader;
  ++next_number_;
  segments_.push_back(std::move(segment));
  return {};
}

void Spool::close_segment() {
  if (!writing_.segment) return;
  {
    const std::lock_guard lock(mutex_);
    writing_.segment->closed = true;
    ++news_;
  }
  writing_.segment.reset();
  writing_.handle.reset();
  changed_.notify_all();
}

/// One attempt; what came through of a failed one is taken back.
Status Spool::try_write(std::uint64_t bytes) {
  const Segment& segment = *writing_.segment;
  const int fd = writing_.handle->fd();
  spool::move_record(writing_.record, {segment.number, segment.length});
  for (std::uint64_t done = 0; done < bytes;) {
    const std::span<const char> rest = std::span(writing_.record).subspan(done);
    const Result<std::size_t> written = files_.write_at(fd, rest, segment.length + done, segment.path);
    if (!written) {
      if (done > 0) static_cast<void>(files_.truncate(fd, segment.length, segment.path));
      return fail(written.error());
    }
    done += *written;
  }
  return {};
}

void Spool::report_trouble(const Error& error) {
  if (!writing_.in_trouble)
    log::warn(component_, "cannot write, paused until it is possible", {{"error", error.message}});
  writing_.in_trouble = true;
  health_.set(HealthState::degraded, error.message);
}

void Spool::report_recovery() {
  if (!writing_.in_trouble) return;
  writing_.in_trouble = false;
  health_.set(HealthState::ok);
  log::info(component_, "writing again");
}

}  // namespace logpipe
