#include "sources/stdin.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/assert.hpp"
#include "channel/stop_event.hpp"
#include "sources/lines.hpp"
#include "sources/outbox.hpp"
#include "sources/tail.hpp"
#include "sources/wake.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

const config::Schema<StdinSourceOptions>& schema_of(config::Tag<StdinSourceOptions>) {
  using Options = StdinSourceOptions;
  static const auto schema =
      config::Schema<Options>("Standard input")
          .description("Reads lines from a pipe, a terminal, a socket or a redirected file until its end.")
          .optional("max_line_bytes", &Options::max_line_bytes, "The longest line, without its line feed.")
          .range(kLineBytesMin, kLineBytesMax)
          .optional("oversize", &Options::oversize, "What becomes of a longer line.")
          .optional("multiline", &Options::multiline, "Which lines are one event.");
  return schema;
}

namespace {

/// Bytes that come once: what is read and not yet a whole line is carried from block to block.
///
/// The unfinished line lies behind the end of the outbox's block, or in `saved_` while there is none. Of a line beyond
/// the limit only the head is kept (nothing under `drop`), and the rest is counted until its end has come.
class StreamReading {
 public:
  StreamReading(int fd, LineCutter& lines, EventCutter* events, Outbox outbox, const RunContext& ctx,
                std::string source)
      : fd_(fd),
        lines_(lines),
        events_(events),
        outbox_(std::move(outbox)),
        ctx_(ctx),
        stop_(ctx.intake.token()),
        file_(CheckpointStore::unreplayable(source, "stdin")) {}

  Status run();

 private:
  static constexpr std::size_t kReadBytes = BlockPool::kBlockBytes;
  enum class Wait : std::uint8_t { readable, stop };

  Wait wait_for_input();
  bool readable_now() const;
  bool hung_up() const;
  bool place(std::size_t need, std::size_t expected);
  bool prepare();
  void save();
  void take(std::size_t length);
  bool skip_to_line_end(std::size_t& from, std::size_t length);
  void take_oversize();
  void finish();
  bool finish_event();
  std::size_t take_whole(std::size_t total, Follows follows);
  void hand_over();

  const int fd_;
  LineCutter& lines_;
  EventCutter* const events_;  // null: every line is an event
  Outbox outbox_;
  const RunContext& ctx_;
  StopEvent stop_;
  const SourceFileRef file_;
  std::uint64_t position_{0};  // of the unfinished line's (or event's) first byte
  std::size_t partial_{0};     // bytes of it that are kept
  std::uint64_t skipped_{0};   // bytes of it that are not; 0: it is within the limit so far
  bool continues_{false};      // inside a line that is delivered in pieces
  PendingEvent pending_;       // what is known of the unfinished event
  std::chrono::steady_clock::time_point last_read_{};
  std::string saved_;  // its bytes while there is no block; at most max_line_bytes + 1
};

bool StreamReading::readable_now() const {
  pollfd input{fd_, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

/// The other end of a terminal has gone, which reads as EIO and means the end of the input.
bool StreamReading::hung_up() const {
  pollfd input{fd_, POLLIN, 0};
  return poll(&input, 1, 0) > 0 && (input.revents & POLLHUP) != 0;
}

/// Waits for input or the stop, and sends what is held by the flush rule meanwhile.
StreamReading::Wait StreamReading::wait_for_input() {
  for (;;) {
    if (ctx_.intake.done()) return Wait::stop;
    if (readable_now()) return Wait::readable;
    save();
    auto until = outbox_.settle();
    if (outbox_.failed()) return Wait::stop;
    if (pending_.lines > 0) {
      const auto due = last_read_ + events_->timeout();
      if (due <= std::chrono::steady_clock::now()) {
        if (!finish_event()) return Wait::stop;
        continue;
      }
      until = until ? std::min(*until, due) : due;
    }
    outbox_.heartbeat().wait();
    std::array<pollfd, 2> events{pollfd{stop_.fd(), POLLIN, 0}, pollfd{fd_, POLLIN, 0}};
    wait_for(events, until);
    outbox_.heartbeat().beat();
  }
}

/// Copies the unfinished line out of the block, which may leave. It then lies in both places.
void StreamReading::save() {
  if (outbox_.block() != nullptr && partial_ > 0) saved_.assign(outbox_.block()->end(), partial_);
}

/// Sees to it that the unfinished line lies in a block with room for `need` bytes. False: time to stop.
bool StreamReading::place(std::size_t need, std::size_t expected) {
  const Block* held = outbox_.block();
  if (held != nullptr && held->room() >= need) return true;
  save();
  // A line beyond the usual block grows in steps of a quarter, so that it is not copied for each read.
  if (partial_ > BlockPool::kBlockBytes / 2) need += partial_ / 4;
  Block* block = outbox_.room(need, expected);
  if (block == nullptr) return false;
  LOGPIPE_ASSERT(saved_.size() >= partial_);  // every way by which a block leaves saves first
  std::memcpy(block->end(), saved_.data(), partial_);
  return true;
}

/// Makes room behind the unfinished line. False: time to stop.
bool StreamReading::prepare() {
  int available = 0;
  if (ioctl(fd_, FIONREAD, &available) != 0 || available <= 0) available = 4096;
  const std::size_t wanted = std::min(static_cast<std::size_t>(available), kReadBytes);
  const std::size_t need = partial_ + std::min<std::size_t>(wanted, 16 * 1024);
  return place(need, partial_ + wanted);
}

Status StreamReading::run() {
  if (stop_.fd() < 0) return fail(Error::from_errno(errno, "eventfd"));
  std::optional<Error> error;
  while (wait_for_input() == Wait::readable && prepare()) {
    Block& block = *outbox_.block();
    const ssize_t length = read(fd_, block.end() + partial_, std::min(block.room() - partial_, kReadBytes));
    if (length == 0) {
      finish();
      break;
    }
    if (length < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      if (errno == EIO && hung_up()) {
        finish();
        break;
      }
      error = Error::from_errno(errno, "read standard input");
      finish();
      break;
    }
    last_read_ = std::chrono::steady_clock::now();
    take(static_cast<std::size_t>(length));
    if (outbox_.due()) {
      save();
      if (!outbox_.send()) break;
    }
    outbox_.heartbeat().beat();
  }
  if (ctx_.intake.done()) hand_over();
  outbox_.send();
  if (error) return fail(*error);
  return {};
}

/// Stopped in the middle of a line: its bytes cannot be read again, so they go as they are.
void StreamReading::hand_over() {
  if (outbox_.failed() || partial_ + skipped_ == 0) return;
  if (place(std::max<std::size_t>(partial_, 1), partial_)) {
    finish();
  } else if (!outbox_.failed()) {
    log::warn("sources." + file_->source, "no memory for an unfinished line at the stop",
              {{"bytes", partial_ + skipped_}});
  }
}

/// Takes the whole lines out of the unfinished one and the `length` bytes read behind it.
void StreamReading::take(std::size_t length) {
  if (skipped_ > 0) {
    std::size_t from = 0;
    if (!skip_to_line_end(from, length)) return;
    // The head has been appended; what was read behind its line end moves up to it.
    length -= from;
  }
  if (partial_ == 0 && length == 0) return;
  const Block& block = *outbox_.block();
  const LineLimit& limit = lines_.limit();
  std::size_t total = partial_ + length;
  // Only the new bytes can hold a line end, and while they do not and the limit is far nothing is settled.
  const bool any_end = std::memchr(block.data() + block.size() + partial_, '\n', length) != nullptr;
  const std::size_t far = events_ != nullptr ? pending_.bytes + events_->line_bytes_max() : limit.bytes;
  if (any_end || total > far) {
    const std::size_t taken = take_whole(total, Follows::perhaps);
    position_ += taken;
    total -= taken;
  }
  partial_ = total;
  if (pending_.lines == 0 && partial_ > limit.bytes && limit.policy != Oversize::split) {
    const std::size_t kept = limit.policy == Oversize::truncate ? limit.bytes : 0;
    skipped_ = partial_ - kept;
    partial_ = kept;
  }
}

std::size_t StreamReading::take_whole(std::size_t total, Follows follows) {
  if (events_ != nullptr) return events_->take(outbox_, file_, position_, total, pending_, follows);
  return lines_.take_lines(outbox_, file_, position_, total, continues_);
}

/// Delivers an event that was waiting for further lines. False: time to stop.
bool StreamReading::finish_event() {
  if (!place(partial_, partial_)) return false;
  const std::size_t taken = take_whole(partial_, Follows::no_line);
  position_ += taken;
  partial_ -= taken;
  save();
  return true;
}

/// Looks for the end of a line that is too long; `from` is then what of the read bytes belonged to it, and the bytes
/// behind it have moved to the block's new end.
bool StreamReading::skip_to_line_end(std::size_t& from, std::size_t length) {
  char* data = outbox_.block()->end() + partial_;
  const auto* feed = static_cast<const char*>(std::memchr(data, '\n', length));
  if (feed == nullptr) {
    skipped_ += length;
    return false;
  }
  from = static_cast<std::size_t>(feed + 1 - data);
  skipped_ += from;
  take_oversize();
  std::memmove(outbox_.block()->end(), data + from, length - from);
  return true;
}

/// Settles a line of which `partial_` bytes are kept and `skipped_` are not.
void StreamReading::take_oversize() {
  const std::uint64_t end = position_ + partial_ + skipped_;
  const bool keep = lines_.limit().policy == Oversize::truncate;
  outbox_.append(file_, position_, end, partial_, keep ? SegmentKind::truncated : SegmentKind::dropped);
  lines_.count_oversize();
  position_ = end;
  partial_ = 0;
  skipped_ = 0;
}

/// The input has ended: a last line without a line feed is a line.
void StreamReading::finish() {
  if (skipped_ > 0) {
    take_oversize();
  } else if (partial_ > 0 && events_ != nullptr) {
    position_ += take_whole(partial_, Follows::no_byte);
    partial_ = 0;
  } else if (partial_ > 0) {
    char* const data = outbox_.block()->end();
    const bool marked =
        LineCutter::has_mark(position_, {data, partial_}) && partial_ > LineCutter::kByteOrderMark.size();
    const std::size_t mark = marked ? LineCutter::kByteOrderMark.size() : 0;
    if (marked) std::memmove(data, data + mark, partial_ - mark);
    outbox_.append(file_, position_, position_ + partial_, partial_ - mark,
                   marked ? SegmentKind::joined : SegmentKind::lines);
    position_ += partial_;
    partial_ = 0;
  }
}

/// A redirected file: it can be read again, so reading goes on where the checkpoint says.
Status read_file(int fd, LineCutter& lines, EventCutter* events, Outbox& outbox, const SourceServices& services,
                 const RunContext& ctx) {
  Descriptor own(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!own) return fail(Error::from_errno(errno, "duplicate standard input"));
  std::array<char, 4096> name{};
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name.data(), name.size());
  const std::string path = length > 0 ? std::string(name.data(), static_cast<std::size_t>(length)) : "stdin";
  const off_t offset = lseek(fd, 0, SEEK_CUR);  // the shell may have read some of it already
  Resume resume =
      services.checkpoints->attach(services.name, path, fd, offset > 0 ? static_cast<std::uint64_t>(offset) : 0);
  if (resume.known) log::info("sources." + services.name, "standard input continued", {{"offset", resume.offset}});

  TailTools tools{lines, system_read(), events};
  Tail tail(std::move(own), std::move(resume), tools);
  Tail::Turn turn = Tail::Turn::more;
  while (turn != Tail::Turn::stopped && !ctx.intake.done()) {
    if (tail.look() == Tail::Look::truncated) return fail(ErrorKind::io, "standard input (" + path + ") was truncated");
    const bool over = tail.at_end();
    turn = over ? tail.finish(outbox) : tail.read(outbox, static_cast<std::size_t>(tail.lag()));
    if (turn == Tail::Turn::failed) {
      outbox.send();
      return fail(tail.error());
    }
    if (turn == Tail::Turn::restarted) return fail(ErrorKind::io, "standard input (" + path + ") was overwritten");
    if (over && tail.position() >= tail.size()) break;
    if (!outbox.send_if_due()) break;
    outbox.heartbeat().beat();
  }
  outbox.send();
  return {};
}

class StdinSource : public Source {
 public:
  StdinSource(StdinSourceOptions options, SourceServices services, int fd)
      : options_(std::move(options)), services_(std::move(services)), fd_(fd) {}

  Status run(Sender<BlockRef> out, const RunContext& ctx) override {
    struct stat info {};
    const int flags = fcntl(fd_, F_GETFL);
    if (flags < 0 || fstat(fd_, &info) != 0) return fail(Error::from_errno(errno, "standard input cannot be read"));
    if ((flags & O_PATH) != 0) return fail(ErrorKind::io, "standard input is closed");  // see daemon/main.cpp
    if ((flags & O_ACCMODE) == O_WRONLY) return fail(ErrorKind::io, "standard input is not open for reading");
    if (S_ISDIR(info.st_mode)) return fail(ErrorKind::io, "standard input is a directory");
    Counter oversize;
    if (services_.metrics != nullptr) {
      oversize = services_.metrics->counter(
          {"logpipe_source_oversize_lines_total", "Lines longer than max_line_bytes."}, {{"source", services_.name}});
    }
    LineCutter lines({static_cast<std::size_t>(options_.max_line_bytes), options_.oversize}, std::move(oversize));
    const auto events = make_event_cutter(options_.multiline, lines, services_.metrics, services_.name);
    Outbox outbox(std::move(out), services_, ctx);
    if (S_ISREG(info.st_mode)) return read_file(fd_, lines, events.get(), outbox, services_, ctx);
    // Fewer and fuller reads; more than the system allows is refused, which is fine.
    if (S_ISFIFO(info.st_mode)) fcntl(fd_, F_SETPIPE_SZ, 1024 * 1024);
    return StreamReading(fd_, lines, events.get(), std::move(outbox), ctx, services_.name).run();
  }

 private:
  const StdinSourceOptions options_;
  const SourceServices services_;
  const int fd_;
};

}  // namespace

std::unique_ptr<Source> make_stdin_source(StdinSourceOptions options, SourceServices services, int fd) {
  return std::make_unique<StdinSource>(std::move(options), std::move(services), fd);
}

}  // namespace logpipe
