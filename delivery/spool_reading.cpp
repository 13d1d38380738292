// The half of a spool that hands out.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <stop_token>
#include <utility>

#include "delivery/spool.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

using spool::kRecordHeader;
using spool::kSegmentHeader;

/// Damaged places that one run keeps aside: enough to look into, and no second spool.
constexpr std::uint64_t kAsideMax = 64;
/// Between two attempts to open a segment.
constexpr std::chrono::milliseconds kOpenPause{200};

}  // namespace

Status Spool::read(Sender<Delivery> out, const RunContext& ctx) {
  const std::stop_callback wake(ctx.intake.token(), [this] { tell(); });
  while (std::optional<Delivery> delivery = next(ctx)) {
    const Amount amount = delivery->admitted;
    if (options_.account != nullptr) {
      options_.account->received(name_, amount);
      options_.account->passed(amount, amount);
    }
    SendStatus sent = SendStatus::aborted;
    if (!ctx.intake.done()) sent = out.send(std::move(*delivery), ctx.intake);
    // A stop was asked for. As long as the sources have something to put on the disk, the sink has to make room for it;
    // then it is handed what it takes at once.
    if (sent == SendStatus::aborted) {
      sent = write_ended() ? out.try_send(std::move(*delivery)) : out.send(std::move(*delivery), ctx.run);
    }
    if (sent == SendStatus::sent) continue;
    close_reading();
    if (sent == SendStatus::aborted) break;
    if (sent == SendStatus::closed) sink_has_gone();
    if (sent == SendStatus::full && options_.account != nullptr) {
      SinkAccount& sink = options_.account->sink(options_.sink);
      sink.discarded("spooled", amount);  // it stays where it is
      sink.completed(amount);
    }
    return {};  // why the sink has gone it says itself
  }
  close_reading();
  if (ctx.run.done()) return fail(error_of(ctx.run));
  return {};
}

/// Nobody makes room any more.
void Spool::sink_has_gone() {
  {
    const std::lock_guard lock(mutex_);
    sink_gone_ = true;
    ++news_;
  }
  changed_.notify_all();
}

bool Spool::write_ended() const {
  const std::lock_guard lock(mutex_);
  return write_ended_;
}

/// Something has changed that somebody may wait for.
void Spool::tell() {
  {
    const std::lock_guard lock(mutex_);
    ++news_;
  }
  changed_.notify_all();
}

/// Nothing when there is nothing more to hand out in this run.
std::optional<Delivery> Spool::next(const RunContext& ctx) {
  const std::stop_token stop = ctx.run.token();
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const std::uint64_t seen = news_;
    remove_delivered(lock);
    cut_tails(lock);
    const Opened opened = reading_.segment ? Opened::yes : open_next_segment(lock);
    if (opened == Opened::not_yet) {
      if (write_ended_ && ctx.intake.done()) return std::nullopt;  // it stays for the next run
      changed_.wait_for(lock, stop, kOpenPause, [&] { return news_ != seen; });
      continue;
    }
    if (opened == Opened::none) {
      if (write_ended_) return std::nullopt;
    } else if (const Segment& segment = *reading_.segment; reading_.offset < segment.committed) {
      const std::uint64_t end = segment.committed;
      lock.unlock();
      return read_record(end);
    } else if (segment.closed && reading_.offset >= segment.length) {
      reading_.segment->read = true;
      close_reading();
      continue;
    } else if (write_ended_ && final_commit_) {
      // The journal cannot be written. Who was asked to stop does not wait for it.
      if (ctx.intake.done()) return std::nullopt;
    } else if (write_ended_) {
      final_commit_ = true;
      lock.unlock();
      static_cast<void>(store_->commit());
      lock.lock();
      continue;
    }
    changed_.wait(lock, stop, [&] { return news_ != seen; });
  }
  return std::nullopt;
}

Spool::Opened Spool::open_next_segment(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    const auto found = std::find_if(segments_.begin(), segments_.end(), [](const auto& each) { return !each->read; });
    if (found == segments_.end()) return Opened::none;
    const std::shared_ptr<Segment> segment = *found;
    lock.unlock();
    Resume resume;
    const bool opened = open_segment(*segment, resume);
    lock.lock();
    if (opened) {
      segment->file = resume.file;
      segment->file_id = resume.file->id;
      segment->delivered = std::max(segment->delivered, resume.offset);
      reading_.segment = segment;
      pass_by_delivered(resume.offset);
      return Opened::yes;
    }
    if (!segment->lost) return Opened::not_yet;
    segment->read = true;
    segment->closed = true;
    segment->delivered = segment->committed = segment->length;
  }
}

/// Into `reading_`. Lost is only what is certainly gone; anything else that fails (no descriptors, no permission) is
/// tried again.
bool Spool::open_segment(Segment& segment, Resume& resume) {
  const Result<int> fd = files_.open(segment.path, O_RDONLY | O_NOFOLLOW);
  std::string trouble;
  struct stat status {};
  if (!fd) {
    trouble = fd.error().message;
    segment.lost = !files_.exists(segment.path);
  } else if (::fstat(*fd, &status) != 0) {
    trouble = "stat " + segment.path.string();
  } else if (static_cast<std::uint64_t>(status.st_ino) != segment.inode) {
    trouble = segment.path.string() + " is another file";
    segment.lost = true;
  } else {
    resume = store_->attach(name_, segment.path.string(), *fd, kSegmentHeader);
    if (resume.file->id == 0) trouble = "cannot identify " + segment.path.string();
  }
  if (trouble.empty()) {
    if (std::exchange(reading_.in_trouble, false)) log::info(component_, "reading again");
    reading_.fd = *fd;
    return true;
  }
  if (fd) files_.close(*fd);
  if (segment.lost) {
    log::error(component_, "a segment is missing; what was in it is lost",
               {{"error", trouble}, {"bytes", segment.length}});
    damaged_.fetch_add(1);
    damaged_bytes_.fetch_add(segment.length);
  } else if (!std::exchange(reading_.in_trouble, true)) {
    log::warn(component_, "cannot open a segment, tried again until it is possible", {{"error", trouble}});
  }
  return false;
}

/// What the sink has already is not in the spool any more.
void Spool::pass_by_delivered(std::uint64_t until) {
  reading_.offset = kSegmentHeader;
  char bytes[kRecordHeader];
  while (reading_.offset < until && read_whole(reading_.fd, bytes, reading_.offset)) {
    const auto header = spool::parse_header({bytes, sizeof(bytes)}, {reading_.segment->number, reading_.offset});
    if (!header) break;
    subtract_events(header->amount.events);
    reading_.offset += header->bytes();
  }
  reading_.offset = std::max(until, std::uint64_t{kSegmentHeader});
}

void Spool::close_reading() {
  if (reading_.fd >= 0) files_.close(std::exchange(reading_.fd, -1));
  reading_.segment.reset();
}

/// The record at the present offset; all of it lies before `end`.
Delivery Spool::read_record(std::uint64_t end) {
  const std::uint64_t offset = reading_.offset;
  char bytes[kRecordHeader];
  if (end - offset < kRecordHeader || !read_whole(reading_.fd, bytes, offset)) {
    return skip_damage(end, std::nullopt);
  }
  const auto header = spool::parse_header({bytes, sizeof(bytes)}, {reading_.segment->number, offset});
  if (!header || header->payload_bytes() > end - offset - kRecordHeader) return skip_damage(end, std::nullopt);
  reading_.buffer.resize(header->payload_bytes());
  Delivery delivery(*options_.blocks);
  const bool good = read_whole(reading_.fd, reading_.buffer, offset + kRecordHeader) &&
                    spool::is_intact(*header, reading_.buffer) && spool::restore(*header, reading_.buffer, delivery);
  if (!good) return skip_damage(end, header);
  oldest_ns_.store(static_cast<std::int64_t>(header->read_ns));
  settle_until(offset + header->bytes(), delivery);
  return delivery;
}

void Spool::settle_until(std::uint64_t end, Delivery& delivery) {
  delivery.ranges.push_back({reading_.segment->file, reading_.offset, end, {}});
  delivery.seal();
  reading_.offset = end;
}

/// Goes on at the next record that can be found. With a good header it is known what was in the damaged one.
Delivery Spool::skip_damage(std::uint64_t end, const std::optional<spool::RecordHeader>& header) {
  const std::uint64_t offset = reading_.offset;
  std::uint64_t next = end;
  if (header) {
    next = offset + header->bytes();
  } else {
    std::string rest(static_cast<std::size_t>(end - offset), '\0');
    if (read_whole(reading_.fd, rest, offset)) {
      next = spool::find_header(rest, {reading_.segment->number, offset}, offset + 1).value_or(end);
    }
  }
  Delivery delivery(*options_.blocks);
  if (header) {
    delivery.admitted = header->amount;
    delivery.discards.push_back({Reason::damaged, false, header->amount});
  }
  log::error(component_, "a place in the spool is damaged and skipped",
             {{"path", reading_.segment->path.string()},
              {"offset", offset},
              {"bytes", next - offset},
              {"events", header ? std::to_string(header->amount.events) : std::string("unknown")}});
  keep_aside(next);
  damaged_.fetch_add(1);
  damaged_bytes_.fetch_add(next - offset);
  settle_until(next, delivery);
  return delivery;
}

void Spool::keep_aside(std::uint64_t end) {
  if (damaged_.load() >= kAsideMax) return;
  std::string bytes(static_cast<std::size_t>(end - reading_.offset), '\0');
  if (!read_whole(reading_.fd, bytes, reading_.offset)) return;
  const std::filesystem::path path = reading_.segment->path.string() + ".damaged-" + std::to_string(reading_.offset);
  const Result<int> fd = files_.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
  if (!fd) return;
  for (std::uint64_t done = 0; done < bytes.size();) {
    const Result<std::size_t> written = files_.write_at(*fd, std::span(bytes).subspan(done), done, path);
    if (!written) break;
    done += *written;
  }
  files_.close(*fd);
}

void Spool::subtract_events(std::uint64_t events) noexcept {
  std::uint64_t now = events_.load(std::memory_order_relaxed);
  while (!events_.compare_exchange_weak(now, now - std::min(now, events), std::memory_order_relaxed)) {
  }
}

/// A segment that the sink has all of leaves the journal first and then the disk: a crash in between finds a file that
/// nobody misses.
void Spool::remove_delivered(std::unique_lock<std::mutex>& lock) {
  for (std::size_t i = 0; i < segments_.size();) {
    const std::shared_ptr<Segment> segment = segments_[i];
    if (segment->end == Segment::End::retired) {
      segments_.erase(segments_.begin() + static_cast<std::ptrdiff_t>(i));
      bytes_ -= segment->length;
      ++news_;
      lock.unlock();
      if (!segment->lost) static_cast<void>(files_.remove(done_path(segment->path)));
      if (segment->file) store_->finished(segment->file, segment->length);
      changed_.notify_all();
      lock.lock();
      continue;
    }
    ++i;
    if (!segment->read || segment->end != Segment::End::none || segment->committed < segment->length ||
        segment->delivered < segment->length) {
      continue;
    }
    segment->end = Segment::End::retiring;
    lock.unlock();
    if (!segment->lost) static_cast<void>(files_.rename(segment->path, done_path(segment->path)));
    progress_->retire(segment->path.string());
    lock.lock();
  }
}

void Spool::cut_tails(std::unique_lock<std::mutex>& lock) {
  if (tails_.empty() || !kept_until_) return;
  for (const auto& segment : segments_) {
    if (segment->number == kept_until_->first && segment->committed < kept_until_->second) return;
  }
  const std::vector<Tail> tails = std::exchange(tails_, {});
  lock.unlock();
  for (const Tail& tail : tails) {
    const Result<int> fd = files_.open(tail.path, O_RDWR | O_NOFOLLOW);
    if (!fd) continue;  // delivered and gone meanwhile
    static_cast<void>(files_.truncate(*fd, tail.length, tail.path));
    files_.close(*fd);
  }
  lock.lock();
}

}  // namespace logpipe
