#include "sinks/file.hpp"

#include <limits.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "delivery/compression.hpp"
#include "delivery/retry.hpp"
#include "sinks/gathered.hpp"
#include "sinks/output_set.hpp"
#include "telemetry/log.hpp"

namespace logpipe {
namespace {

using std::chrono::milliseconds;

/// Short pauses, without jitter: the disk is ours, and nobody else comes back at the same time.
constexpr RetryPolicy kPauses{.initial = milliseconds(50), .max = milliseconds(1000), .jitter = Jitter::none};

/// Deliveries are gathered until a frame has this much content for a file: small frames compress badly.
constexpr std::size_t kFrameBytes = 256 * 1024;
/// What gathered deliveries may hold. Small ones may each have a block of their own.
constexpr std::size_t kGatheredMemoryMax = 4 * 1024 * 1024;

/// Events of a batch sorted by the file they go to; scratch of one worker, kept from batch to batch.
struct Groups {
  struct Group {
    std::string path;
    std::uint32_t events{0};
    std::uint32_t begin{0};
  };
  std::vector<Group> groups;
  std::unordered_map<std::string, std::uint32_t> by_path;
  std::vector<std::uint32_t> group_of;
  std::vector<Event> sorted;
  std::string path;
  Arena arena;

  void clear() {
    groups.clear();
    by_path.clear();
    group_of.clear();
    sorted.clear();
    arena.reset();
  }
  std::uint32_t group(const std::string& name) {
    const auto [found, inserted] = by_path.try_emplace(name, static_cast<std::uint32_t>(groups.size()));
    if (inserted) groups.push_back({name, 0, 0});
    return found->second;
  }
};

class FileSink final : public Sink {
 public:
  FileSink(FileSinkOptions options, SinkServices services, FileLayer& layer)
      : options_(std::move(options)),
        name_(services.name),
        component_("sinks." + services.name),
        progress_(*services.progress),
        layer_(layer),
        base_(base_of(options_.path.spelling())),
        only_path_(options_.path.is_constant() ? path_from(base_, options_.path) : std::string()),
        outputs_(services.name,
                 {options_.mode.bits, options_.create_directories, !options_.path.has_fields(),
                  options_.fsync != Fsync::never, options_.max_open_files, options_.compression, options_.rotate},
                 progress_, services.metrics, layer) {
    if (options_.compression != Compression::none) {
      compressor_.emplace(options_.compression,
                          options_.compression_level.value_or(levels_of(options_.compression).usual));
    }
    if (services.metrics) {
      const Labels labels{{"sink", name_}};
      paused_ = services.metrics->counter(
          {"logpipe_sink_paused_seconds_total", "Time a sink could not write (no space, I/O error).", 1e9}, labels);
      errors_ =
          services.metrics->counter({"logpipe_sink_write_errors_total", "Failed writes, each retry included."}, labels);
      if (compressor_) {
        content_bytes_ = services.metrics->counter(
            {"logpipe_sink_uncompressed_bytes_total", "Bytes a file sink has compressed, before compression."}, labels);
        frame_bytes_ = services.metrics->counter(
            {"logpipe_sink_compressed_bytes_total", "Bytes a file sink has compressed, after compression."}, labels);
      }
    }
    if (services.health) {
      health_ = services.health->component(component_);
      heartbeat_ = services.health->heartbeat(component_);
    }
  }

  void encode(const Batch& batch, std::span<const Event> events, Delivery& out) const override;
  Status run(Receiver<Delivery> in, const RunContext& ctx) override;
  void reopen() noexcept override { reopen_.store(true, std::memory_order_relaxed); }

 private:
  /// How the writing of some bytes ended.
  enum class End : std::uint8_t { written, again, stopped, failed };
  struct Touched {
    OutputMark mark;
    std::uint64_t begin{0};
    bool announced{false};
  };

  RecvStatus next(Receiver<Delivery>& in, const Context& ctx);
  bool is_due() const;
  /// Writes what is gathered and completes it.
  End flush(const std::stop_token& stop);
  End write(const std::stop_token& stop);
  End append(const Gathered::File& from, const std::stop_token& stop);
  End append_to(OutputFile& file, const Gathered::File& from, const std::stop_token& stop);
  End sync(OutputFile& file, const std::stop_token& stop);
  End take_back(OutputFile& file, std::uint64_t begin, const std::stop_token& stop);
  End compress(const Gathered::File& from);
  /// What is going to be written for a file.
  std::size_t bytes_of(const Gathered::File& from) const { return compressor_ ? frame_.size() : from.bytes; }
  std::size_t offer(const Gathered::File& from, std::size_t skip);
  void reopen_untouched();
  bool pause(const std::string& why, const std::stop_token& stop);
  void resume();

  const FileSinkOptions options_;
  const std::string name_;
  const std::string component_;
  SinkProgress& progress_;
  FileLayer& layer_;
  const std::string base_;       // in front of a relative path
  const std::string only_path_;  // empty for a template

  // From any thread. Not a channel: it says only that something is to be looked at, and once is enough.
  std::atomic<bool> reopen_{false};

  // Run thread only.
  OutputSet outputs_;
  Gathered gathered_;
  std::vector<Touched> touched_;  // by what is being written
  std::vector<OutputMark> marks_;
  std::array<iovec, IOV_MAX> pieces_{};
  std::optional<FrameCompressor> compressor_;
  std::string frame_;
  std::vector<std::string_view> frame_pieces_;
  Retry pauses_{kPauses, 0};
  bool reopen_after_{false};  // asked while a delivery was being written
  bool in_trouble_{false};    // since a pause, until something is written whole
  std::string error_;         // of End::failed
  Counter paused_;
  Counter errors_;
  Counter content_bytes_;
  Counter frame_bytes_;
  ComponentHealth health_;
  Heartbeat heartbeat_;
};

void FileSink::encode(const Batch& batch, std::span<const Event> events, Delivery& out) const {
  if (events.empty()) return;
  if (options_.path.is_constant()) {
    encode_events(batch, events, options_.encoding, out.encoded, Colors::off, options_.invalid_utf8);
    return;
  }
  const PathTemplate::Times times = options_.path.times(batch.block().read_at, options_.time_zone);
  const auto encode_part = [&](std::string path, std::span<const Event> part) {
    const std::size_t before = out.encoded.size();
    encode_events(batch, part, options_.encoding, out.encoded, Colors::off, options_.invalid_utf8);
    out.parts.push_back({std::move(path), out.encoded.size() - before, part.size()});
  };
  if (!options_.path.has_fields()) {
    std::string path = base_;
    options_.path.render(times, path);
    encode_part(std::move(path), events);
    return;
  }
  thread_local Groups scratch;
  scratch.clear();
  std::uint32_t last = 0;
  for (const Event& event : events) {
    scratch.path = base_;
    options_.path.render(batch, event, times, options_.missing, scratch.arena, scratch.path);
    if (options_.rotate.is_on()) make_unlike_rotated(scratch.path);
    // Neighbours often go to the same file.
    if (scratch.groups.empty() || scratch.groups[last].path != scratch.path) last = scratch.group(scratch.path);
    ++scratch.groups[last].events;
    scratch.group_of.push_back(last);
  }
  if (scratch.groups.size() == 1) {
    encode_part(std::move(scratch.groups[0].path), events);
    return;
  }
  std::uint32_t begin = 0;
  for (auto& group : scratch.groups) {
    group.begin = begin;
    begin += group.events;
    group.events = 0;
  }
  scratch.sorted.resize(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    auto& group = scratch.groups[scratch.group_of[i]];
    scratch.sorted[group.begin + group.events++] = events[i];
  }
  for (auto& group : scratch.groups) {
    encode_part(std::move(group.path), std::span(scratch.sorted).subspan(group.begin, group.events));
  }
}

Status FileSink::run(Receiver<Delivery> in, const RunContext& ctx) {
  const std::stop_token stop = ctx.run.token();
  if (Status status = outputs_.recover(); !status) return status;
  for (bool more = true; more;) {
    const RecvStatus got = next(in, ctx.run);
    more = got == RecvStatus::received || got == RecvStatus::timeout;
    // What waits for others when the run is cancelled is not written at all, and read again next time.
    if (gathered_.empty() || got == RecvStatus::aborted || (more && !is_due())) continue;
    const End end = flush(stop);
    if (end == End::stopped) return {};
    if (end != End::written) {
      health_.set(HealthState::failed, error_);
      return fail(ErrorKind::io, error_);
    }
  }
  // An early end may leave positions behind that are not committed, and lengths that must be cut back with them.
  outputs_.close_all(ctx.run.done() ? OutputSet::Leave::keep_marks : OutputSet::Leave::retire);
  return {};
}

RecvStatus FileSink::next(Receiver<Delivery>& in, const Context& ctx) {
  heartbeat_.wait();
  std::optional<SteadyTime> deadline;
  if (!gathered_.empty()) deadline = gathered_.since() + options_.compression_wait;
  std::optional<Delivery> delivery;
  const RecvStatus got = in.recv(delivery, ctx, deadline);
  if (got == RecvStatus::received) gathered_.add(std::move(*delivery), only_path_);
  heartbeat_.beat();
  return got;
}

bool FileSink::is_due() const {
  if (!compressor_ || gathered_.file_count() == 0) return true;
  return gathered_.largest() >= kFrameBytes || gathered_.memory() >= kGatheredMemoryMax ||
         std::chrono::steady_clock::now() - gathered_.since() >= options_.compression_wait;
}

FileSink::End FileSink::flush(const std::stop_token& stop) {
  touched_.clear();
  const End end = write(stop);
  if (end != End::written) {
    for (auto touched = touched_.rbegin(); touched != touched_.rend(); ++touched) {
      outputs_.trim(touched->mark, touched->begin);
    }
    outputs_.close_all(OutputSet::Leave::keep_marks);
    return end;
  }
  marks_.clear();
  for (const Touched& touched : touched_) {
    if (touched.announced) marks_.push_back(touched.mark);
  }
  progress_.complete_together(gathered_.deliveries(), marks_);
  outputs_.delivered();
  if (std::exchange(reopen_after_, false)) outputs_.reopen();
  gathered_.clear();
  return End::written;
}

FileSink::End FileSink::write(const std::stop_token& stop) {
  for (std::size_t i = 0; i < gathered_.file_count(); ++i) {
    const Gathered::File& from = gathered_.file(i);
    End end = compressor_ ? compress(from) : End::written;
    if (end == End::written) end = append(from, stop);
    if (end != End::written) return end;
  }
  return End::written;
}

FileSink::End FileSink::compress(const Gathered::File& from) {
  frame_.clear();
  frame_pieces_.clear();
  gathered_.pieces(from, frame_pieces_);
  if (const Status status = compressor_->append(frame_pieces_, frame_); !status) {
    error_ = status.error().message;
    return End::failed;
  }
  content_bytes_.add(from.bytes);
  frame_bytes_.add(frame_.size());
  return End::written;
}

FileSink::End FileSink::append(const Gathered::File& from, const std::stop_token& stop) {
  const OutputSet::Origin origin = from.replayable ? OutputSet::Origin::replayable : OutputSet::Origin::pipe;
  for (;;) {
    // Also in the middle of a delivery: what is closed here has no part in it yet, for each file comes once.
    if (reopen_.exchange(false, std::memory_order_relaxed)) reopen_untouched();
    OutputFile* file = nullptr;
    if (const OutputTrouble trouble = outputs_.get(from.path, origin, bytes_of(from), &file)) {
      errors_.add();
      if (!trouble.passing) {
        error_ = trouble.message();
        return End::failed;
      }
      if (!pause(trouble.message(), stop)) return End::stopped;
      continue;
    }
    outputs_.check_length(*file);
    const std::uint64_t start = file->length;
    End end = append_to(*file, from, stop);
    if (end == End::again) end = take_back(*file, start, stop);
    if (end != End::written) {
      if (end != End::again) {
        outputs_.trim_once(*file, start);
        return end;
      }
      if (outputs_.has_moved(*file)) outputs_.close(from.path);
      continue;
    }
    resume();
    if (!file->regular) return End::written;
    OutputMark mark = file->mark();
    if (options_.fsync == Fsync::interval) mark.sync = file->handle;
    touched_.push_back({std::move(mark), start, file->announced});
    return End::written;
  }
}

/// A file that the delivery being written has a part in stays as it is until that is complete.
void FileSink::reopen_untouched() {
  outputs_.reopen([&](const OutputFile& file) {
    return std::any_of(touched_.begin(), touched_.end(),
                       [&](const Touched& touched) { return touched.mark.path == file.path; });
  });
  // Asked again, for the sake of those, when this delivery is complete.
  if (!touched_.empty()) reopen_after_ = true;
}

/// The next pieces to write, into `pieces_`: of the frame, or of the deliveries as they are.
std::size_t FileSink::offer(const Gathered::File& from, std::size_t skip) {
  if (!compressor_) return gathered_.iovecs(from, skip, pieces_.data(), pieces_.size());
  pieces_[0] = {frame_.data() + skip, frame_.size() - skip};
  return 1;
}

FileSink::End FileSink::append_to(OutputFile& file, const Gathered::File& from, const std::stop_token& stop) {
  const std::size_t bytes = bytes_of(from);
  std::size_t done = 0;
  while (done < bytes) {
    const std::size_t count = offer(from, done);
    const ssize_t written = layer_.writev(file.fd(), pieces_.data(), static_cast<int>(count));
    if (written > 0) {
      done += static_cast<std::size_t>(written);
      file.length += static_cast<std::uint64_t>(written);
      pauses_.restart_delays();
      continue;
    }
    const int code = written == 0 ? EIO : errno;
    if (code == EINTR) continue;
    errors_.add();
    const OutputTrouble trouble{code, "write " + file.path, is_passing(code)};
    if (!trouble.passing) {
      error_ = trouble.message();
      return End::failed;
    }
    if (!pause(trouble.message(), stop)) return End::stopped;
    // A rotated or removed file gets nothing more: the delivery begins again in the new one.
    if (file.regular && outputs_.has_moved(file)) return End::again;
  }
  return options_.fsync == Fsync::always && file.regular ? sync(file, stop) : End::written;
}

FileSink::End FileSink::sync(OutputFile& file, const std::stop_token& stop) {
  if (layer_.sync_data(file.fd()) == 0) return End::written;
  // What a failed sync has dropped is not written by another sync: the bytes have to be handed over again.
  const int code = errno;
  errors_.add();
  const OutputTrouble trouble{code, "sync " + file.path, is_passing(code)};
  if (!trouble.passing) {
    error_ = trouble.message();
    return End::failed;
  }
  return pause(trouble.message(), stop) ? End::again : End::stopped;
}

/// Before the same bytes are written once more, what is there of them has to go.
FileSink::End FileSink::take_back(OutputFile& file, std::uint64_t begin, const std::stop_token& stop) {
  while (const OutputTrouble trouble = outputs_.trim(file, begin)) {
    errors_.add();
    if (!trouble.passing) {
      error_ = trouble.message();
      return End::failed;
    }
    if (!pause(trouble.message(), stop)) return End::stopped;
  }
  // A file that was renamed meanwhile leaves the journal and is never synced again, and the disk may hold what was cut.
  while (file.regular && options_.fsync != Fsync::never && layer_.sync_data(file.fd()) != 0) {
    const int code = errno;
    errors_.add();
    const OutputTrouble trouble{code, "sync " + file.path, is_passing(code)};
    if (!trouble.passing) {
      error_ = trouble.message();
      return End::failed;
    }
    if (!pause(trouble.message(), stop)) return End::stopped;
  }
  return End::again;
}

bool FileSink::pause(const std::string& why, const std::stop_token& stop) {
  if (!in_trouble_) log::warn(component_, "cannot write, paused until it is possible", {{"error", why}});
  in_trouble_ = true;
  health_.set(HealthState::degraded, why);
  heartbeat_.wait();
  const auto begin = layer_.now();
  const auto pause = pauses_.next_delay();  // always one: attempts are not limited
  const bool go_on = layer_.wait(std::chrono::duration_cast<milliseconds>(*pause), stop);
  paused_.add(static_cast<std::uint64_t>(std::chrono::nanoseconds(layer_.now() - begin).count()));
  heartbeat_.beat();
  return go_on;
}

void FileSink::resume() {
  if (!in_trouble_) return;
  in_trouble_ = false;
  pauses_.reset();
  health_.set(HealthState::ok);
  log::info(component_, "writing again");
}

}  // namespace

std::unique_ptr<Sink> make_file_sink(FileSinkOptions options, SinkServices services, FileLayer& layer) {
  return std::make_unique<FileSink>(std::move(options), std::move(services), layer);
}

}  // namespace logpipe
