#include "sinks/file.hpp"

#include <limits.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "delivery/retry.hpp"
#include "sinks/output_set.hpp"
#include "telemetry/log.hpp"

namespace logpipe {
namespace {

using std::chrono::milliseconds;

/// Short pauses, without jitter: the disk is ours, and nobody else comes back at the same time.
constexpr RetryPolicy kPauses{.initial = milliseconds(50), .max = milliseconds(1000), .jitter = Jitter::none};

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

/// What comes in front of a relative path: the journal keeps paths beyond this process, whose working directory may be
/// another one.
std::string base_of(const std::string& path) {
  if (path.starts_with('/')) return {};
  std::error_code error;
  std::string directory = std::filesystem::current_path(error).string();
  return error ? std::string() : directory + "/";
}

std::string path_from(const std::string& base, const PathTemplate& constant) {
  std::string path = base;
  constant.render({}, path);
  return path;
}

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
                  options_.fsync != Fsync::never, options_.max_open_files},
                 progress_, services.metrics, layer) {
    if (services.metrics) {
      const Labels labels{{"sink", name_}};
      paused_ = services.metrics->counter(
          {"logpipe_sink_paused_seconds_total", "Time a sink could not write (no space, I/O error).", 1e9}, labels);
      errors_ =
          services.metrics->counter({"logpipe_sink_write_errors_total", "Failed writes, each retry included."}, labels);
    }
    if (services.health) {
      health_ = services.health->component(component_);
      heartbeat_ = services.health->heartbeat(component_);
    }
  }

  void encode(const Batch& batch, std::span<const Event> events, Delivery& out) const override;
  Status run(Receiver<Delivery> in, const RunContext& ctx) override;

 private:
  /// How the writing of some bytes ended.
  enum class End : std::uint8_t { written, again, stopped, failed };
  struct Touched {
    OutputMark mark;
    std::uint64_t begin{0};
    bool announced{false};
  };

  static OutputSet::Origin origin_of(const Delivery& delivery) {
    for (const SourceRange& range : delivery.ranges) {
      if (range.file && range.file->id != 0) return OutputSet::Origin::replayable;
    }
    return OutputSet::Origin::pipe;
  }
  End write(const Delivery& delivery, const std::stop_token& stop);
  End append(const std::string& path, const Delivery& delivery, std::size_t begin, std::size_t bytes,
             const std::stop_token& stop);
  End append_to(OutputFile& file, const Delivery& delivery, std::size_t begin, std::size_t bytes,
                const std::stop_token& stop);
  bool pause(const std::string& why, const std::stop_token& stop);
  void resume();

  const FileSinkOptions options_;
  const std::string name_;
  const std::string component_;
  SinkProgress& progress_;
  FileLayer& layer_;
  const std::string base_;       // in front of a relative path
  const std::string only_path_;  // empty for a template

  // Run thread only.
  OutputSet outputs_;
  std::vector<Touched> touched_;  // by the delivery that is being written
  std::vector<OutputMark> marks_;
  std::array<iovec, IOV_MAX> pieces_{};
  Retry pauses_{kPauses, 0};
  bool in_trouble_{false};  // since a pause, until something is written whole
  std::string error_;       // of End::failed
  Counter paused_;
  Counter errors_;
  ComponentHealth health_;
  Heartbeat heartbeat_;
};

void FileSink::encode(const Batch& batch, std::span<const Event> events, Delivery& out) const {
  if (events.empty()) return;
  if (options_.path.is_constant()) {
    encode_events(batch, events, options_.encoding, out.encoded);
    return;
  }
  const PathTemplate::Times times = options_.path.times(batch.block().read_at, options_.time_zone);
  const auto encode_part = [&](std::string path, std::span<const Event> part) {
    const std::size_t before = out.encoded.size();
    encode_events(batch, part, options_.encoding, out.encoded);
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
  while (std::optional<Delivery> delivery = in.recv(ctx.run)) {
    heartbeat_.beat();
    touched_.clear();
    const End end = write(*delivery, stop);
    if (end != End::written) {
      for (auto touched = touched_.rbegin(); touched != touched_.rend(); ++touched) {
        outputs_.trim(touched->mark, touched->begin);
      }
      outputs_.close_all(OutputSet::Leave::keep_marks);
      if (end == End::stopped) return {};
      health_.set(HealthState::failed, error_);
      return fail(ErrorKind::io, error_);
    }
    marks_.clear();
    for (const Touched& touched : touched_) {
      if (touched.announced) marks_.push_back(touched.mark);
    }
    progress_.complete(*delivery, marks_);
    outputs_.delivered();
    heartbeat_.wait();
  }
  // An early end may leave positions behind that are not committed, and lengths that must be cut back with them.
  outputs_.close_all(ctx.run.done() ? OutputSet::Leave::keep_marks : OutputSet::Leave::retire);
  return {};
}

FileSink::End FileSink::write(const Delivery& delivery, const std::stop_token& stop) {
  if (delivery.encoded.empty()) return End::written;
  if (delivery.parts.empty()) return append(only_path_, delivery, 0, delivery.encoded.size(), stop);
  std::size_t begin = 0;
  for (const Delivery::Part& part : delivery.parts) {
    if (part.bytes > 0) {
      const End end = append(part.path, delivery, begin, part.bytes, stop);
      if (end != End::written) return end;
    }
    begin += part.bytes;
  }
  return End::written;
}

FileSink::End FileSink::append(const std::string& path, const Delivery& delivery, std::size_t begin, std::size_t bytes,
                               const std::stop_token& stop) {
  for (;;) {
    OutputFile* file = nullptr;
    if (const OutputTrouble trouble = outputs_.get(path, origin_of(delivery), &file)) {
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
    const End end = append_to(*file, delivery, begin, bytes, stop);
    if (end != End::written) {
      outputs_.trim(*file, start);
      if (end != End::again) return end;
      if (outputs_.has_moved(*file)) outputs_.close(path);
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

FileSink::End FileSink::append_to(OutputFile& file, const Delivery& delivery, std::size_t begin, std::size_t bytes,
                                  const std::stop_token& stop) {
  std::size_t done = 0;
  while (done < bytes) {
    const std::size_t left = bytes - done;
    std::size_t count = delivery.encoded.iovecs(delivery.block(), begin + done, pieces_.data(), pieces_.size());
    std::size_t offered = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (offered + pieces_[i].iov_len >= left) {
        pieces_[i].iov_len = left - offered;
        count = i + 1;
      }
      offered += pieces_[i].iov_len;
    }
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
  if (options_.fsync != Fsync::always || !file.regular) return End::written;
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

bool decode(config::Decoder& decoder, FileMode& out) {
  std::string text;
  if (!config::decode(decoder, text)) return false;
  mode_t bits = 0;
  bool good = text.size() >= 3 && text.size() <= 4;
  for (const char c : text) {
    good = good && c >= '0' && c <= '7';
    bits = bits * 8 + static_cast<mode_t>(c - '0');
  }
  if (!good || bits > 0777) return decoder.expected("permissions in octal such as 0640");
  if ((bits & 0200) == 0) return decoder.expected("permissions that let the owner write, such as 0640");
  out.bits = bits;
  return true;
}

config::TypeInfo describe(config::Tag<FileMode>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "octal mode"};
}

std::string print(config::Tag<FileMode>, const FileMode& value) {
  std::string text = "0000";
  for (int i = 0; i < 3; ++i)
    text[static_cast<std::size_t>(3 - i)] = static_cast<char>('0' + ((value.bits >> (3 * i)) & 7));
  return text;
}

const config::Schema<FileSinkOptions>& schema_of(config::Tag<FileSinkOptions>) {
  static const auto schema =
      config::Schema<FileSinkOptions>("File sink")
          .required("path", &FileSinkOptions::path,
                    "The file to append to. `{field}` and the conversions `%Y %m %d %H %M …` make one file per value.")
          .optional("encoding", &FileSinkOptions::encoding, "How events become lines.")
          .optional("fsync", &FileSinkOptions::fsync, "When written data is forced to the disk.")
          .optional("mode", &FileSinkOptions::mode, "Permissions of a file that is made; the umask applies.")
          .optional("create_directories", &FileSinkOptions::create_directories, "Make missing directories.")
          .optional("time_zone", &FileSinkOptions::time_zone, "Of the conversions in `path`.")
          .optional("missing", &FileSinkOptions::missing, "Stands in `path` for a field that an event does not have.")
          .optional("max_open_files", &FileSinkOptions::max_open_files,
                    "Open at once; the least recently used is closed for another.")
          .range(1U, 10000U);
  return schema;
}

std::string constant_path(const FileSinkOptions& options) {
  if (!options.path.is_constant()) return {};
  return std::filesystem::path(path_from(base_of(options.path.spelling()), options.path)).lexically_normal().string();
}

std::unique_ptr<Sink> make_file_sink(FileSinkOptions options, SinkServices services, FileLayer& layer) {
  return std::make_unique<FileSink>(std::move(options), std::move(services), layer);
}

}  // namespace logpipe
