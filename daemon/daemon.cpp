#include "daemon/daemon.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "channel/mutex.hpp"
#include "channel/task_group.hpp"
#include "daemon/admin.hpp"
#include "daemon/builder.hpp"
#include "daemon/control.hpp"
#include "daemon/exit_status.hpp"
#include "daemon/graph.hpp"
#include "daemon/reload_board.hpp"
#include "daemon/tap.hpp"
#include "daemon/topology.hpp"
#include "daemon/version.hpp"
#include "telemetry/log.hpp"
#include "telemetry/process.hpp"

namespace logpipe {

namespace {

constexpr std::chrono::seconds kStallLimit{60};

std::string amount_text(const Amount& amount) {
  return std::to_string(amount.events) + " events";
}

/// One process: the state directory, the admin endpoint, the control thread, and one pipeline after the other.
class Daemon {
 public:
  Daemon(Settings settings, RunRequest request)
      : settings_(std::move(settings)),
        request_(std::move(request)),
        health_(kStallLimit),
        blocks_(settings_.memory.value),
        topics_({.replay_bytes = settings_.admin ? settings_.tap.replay.value : 0,
                 .replay_bytes_per_second = settings_.tap.replay_rate.value}),
        control_(ControlHooks{
            .reload = [this] { return begin_reload(); },
            .reload_asked = [this] { reloads_.ask(); },
            .stopping = [this] { health_.set_phase(Phase::draining); },
            .report =
                [this] {
                  log::info("daemon", "status", {{"ledger", snapshot().to_table()}});
                },
            .status_line = [this] { return status_line(); },
            .healthy = [this] { return health_.stalled(kStallLimit).empty(); },
        }) {}

  int run() {
    const Settings initial = settings();
    auto store = CheckpointStore::open({initial.state_dir, initial.checkpoint_interval_ms()});
    if (!store) {
      log::critical("state_dir", store.error().message);
      return kExitState;
    }
    store_ = std::move(*store);
    watch_process();
    if (Status status = start_admin(initial); !status) {
      log::critical("admin", status.error().message);
      return exit_status_of(status.error());
    }

    auto [background, stop_background] = with_cancel(Context::background());
    TaskGroup threads(background);
    threads.spawn("control", [this] { control_.loop(); });
    threads.spawn("checkpoints", [this, ctx = background] {
      Status ended = store_->run(ctx);
      // An output that cannot be synced may have lost what was written to it: only a restart, which cuts it back and
      // reads again from the last checkpoint, puts that right.
      if (!ended) control_.stop("checkpoints have failed: " + ended.error().message);
      return ended;
    });

    int status = kExitOther;
    {
      // However the generations end, the threads above end too, or the group would wait for them for ever.
      struct Ending {
        Control& control;
        const Cancel& background;
        ~Ending() {
          control.quit();
          background.cancel("the process ends");
        }
      } ending{control_, stop_background};
      try {
        status = run_generations();
      } catch (const std::exception& error) {  // no memory, no threads: what was delivered is still committed
        log::critical("daemon", error.what());
      }
    }
    const Status background_ended = threads.wait();
    if (!background_ended && status == kExitDone) {
      log::critical("daemon", background_ended.error().message);
      status = exit_status_of(background_ended.error());
    }
    if (Status committed = store_->commit(); !committed) {
      log::error("state_dir", "the last checkpoint could not be written", {{"error", committed.error().message}});
      if (status == kExitDone) status = kExitState;
    }
    return finish(status);
  }

 private:
  Status start_admin(const Settings& initial) {
    if (!initial.admin) return {};
    taps_.emplace(topics_, metrics_,
                  TapServer::Options{.queue_bytes = std::min<std::size_t>(4 << 20, initial.memory.value / 8)});
    AdminSources sources{.metrics = &metrics_,
                         .health = &health_,
                         .status_json = [this] { return snapshot().to_json(); },
                         .workers_json = [this] { return board_.to_json(); },
                         .taps = &*taps_,
                         .reloads = &reloads_,
                         .reload = [this] { control_.want_reload(); }};
    auto server = AdminServer::start({initial.admin->listen, initial.admin->socket.string()}, std::move(sources));
    if (!server) return fail(server.error());
    admin_ = std::move(*server);
    for (const std::string& address : admin_->addresses()) log::info("admin", "listening", {{"address", address}});
    return {};
  }

  void watch_process() {
    process_metrics_ = register_process_metrics(metrics_, {.version = kVersion, .revision = {}});
    process_metrics_.push_back(
        metrics_.gauge_callback({"logpipe_memory_used_bytes", "Bytes charged to the memory budget."}, {},
                                [this] { return static_cast<double>(blocks_.used()); }));
    process_metrics_.push_back(metrics_.gauge_callback({"logpipe_memory_budget_bytes", "The memory budget."}, {},
                                                       [this] { return static_cast<double>(blocks_.budget()); }));
    process_metrics_.push_back(metrics_.counter_callback(
        {"logpipe_memory_blocked_seconds_total", "Time that sources waited for room in the memory budget."}, {},
        [this] { return blocks_.blocked_seconds(); }));
    process_metrics_.push_back(
        metrics_.gauge_callback({"logpipe_ledger_balanced", "1, or 0 when events are unaccounted for: a bug."}, {},
                                [this] { return snapshot().balanced ? 1.0 : 0.0; }));
    process_metrics_.push_back(metrics_.counter_callback({"logpipe_checkpoint_commits_total", "Checkpoints written."},
                                                         {},
                                                         [this] { return static_cast<double>(store_->commits()); }));
    process_metrics_.push_back(
        metrics_.counter_callback({"logpipe_checkpoint_failures_total", "Checkpoints that could not be written."}, {},
                                  [this] { return static_cast<double>(store_->commit_failures()); }));
  }

  int run_generations() {
    for (bool first = true;; first = false) {
      auto ledger = std::make_shared<Ledger>();
      board_.clear();
      Planner planner({.blocks = &blocks_,
                       .checkpoints = store_.get(),
                       .metrics = &metrics_,
                       .health = &health_,
                       .ledger = ledger.get(),
                       .once = request_.once});
      auto plan = planner.begin(settings());
      if (!plan) {
        log::critical("daemon", plan.error().message);
        return exit_status_of(plan.error());
      }
      auto [run, cancel_run] = with_cancel(Context::background());
      auto [intake, cancel_intake] = with_cancel(run);
      Graph graph(std::move(*plan), {&blocks_, &metrics_, &health_, ledger.get(), &topics_, &planner,
                                     [this](const std::string& cause) { control_.abort_run(cause); }, &board_});
      {
        MutexLock lock(mutex_);
        ledger_ = ledger;
        generation_ = {&graph, &planner};
      }
      health_.set_phase(Phase::running);
      if (!first) answer_reload(true, "everything has begun again: it could not be changed while it ran in time");
      control_.begin_generation(cancel_intake, cancel_run, settings().drain_timeout);
      control_.announce_ready();
      log::info("daemon", first ? "running" : "reloaded");

      const Status ended = graph.run(intake, run);

      const bool aborted = control_.aborted();
      const Control::End how = control_.end_generation();
      health_.set_phase(how == Control::End::reload ? Phase::reloading : Phase::draining);
      if (Status committed = store_->commit(); !committed) {
        log::error("state_dir", "a checkpoint could not be written", {{"error", committed.error().message}});
      }
      std::optional<Settings> next;
      {
        MutexLock lock(mutex_);
        generation_ = {};
        const LedgerSnapshot whole = ledger->snapshot();
        // A pipeline that has drained has nothing in flight; what it says is has got lost on the way.
        if (ended && !aborted && whole.in_flight() != Amount{}) lost_in_flight_ = true;
        past_.add(whole);
        ledger_.reset();
        next = std::exchange(next_settings_, std::nullopt);
      }
      const bool failed = !ended && ended.error().kind != ErrorKind::canceled &&
                          ended.error().kind != ErrorKind::deadline_exceeded && ended.error().kind != ErrorKind::closed;
      if (how == Control::End::stopped || !aborted || failed) {
        answer_reload(false, "the daemon has ended");
        return status_of(ended, aborted && !(failed && how != Control::End::stopped));
      }
      log::warn("daemon",
                "the old pipeline could not deliver everything in time; the rest is read again by the new one");
      if (next) take_over(std::move(*next));
    }
  }

  Settings settings() const {
    MutexLock lock(mutex_);
    return settings_;
  }

  /// Another configuration is the one that runs.
  void take_over(Settings next) {
    if (request_.configure_log) request_.configure_log(next);
    control_.set_drain_timeout(next.drain_timeout);
    MutexLock lock(mutex_);
    settings_ = std::move(next);
  }

  static int status_of(const Status& ended, bool aborted) {
    if (aborted) return kExitUndrained;
    if (ended) return kExitDone;
    if (ended.error().kind == ErrorKind::closed) {
      log::debug("daemon", "the reader of the output has gone", {{"error", ended.error().message}});
      return kExitDone;
    }
    log::critical("daemon", ended.error().message);
    return exit_status_of(ended.error());
  }

  void answer_reload(bool ok, const std::string& outcome) { reloads_.answer(reload_through_.load(), ok, outcome); }

  /// The configuration to change to, or why it cannot be.
  std::optional<Settings> load_next(const Settings& now, std::string& why) {
    if (!request_.reload) {
      why = "nothing to reload: the pipeline came from the command line";
      log::warn("daemon", why);
      return std::nullopt;
    }
    if (request_.once) {
      why = "a run with --once cannot be reloaded";
      log::warn("daemon", why);
      return std::nullopt;
    }
    if (now.reads_stdin()) {
      why = "a pipeline that reads standard input cannot be reloaded; the old configuration stays";
      log::warn("daemon", why);
      return std::nullopt;
    }
    std::optional<Settings> next = request_.reload(why);
    if (!next) {
      log::error("daemon", "the new configuration has errors; the old one stays");
      why += "the new configuration has errors; the old one stays";
      return std::nullopt;
    }
    if (const char* fixed = now.needs_restart(*next)) {
      log::error("daemon", "this option changes only with a restart; the old configuration stays", {{"option", fixed}});
      why += std::string(fixed) + " changes only with a restart; the old configuration stays";
      return std::nullopt;
    }
    if (next->reads_stdin()) {
      why += "a pipeline that reads standard input cannot take over; the old configuration stays";
      log::error("daemon", why);
      return std::nullopt;
    }
    return next;
  }

  /// On the control thread. True: the graph is at it, and reload_done() will be called.
  bool begin_reload() {
    if (!reloads_.wanted()) return false;
    reload_through_.store(reloads_.begin());
    if (control_.stop_requested()) {
      answer_reload(false, "the daemon is stopping");
      return false;
    }
    const Settings now = settings();
    std::string why;
    std::optional<Settings> next = load_next(now, why);
    if (!next) {
      answer_reload(false, why);
      return false;
    }
    GraphDiff diff = graph_diff(now, *next);
    const auto shared = std::make_shared<const Settings>(std::move(*next));
    MutexLock lock(mutex_);
    if (generation_.graph == nullptr) {
      lock.unlock();
      answer_reload(false, "the daemon is stopping");
      return false;
    }
    Planner* const planner = generation_.planner;
    if (Status prepared = planner->prepare(*shared, diff); !prepared) {
      lock.unlock();
      log::error("daemon", "the new configuration cannot be set up; the old one stays",
                 {{"error", prepared.error().message}});
      answer_reload(false, prepared.error().message);
      return false;
    }
    next_settings_ = *shared;
    control_.announce_reloading();
    health_.set_phase(Phase::reloading);
    GraphChange change;
    change.diff = diff;
    change.build = [planner, shared, diff] { return planner->build(*shared, diff); };
    change.done = [this, planner, shared, summary = diff.summary()](const Status& status) {
      reload_done(*planner, *shared, summary, status);
    };
    if (generation_.graph->change(std::move(change))) return true;
    lock.unlock();
    answer_reload(false, "the daemon is stopping");
    return false;
  }

  /// On the graph's thread, which goes on only after a success.
  void reload_done(const Planner& planner, const Settings& next, const std::string& summary, const Status& status) {
    if (!status) return;  // run_generations sees to it: the graph has ended
    {
      MutexLock lock(mutex_);
      next_settings_.reset();
    }
    take_over(next);
    for (const Plan::SinkPart& part : planner.plan().sinks) {
      if (part.sink) part.sink->reopen();
    }
    health_.set_phase(Phase::running);
    if (control_.stop_requested()) health_.set_phase(Phase::draining);
    log::info("daemon", "reloaded", {{"changes", summary}});
    answer_reload(true, summary);
    control_.reload_ended();
  }

  LedgerSnapshot snapshot() const {
    MutexLock lock(mutex_);
    LedgerSnapshot all = past_;
    if (ledger_) all.add(ledger_->snapshot());
    if (store_) all.lifetime = store_->lifetime();
    for (const LedgerSnapshot::Lifetime& each : all.lifetime) all.balanced = all.balanced && each.sink.balanced;
    return all;
  }

  std::string status_line() const {
    const LedgerSnapshot now = snapshot();
    // A source of several pipelines counts once, and what one pipeline publishes for another, or puts into a spool, not
    // at all.
    Amounts read;
    Amount delivered;
    for (const auto& pipeline : now.pipelines) {
      for (const auto& [source, amount] : pipeline.sources) {
        if (read[source].events < amount.events) read[source] = amount;
      }
      for (const auto& sink : pipeline.sinks) {
        if (sink.name != kPublishAccount && !Spool::is_name(sink.name)) delivered += sink.delivered;
      }
    }
    for (const auto& pipeline : now.pipelines) read.erase(publication_name(pipeline.name));
    std::erase_if(read, [](const auto& entry) { return Spool::is_name(entry.first); });
    const Amount received = total(read);
    return amount_text(received) + " received, " + std::to_string(delivered.events) + " delivered, " +
           std::to_string(now.in_flight().events) + " in flight";
  }

  int finish(int status) {
    const LedgerSnapshot ledger = snapshot();
    if (!request_.ledger_path.empty()) {
      if (Status written = write_ledger(ledger.to_json()); !written) {
        log::error("ledger", written.error().message);
        if (status == kExitDone) status = kExitOther;
      }
    }
    if (!ledger.balanced || lost_in_flight_) {
      log::critical("ledger", "events are unaccounted for; please report this", {{"ledger", ledger.to_json()}});
      return kExitLedger;
    }
    log::info("daemon", "ended", {{"status", status}, {"summary", status_line()}});
    log::report_suppressed(log::Report::all);
    return status;
  }

  Status write_ledger(const std::string& text) const {
    const bool to_stdout = request_.ledger_path == "-";
    const int fd = to_stdout ? STDOUT_FILENO
                             : ::open(request_.ledger_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return fail(Error::from_errno(errno, "open " + request_.ledger_path));
    Status result;
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        result = fail(Error::from_errno(errno, "write " + request_.ledger_path));
        break;
      }
      done += static_cast<std::size_t>(n);
    }
    if (!to_stdout) ::close(fd);
    return result;
  }

  // A mutex, not a channel: the admin and control threads look at these whenever somebody asks.
  mutable Mutex mutex_;
  Settings settings_ LOGPIPE_GUARDED_BY(mutex_);
  const RunRequest request_;
  MetricsRegistry metrics_;
  HealthTable health_;
  WorkerBoard board_{metrics_};
  BlockPool blocks_;
  TopicHub topics_;
  Control control_;
  ReloadBoard reloads_;
  std::atomic<std::uint64_t> reload_through_{0};  // the requests that the last reload to begin answers
  std::unique_ptr<CheckpointStore> store_;
  bool lost_in_flight_{false};  // main thread

  std::shared_ptr<Ledger> ledger_ LOGPIPE_GUARDED_BY(mutex_);
  LedgerSnapshot past_ LOGPIPE_GUARDED_BY(mutex_);
  struct Generation {
    Graph* graph{nullptr};
    Planner* planner{nullptr};
  };
  Generation generation_ LOGPIPE_GUARDED_BY(mutex_);                  // the one that runs
  std::optional<Settings> next_settings_ LOGPIPE_GUARDED_BY(mutex_);  // of a reload that goes on

  std::vector<MetricCallback> process_metrics_;  // they look at the above until they are gone
  std::optional<TapServer> taps_;
  std::unique_ptr<AdminServer> admin_;  // last: it reads all of the above
};

}  // namespace

int run_daemon(Settings settings, RunRequest request) {
  return Daemon(std::move(settings), std::move(request)).run();
}

}  // namespace logpipe
