#include "sinks/stdout.hpp"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "channel/stop_event.hpp"
#include "channel/task_group.hpp"
#include "sinks/stream_writer.hpp"

namespace logpipe {
namespace {

Colors colors_for(ColorChoice choice, int fd) {
  if (choice == ColorChoice::always) return Colors::on;
  if (choice == ColorChoice::never || ::isatty(fd) != 1) return Colors::off;
  const char* no_color = std::getenv("NO_COLOR");  // no-color.org: set and not empty
  if (no_color != nullptr && *no_color != '\0') return Colors::off;
  const char* terminal = std::getenv("TERM");
  return terminal == nullptr || std::string_view(terminal) == "dumb" ? Colors::off : Colors::on;
}

/// Returns when the reader of `fd` is gone (true) or `stop_fd` says so.
bool wait_for_reader_gone(int fd, int stop_fd) {
  pollfd waits[] = {{fd, 0, 0}, {stop_fd, POLLIN, 0}};
  for (;;) {
    if (::poll(waits, 2, -1) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return false;
    }
    if ((waits[0].revents & (POLLERR | POLLHUP)) != 0) return true;
    if (waits[1].revents != 0 || waits[0].revents != 0) return false;
  }
}

class StdoutSink final : public Sink {
 public:
  StdoutSink(StdoutSinkOptions options, SinkServices services, int fd)
      : encoding_(options.encoding),
        invalid_utf8_(options.invalid_utf8),
        colors_(colors_for(options.color, fd)),
        progress_(*services.progress),
        fd_(fd) {
    const std::string component = "sinks." + services.name;
    if (services.health) {
      health_ = services.health->component(component);
      heartbeat_ = services.health->heartbeat(component);
    }
  }

  void encode(const Batch& batch, std::span<const Event> events, Delivery& out) const override {
    encode_events(batch, events, encoding_, out.encoded, colors_, invalid_utf8_);
  }

  Status run(Receiver<Delivery> in, const RunContext& ctx) override {
    if (Status status = StreamWriter::check(fd_); !status) return failed(status.error());
    // Ends with the run, or when the reader has gone: one thing for recv and poll to wait on.
    Cancellable scope = with_cancel(ctx.run);
    // Written by the watcher before it cancels, read after the cancelled wait: a channel for one bit would be more
    // code.
    std::atomic<bool> reader_gone{false};
    const StopEvent stopped(scope.context.token());
    if (stopped.fd() < 0) return failed({ErrorKind::io, "stdout sink: no descriptor left to be stopped by"});
    StreamWriter writer(fd_, stopped.fd());
    TaskGroup watcher(scope.context);
    if (writer.has_reader()) {
      watcher.spawn("stdout-watch", [this, &reader_gone, &stopped, cancel = scope.cancel] {
        if (!wait_for_reader_gone(fd_, stopped.fd())) return;
        reader_gone.store(true);
        cancel("the reader of stdout has gone");
      });
    }
    Status status;
    while (status) {
      std::optional<Delivery> delivery = in.recv(scope.context);
      if (!delivery) break;
      heartbeat_.beat();
      bool complete = false;
      status = write(*delivery, writer, complete);
      if (!complete) break;
      progress_.complete(*delivery);
      heartbeat_.wait();
    }
    const bool gone = reader_gone.load();
    scope.cancel("stdout sink is done");
    if (Status watched = watcher.wait(); status && !watched) status = watched;
    if (!status) return status;
    if (gone) return reader_has_gone();
    return {};
  }

 private:
  static Status reader_has_gone() { return fail(ErrorKind::closed, "the reader of stdout has gone"); }
  Status failed(const Error& error) {
    health_.set(HealthState::failed, error.message);
    return fail(error);
  }

  Status write(const Delivery& delivery, StreamWriter& writer, bool& complete) {
    std::size_t done = 0;
    while (done < delivery.encoded.size()) {
      const std::size_t count = delivery.encoded.iovecs(delivery.block(), done, pieces_.data(), pieces_.size());
      // A slow reader is no stall of ours.
      heartbeat_.wait();
      const StreamWriter::Write result = writer.write(pieces_.data(), count);
      switch (result.outcome) {
        case StreamWriter::Outcome::written:
          done += result.bytes;
          break;
        case StreamWriter::Outcome::stopped:
          return {};
        case StreamWriter::Outcome::closed:
          return reader_has_gone();
        case StreamWriter::Outcome::failed:
          return failed(Error::from_errno(result.code, "write stdout"));
      }
      heartbeat_.beat();
    }
    complete = true;
    return {};
  }

  const Encoding encoding_;
  const InvalidUtf8 invalid_utf8_;
  const Colors colors_;
  SinkProgress& progress_;
  const int fd_;
  // Run thread only.
  std::array<iovec, IOV_MAX> pieces_{};
  ComponentHealth health_;
  Heartbeat heartbeat_;
};

}  // namespace

const config::Schema<StdoutSinkOptions>& schema_of(config::Tag<StdoutSinkOptions>) {
  static const auto schema = config::Schema<StdoutSinkOptions>("Stdout sink")
                                 .optional("encoding", &StdoutSinkOptions::encoding, "How events become lines.")
                                 .optional("invalid_utf8", &StdoutSinkOptions::invalid_utf8, kInvalidUtf8Meaning)
                                 .optional("color", &StdoutSinkOptions::color, "When `pretty` uses colours.");
  return schema;
}

std::unique_ptr<Sink> make_stdout_sink(StdoutSinkOptions options, SinkServices services, int fd) {
  return std::make_unique<StdoutSink>(options, std::move(services), fd);
}

}  // namespace logpipe
