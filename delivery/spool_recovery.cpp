// What a spool does when it is opened.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "delivery/spool.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

using spool::kRecordHeader;
using spool::kSegmentHeader;

/// The number of a segment, whatever became of its name; 0: it is none.
std::uint64_t number_of(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const std::string_view rest(end, static_cast<std::size_t>(name.data() + name.size() - end));
  return error == std::errc() && (rest == ".spool" || rest == ".spool.done") ? number : 0;
}

}  // namespace

void Spool::open(CheckpointStore& store, SinkProgress& progress) {
  store_ = &store;
  progress_ = &progress;
  opened_ = recover();
}

Status Spool::recover() {
  std::error_code error;
  std::filesystem::create_directories(options_.directory, error);
  if (error) {
    return fail(Error::from_errno(error.value(), "make directory " + options_.directory.string()));
  }
  // What the sink may be handed has to be in the journal; after a change of the configuration it may not be yet.
  const bool committed = store_->commit().has_value();
  std::vector<OutputMark> marks = progress_->recovered();
  std::sort(marks.begin(), marks.end(),
            [](const OutputMark& a, const OutputMark& b) { return number_of(a.path) < number_of(b.path); });
  remove_strangers(marks);
  for (const OutputMark& mark : marks) {
    const std::uint64_t number = number_of(mark.path);
    if (number == 0) {
      progress_->retire(mark.path);
      continue;
    }
    if (Status status = recover_segment(mark, number); !status) return status;
  }
  if (!committed) announce_again();
  const std::lock_guard lock(mutex_);
  if (committed) {
    for (const auto& segment : segments_) segment->committed = segment->length;
  }
  if (!segments_.empty()) {
    log::info(component_, "delivering what the last run left",
              {{"events", events_.load()}, {"bytes", bytes_}, {"segments", segments_.size()}});
  }
  return {};
}

/// The journal could not be written: the first commit that succeeds says what it has of the segments.
void Spool::announce_again() {
  std::vector<OutputMark> marks;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& segment : segments_) {
      marks.push_back({segment->path.string(), segment->device, segment->inode, segment->length, nullptr});
    }
  }
  if (!marks.empty()) progress_->complete(nobodys(), marks);
}

/// Files that the journal does not know: a segment of which no byte was announced, or one that was delivered. Anything
/// else is kept aside.
void Spool::remove_strangers(const std::vector<OutputMark>& marks) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory, ignored)) {
    const std::uint64_t number = number_of(entry.path());
    if (number == 0) continue;
    next_number_ = std::max(next_number_, number + 1);
    const bool known =
        std::any_of(marks.begin(), marks.end(), [&](const OutputMark& mark) { return number_of(mark.path) == number; });
    if (known) continue;
    if (entry.path().extension() == ".done" || entry.file_size(ignored) <= kSegmentHeader) {
      static_cast<void>(files_.remove(entry.path()));
      continue;
    }
    const std::filesystem::path aside = entry.path().string() + ".unknown";
    log::error(component_, "a segment that no checkpoint knows is kept aside", {{"path", aside.string()}});
    static_cast<void>(files_.rename(entry.path(), aside));
  }
}

Status Spool::recover_segment(const OutputMark& mark, std::uint64_t number) {
  next_number_ = std::max(next_number_, number + 1);
  auto segment = std::make_shared<Segment>();
  segment->number = number;
  segment->path = mark.path;
  segment->device = mark.device;
  segment->inode = mark.inode;
  segment->length = mark.length;
  segment->closed = true;
  const Result<bool> delivered = was_delivered(mark.path);
  if (!delivered) return fail(delivered.error());
  if (*delivered) {
    progress_->retire(mark.path);
    return {};
  }
  Result<int> fd = files_.open(segment->path, O_RDWR | O_NOFOLLOW);
  if (!fd && files_.exists(segment->path)) return fail(fd.error());  // it is there: what is in it is not given up
  struct stat status {};
  if (fd && ::fstat(*fd, &status) != 0) {
    const int code = errno;
    files_.close(*fd);
    return fail(Error::from_errno(code, "stat " + mark.path));
  }
  if (!fd || static_cast<std::uint64_t>(status.st_ino) != mark.inode) {
    log::error(component_, "a segment is missing; what was in it is lost",
               {{"path", mark.path}, {"bytes", mark.length}});
    damaged_.fetch_add(1);
    damaged_bytes_.fetch_add(mark.length);
    if (fd) files_.close(*fd);
    progress_->retire(mark.path);
    return {};
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  Status kept;
  if (size > segment->length) kept = keep_tail(*fd, *segment, size);
  // Shorter, after a loss of power, it gets its length back: what is missing then reads as damaged.
  if (size < segment->length) kept = files_.truncate(*fd, segment->length, segment->path);
  count_events(*fd, *segment);
  files_.close(*fd);
  const std::lock_guard lock(mutex_);  // metrics are read already
  bytes_ += segment->length;
  segments_.push_back(std::move(segment));
  return kept;
}

/// The sink has all of the segment, and only the journal does not know yet. The file keeps its inode until it does (the
/// next start removes it), so that no other segment gets it, but takes no room.
Result<bool> Spool::was_delivered(const std::filesystem::path& path) {
  const std::filesystem::path done = done_path(path);
  const Result<int> fd = files_.open(done, O_WRONLY | O_NOFOLLOW);
  if (!fd) {
    if (files_.exists(done)) return fail(fd.error());
    return false;
  }
  static_cast<void>(files_.truncate(*fd, 0, done));
  files_.close(*fd);
  return true;
}

/// Behind the committed end stands what the sources will bring again, and what they cannot bring again.
Status Spool::keep_tail(int fd, const Segment& segment, std::uint64_t size) {
  std::string tail(static_cast<std::size_t>(size - segment.length), '\0');
  const bool readable = read_whole(fd, tail, segment.length);
  const std::size_t before = kept_.size();
  for (std::uint64_t at = 0; readable && at < tail.size();) {
    const std::string_view rest = std::string_view(tail).substr(at);
    const auto header = spool::parse_header(rest, {segment.number, segment.length + at});
    if (!header || header->payload_bytes() > rest.size() - kRecordHeader) break;
    const std::string_view payload = rest.substr(kRecordHeader, header->payload_bytes());
    if (!spool::is_intact(*header, payload)) break;
    if (!header->replayable) kept_.emplace_back(*header, payload);
    at += header->bytes();
  }
  log::info(
      component_, "cut back to what was committed",
      {{"path", segment.path.string()}, {"cut_bytes", size - segment.length}, {"kept_records", kept_.size() - before}});
  if (kept_.size() == before) return files_.truncate(fd, segment.length, segment.path);
  tails_.push_back({segment.path, segment.length});
  return {};
}

/// By the headers alone: what of it the sink has already is taken off when the segment is read.
void Spool::count_events(int fd, const Segment& segment) {
  char bytes[kRecordHeader];
  for (std::uint64_t offset = kSegmentHeader; offset + kRecordHeader <= segment.length;) {
    if (!read_whole(fd, bytes, offset)) return;
    const auto header = spool::parse_header({bytes, sizeof(bytes)}, {segment.number, offset});
    if (!header) return;
    events_.fetch_add(header->amount.events);
    offset += header->bytes();
  }
}

}  // namespace logpipe
