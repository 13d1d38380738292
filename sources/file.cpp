#include "sources/file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>

#include <sys/resource.h>

#include "channel/stop_event.hpp"
#include "sources/file_set.hpp"
#include "sources/outbox.hpp"
#include "sources/wake.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

const config::Schema<FileSourceOptions>& schema_of(config::Tag<FileSourceOptions>) {
  using Options = FileSourceOptions;
  using namespace std::chrono_literals;
  static const auto schema =
      config::Schema<Options>("File source")
          .description("Follows log files across growth, rotation and truncation.")
          .required("include", &Options::include,
                    "Files to read: a path or pattern, or a list of them. `*`, `?` and `[…]` match within one "
                    "directory, `**` "
                    "matches any number of directories.")
          .or_single()
          .optional("exclude", &Options::exclude,
                    "Files to leave out. A pattern without a slash is compared with the file's name, others with the "
                    "whole path.")
          .or_single()
          .optional("read_from", &Options::read_from,
                    "Where to begin in files that are there at the start. A checkpoint always wins, and files that "
                    "appear later are "
                    "read from their beginning.")
          .optional("discovery_interval", &Options::discovery_interval,
                    "How often the patterns are walked. inotify tells of changes at once; this finds what it missed "
                    "and tries again "
                    "what could not be read.")
          .range(std::chrono::milliseconds(10), std::chrono::milliseconds(1h))
          .optional("max_line_bytes", &Options::max_line_bytes, "The longest line, without its line feed.")
          .range(kLineBytesMin, kLineBytesMax)
          .optional("oversize", &Options::oversize, "What becomes of a longer line.")
          .optional("charset", &Options::charset, "What the bytes stand for. Everything but UTF-8 is converted to it.")
          .optional("multiline", &Options::multiline, "Which lines are one event.")
          .optional("partial_line_timeout", &Options::partial_line_timeout,
                    "Deliver a last line without a line feed when it has not grown for this long; what is appended to "
                    "it later is an "
                    "event of its own. `0` waits until the line is complete.")
          .range(std::chrono::milliseconds(0), std::chrono::milliseconds(24h))
          .optional("rotate_wait", &Options::rotate_wait,
                    "How long a file that was renamed away or deleted is kept open after its last growth.")
          .range(std::chrono::milliseconds(0), std::chrono::milliseconds(24h))
          .optional("max_open_files", &Options::max_open_files,
                    "How many files are held open; those that are idle are closed and opened again when they change.")
          .range(std::uint32_t{1}, std::uint32_t{1'000'000})
          .check(
              &Options::include,
              [](const std::vector<std::string>& patterns) {
                return !patterns.empty() && std::none_of(patterns.begin(), patterns.end(),
                                                         [](const std::string& text) { return text.empty(); });
              },
              "at least one path or pattern")
          .verify_with([](const Options& options, config::Decoder& decoder) {
            if (options.multiline && options.charset != Charset::utf8)
              decoder.error_at("multiline", "events of several lines are read from UTF-8 only",
                               "remove `charset` or `multiline`");
          });
  return schema;
}

namespace {

using Clock = std::chrono::steady_clock;
using Deadline = std::optional<Clock::time_point>;

Deadline earlier(Deadline a, Deadline b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

LineCutter make_cutter(const FileSourceOptions& options, const SourceServices& services) {
  Counter oversize;
  if (services.metrics != nullptr) {
    oversize = services.metrics->counter({"logpipe_source_oversize_lines_total", "Lines longer than max_line_bytes."},
                                         {{"source", services.name}});
  }
  return {LineLimit{static_cast<std::size_t>(options.max_line_bytes), options.oversize}, std::move(oversize)};
}

/// One run over the files. Round after round every file that is ready gets one turn; between the rounds it hears of
/// changes.
class Reading {
 public:
  Reading(const FileSourceOptions& options, const SourceServices& services, const FileSourceSystem& system,
          Sender<BlockRef> out, const RunContext& ctx)
      : options_(options),
        services_(services),
        ctx_(ctx),
        lines_(make_cutter(options, services)),
        events_(make_event_cutter(options.multiline, lines_, services.metrics, services.name)),
        tools_{lines_, system.read, events_.get(), options.charset},
        outbox_(std::move(out), services, ctx),
        files_(options, services, tools_, system,
               [this] {
                 outbox_.heartbeat().beat();
                 return !ctx_.intake.done();
               }),
        stop_(ctx.intake.token()) {}

  /// Until the intake is cancelled.
  Status follow();
  /// Until everything that is there has been read.
  Status once();

 private:
  enum class Freshness : std::uint8_t { as_known, looked_at };
  bool round(Freshness freshness);
  bool settle_turn(TailedFile& file, Tail::Turn turn);
  bool is_at_end(TailedFile& file);
  bool settle_finish(TailedFile& file, Tail::Turn turn);
  bool finish(TailedFile& file);
  bool finish_event(TailedFile& file);
  bool end_quiet_files(Deadline& next);
  bool end_partial_lines(Deadline& next);
  bool end_pending_events(Deadline& next);
  void walk();
  bool once_over();
  bool stopped() const { return (reading_on_ ? ctx_.run : ctx_.intake).done(); }
  bool read_on(TailedFile& file);
  void end_deleted_files();

  const FileSourceOptions& options_;
  const SourceServices& services_;
  const RunContext& ctx_;
  LineCutter lines_;
  const std::unique_ptr<EventCutter> events_;  // null: every line is an event
  Deadline events_due_;                        // no event is to be finished before
  TailTools tools_;
  Outbox outbox_;
  FileSet files_;
  StopEvent stop_;
  Clock::time_point next_walk_{};
  std::optional<Error> first_error_;  // with `--once`
  static constexpr int kDeferredMax = 100;
  int deferred_{0};         // first turns in a row that were put off, see FileSet::take_changes()
  bool reading_on_{false};  // although the intake has ended
};

void Reading::walk() {
  // A walk finds files under their new names: hear of the renames first.
  if (!services_.once) files_.take_changes();
  const Clock::time_point begun = Clock::now();
  files_.walk();
  const Clock::time_point walked = Clock::now();
  if (!services_.once) files_.take_changes();
  next_walk_ = Clock::now() + files_.walk_interval(walked - begun);
  if (!services_.once || first_error_) return;
  if (const std::string trouble = files_.first_trouble(); !trouble.empty())
    first_error_ = Error{ErrorKind::io, trouble};
}

/// A turn for every file that is ready. False: time to stop.
bool Reading::round(Freshness freshness) {
  std::vector<TailedFile*>& ready = files_.ready();
  std::size_t expected = 0;
  for (std::size_t i = 0; i < ready.size(); ++i) {  // a look may add a file
    TailedFile& file = *ready[i];
    if (freshness == Freshness::looked_at) files_.look(file);
    expected += static_cast<std::size_t>(file.tail.lag());
  }
  for (std::size_t i = 0, count = ready.size(); i < count; ++i) {
    TailedFile& file = *ready[i];
    if (ctx_.intake.done()) return false;
    // Older generations that were renamed since come before it. Not for ever, though.
    if (file.begun == 0 && !services_.once) {
      if (!files_.take_changes() && ++deferred_ < kDeferredMax) continue;
      deferred_ = 0;
    }
    if (file.failed) {
      file.ready = false;
      continue;
    }
    TailedFile* before = file.predecessor;
    if (before != nullptr && !before->failed) {
      if (!before->tail.at_end()) continue;
      if (before->begun == 0 && before->predecessor != nullptr) {  // empty, and waiting itself
        files_.make_ready(*before);
        continue;
      }
      // What it ended with when it was looked at last may be less than it had when its successor came.
      if (!is_at_end(*before)) continue;
      // It has a successor that is being written: nothing will follow its last event.
      if (before->tail.has_pending_event()) {
        if (!finish_event(*before)) return false;
        if (before->ready) continue;
      }
    }
    file.predecessor = nullptr;
    files_.begin(file);
    const std::uint64_t lag = file.tail.lag();
    const Tail::Turn turn = file.tail.read(outbox_, expected);
    expected -= static_cast<std::size_t>(std::min<std::uint64_t>(expected, lag - std::min(lag, file.tail.lag())));
    if (!settle_turn(file, turn)) return false;
  }
  std::erase_if(ready, [](const TailedFile* file) { return !file->ready; });
  files_.open_waiting();
  outbox_.heartbeat().beat();
  return true;
}

bool Reading::settle_turn(TailedFile& file, Tail::Turn turn) {
  switch (turn) {
    case Tail::Turn::stopped:
      return false;
    case Tail::Turn::failed:
      files_.fail(file, file.tail.error());
      file.ready = false;
      break;
    case Tail::Turn::restarted:
      files_.restart(file);
      break;
    case Tail::Turn::idle:
      files_.recovered(file);
      file.ready = false;
      break;
    case Tail::Turn::more:
      files_.recovered(file);
      break;
  }
  files_.settle(file);
  if (file.tail.has_pending_event()) events_due_ = earlier(events_due_, file.changed + events_->timeout());
  return true;
}

/// Whether a file still ends where it was read to; if not it gets its turn. Read once, it ends where it did.
bool Reading::is_at_end(TailedFile& file) {
  if (!services_.once && !files_.look(file)) return false;
  if (file.tail.at_end()) return true;
  files_.make_ready(file);
  return false;
}

bool Reading::settle_finish(TailedFile& file, Tail::Turn turn) {
  if (turn == Tail::Turn::stopped) return false;
  if (turn == Tail::Turn::failed) files_.fail(file, file.tail.error());
  if (turn == Tail::Turn::restarted) files_.restart(file);
  if (turn == Tail::Turn::restarted || !file.tail.at_end()) files_.make_ready(file);
  files_.settle(file);
  return true;
}

/// Delivers an event that was waiting for further lines. False: time to stop. A failure is noted at the file; where the
/// file has changed it gets a turn instead.
bool Reading::finish_event(TailedFile& file) {
  return settle_finish(file, file.tail.finish_event(outbox_));
}

/// The same with an unfinished last line.
bool Reading::finish(TailedFile& file) {
  Tail::Turn turn = Tail::Turn::more;
  while (turn == Tail::Turn::more) {
    turn = file.tail.finish(outbox_);
    if (turn == Tail::Turn::more && stopped()) return false;
  }
  return settle_finish(file, turn);
}

/// Files whose names have gone are closed once their writers are done with them.
bool Reading::end_quiet_files(Deadline& next) {
  if (files_.gone().empty()) return true;
  const Clock::time_point now = Clock::now();
  std::vector<TailedFile*> quiet;
  bool named = false;
  for (TailedFile* file : files_.gone()) {
    if (file->ready || file->failed) continue;
    const Clock::time_point due = file->changed + options_.rotate_wait;
    if (due > now) {
      next = earlier(next, due);
    } else if (files_.look(*file); !file->tail.at_end()) {
      files_.make_ready(*file);
      next = now;
    } else {
      quiet.push_back(file);
      named = named || !file->tail.unlinked();
    }
  }
  // It may have come back under a name that nobody reported.
  if (named) walk();
  for (TailedFile* file : quiet) {
    if (!file->gone() || file->ready || file->failed || !file->tail.at_end()) continue;
    if (!finish(*file)) return false;
    if (file->ready || file->failed || !is_at_end(*file)) {
      next = now;
    } else {
      files_.release(*file, FileSet::Release::finished);
    }
  }
  if (!quiet.empty() && files_.waiting() > 0) next = next_walk_ = now;
  return true;
}

bool Reading::end_partial_lines(Deadline& next) {
  if (options_.partial_line_timeout.count() == 0) return true;
  const Clock::time_point now = Clock::now();
  for (std::size_t i = 0; i < files_.files().size(); ++i) {  // a look may add a file
    TailedFile& file = *files_.files()[i];
    if (!file.tail.has_partial_line() || file.ready || file.failed) continue;
    const Clock::time_point due = file.changed + options_.partial_line_timeout;
    if (due > now) {
      next = earlier(next, due);
    } else if (is_at_end(file) && !finish(file)) {
      return false;
    }
  }
  return true;
}

bool Reading::end_pending_events(Deadline& next) {
  if (!events_due_) return true;
  const Clock::time_point now = Clock::now();
  if (*events_due_ <= now) {
    events_due_.reset();
    for (std::size_t i = 0; i < files_.files().size(); ++i) {  // a look may add a file
      TailedFile& file = *files_.files()[i];
      if (!file.tail.has_pending_event() || file.ready) continue;
      // What cannot be read now is tried again.
      const Clock::time_point due = (file.failed ? now : file.changed) + events_->timeout();
      if (due > now) {
        events_due_ = earlier(events_due_, due);
      } else if (is_at_end(file) && !finish_event(file)) {
        return false;
      }
    }
  }
  next = earlier(next, events_due_);
  return true;
}

/// Reads a file to the end that it has now, and before it what is read before it. False: time to stop.
bool Reading::read_on(TailedFile& file) {
  if (TailedFile* before = std::exchange(file.predecessor, nullptr); before != nullptr && !read_on(*before))
    return false;
  Tail::Turn turn = Tail::Turn::more;
  while (!file.failed && (turn == Tail::Turn::more || turn == Tail::Turn::restarted)) {
    if (stopped()) return false;
    if (turn == Tail::Turn::restarted && !files_.look(file)) break;
    files_.begin(file);
    turn = file.tail.read(outbox_, static_cast<std::size_t>(file.tail.lag()));
    if (!settle_turn(file, turn)) return false;
    outbox_.heartbeat().beat();
  }
  return true;
}

/// At the end: what is left of a file to which no name leads any more can be read now or never. As long as the drain
/// may take.
void Reading::end_deleted_files() {
  reading_on_ = true;
  outbox_.read_on();
  std::vector<TailedFile*> deleted;
  for (std::size_t i = 0; i < files_.files().size(); ++i) {  // a look may add a file
    TailedFile& file = *files_.files()[i];
    if (file.failed || !file.tail.is_open() || file.tail.is_inflated()) continue;
    if (files_.look(file) && file.tail.unlinked()) deleted.push_back(&file);
  }
  for (TailedFile* file : deleted) {
    const bool read = !stopped() && read_on(*file) && !file->failed && finish(*file);
    if (const std::uint64_t left = file->tail.lag(); !read || left > 0) {
      log::warn("sources." + services_.name, "a deleted file was not read to its end before the stop",
                {{"path", file->origin.view()}, {"bytes", left}});
    } else {
      files_.release(*file, FileSet::Release::finished);
    }
  }
}

Status Reading::follow() {
  if (stop_.fd() < 0) return fail(Error::from_errno(errno, "eventfd"));
  walk();
  while (!ctx_.intake.done()) {
    if (!round(Freshness::looked_at)) break;
    if (Clock::now() >= next_walk_) walk();
    if (!files_.ready().empty()) {
      if (!outbox_.send_if_due()) break;
      files_.take_changes();
      continue;
    }
    Deadline until = next_walk_;
    if (!end_quiet_files(until) || !end_partial_lines(until) || !end_pending_events(until)) break;
    if (!files_.ready().empty()) continue;
    until = earlier(until, outbox_.settle());
    if (outbox_.failed()) break;
    outbox_.heartbeat().wait();
    std::array<pollfd, 2> events{pollfd{stop_.fd(), POLLIN, 0}, pollfd{files_.inotify_fd(), POLLIN, 0}};
    wait_for(events, until);
    files_.take_changes();
  }
  end_deleted_files();  // where nothing can be sent any more it says what that costs
  outbox_.send();
  return {};
}

Status Reading::once() {
  walk();
  if (files_.files().empty() && !first_error_ && files_.waiting() == 0) {
    std::string patterns;
    for (const std::string& pattern : options_.include) patterns += (patterns.empty() ? "" : ", ") + pattern;
    return fail(ErrorKind::io, "no file matches " + patterns);
  }
  while (!files_.files().empty() && !ctx_.intake.done()) {
    if (!round(Freshness::as_known) || !once_over() || !outbox_.send_if_due()) break;
    if (files_.files().empty() && files_.waiting() > 0) {
      walk();
      if (files_.files().empty() && !files_.starvation().empty()) break;
    }
  }
  outbox_.send();
  if (!first_error_ && files_.files().empty() && !files_.starvation().empty()) {
    first_error_ = Error{ErrorKind::io, files_.starvation()};
  }
  if (first_error_ && !ctx_.intake.done()) return fail(*first_error_);
  return {};
}

/// Closes the files that are read to the end they had. False: time to stop.
bool Reading::once_over() {
  std::vector<TailedFile*> over;
  for (const auto& file : files_.files()) {
    if (!file->ready) over.push_back(file.get());
  }
  for (TailedFile* file : over) {
    if (!file->failed && !finish(*file)) return false;
    if (file->ready) continue;  // it has begun again
    if (file->failed && !first_error_) first_error_ = file->tail.error();
    files_.release(*file, FileSet::Release::closed);
  }
  return true;
}

class FileSource : public Source {
 public:
  FileSource(FileSourceOptions options, SourceServices services, FileSourceSystem system)
      : options_(std::move(options)), services_(std::move(services)), system_(std::move(system)) {}

  Status run(Sender<BlockRef> out, const RunContext& ctx) override {
    Reading reading(options_, services_, system_, std::move(out), ctx);
    return services_.once ? reading.once() : reading.follow();
  }

 private:
  const FileSourceOptions options_;
  const SourceServices services_;
  const FileSourceSystem system_;
};

}  // namespace

std::size_t descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return static_cast<std::size_t>(limit.rlim_cur);
}

std::unique_ptr<Source> make_file_source(FileSourceOptions options, SourceServices services, FileSourceSystem system) {
  return std::make_unique<FileSource>(std::move(options), std::move(services), std::move(system));
}

bool reads_file(const FileSourceOptions& options, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path directory = fs::current_path(error);
  const auto normal = [&](const fs::path& given) { return (directory / given).lexically_normal().string(); };
  const ExcludeList exclude(options.exclude, directory.string());
  const auto matches = [&](const std::string& candidate) {
    return !exclude.matches(candidate) &&
           std::any_of(options.include.begin(), options.include.end(), [&](const std::string& pattern) {
             return Glob(normal(pattern), directory.string()).matches(candidate);
           });
  };
  if (matches(normal(path))) return true;
  const fs::path real = fs::weakly_canonical(directory / path, error);
  return !error && matches(real.string());
}

}  // namespace logpipe
