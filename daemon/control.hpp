#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "daemon/notify.hpp"

namespace logpipe {

/// What the control loop does on somebody's behalf; all called on its thread.
struct ControlHooks {
  /// SIGHUP, or somebody at the admin endpoint: somebody wants a reload. True: it has begun, reload_ended() will be
  /// called; false: there is nothing to wait for.
  std::function<bool()> reload;
  std::function<void()> reload_asked;        ///< SIGHUP was received; comes before reload
  std::function<void()> stopping;            ///< a stop has begun; any thread
  std::function<void()> report;              ///< SIGUSR1: a status block to the log
  std::function<std::string()> status_line;  ///< for the service manager
  std::function<bool()> healthy;             ///< false: no thread may be reported alive to the watchdog
};

/// Signals, deadlines and the service manager, on one thread: the first SIGTERM or SIGINT cancels the intake, after the
/// drain timeout or at a second signal everything is cancelled; SIGHUP reloads, and a reload that takes longer than the
/// drain timeout cancels the run for the next generation; SIGUSR1 reports; SIGUSR2 changes the log level. Threads: the
/// constructor before any other thread starts (it blocks the signals for all of them); loop() on a thread of its own;
/// the rest from any.
class Control {
 public:
  explicit Control(ControlHooks hooks);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  /// The contexts of the generation that runs from now on; if a stop was asked for meanwhile its intake is cancelled at
  /// once.
  void begin_generation(Cancel intake, Cancel run, std::chrono::nanoseconds drain_timeout);
  /// It has ended. What came: a stop (or nothing), or a reload that did not succeed in time.
  enum class End : std::uint8_t { ended, stopped, reload };
  End end_generation();

  /// RELOADING=1 to the service manager; reload_ended() says READY=1 again.
  void announce_reloading() { notifier_.reloading("reloading"); }
  /// Looks whether a reload is wanted. Any thread.
  void want_reload();
  /// The reload that had begun is over, whatever came of it. Any thread.
  void reload_ended();
  /// Cancels everything of this generation; what is left stays uncommitted. Any thread.
  void abort_run(const std::string& cause);
  /// From now on.
  void set_drain_timeout(std::chrono::nanoseconds timeout);

  /// The first stop, as by SIGTERM: the intake ends, what was read is delivered. `why` goes to the log.
  void stop(const std::string& why);
  bool stop_requested() const;
  /// A drain deadline or a second signal has cancelled the run context of this generation.
  bool aborted() const;

  /// Until quit(). Wakes for signals, deadlines and, under a service manager, every watchdog interval.
  void loop();
  void quit();

  /// Says READY=1 and begins the regular reports.
  void announce_ready();
  const ServiceNotifier& notifier() const noexcept { return notifier_; }

 private:
  void on_signal(int number);
  void begin_reload();
  bool ready() const;
  std::string status_text() const;
  void tick();
  void wake();
  int wait_ms() const;

  const ControlHooks hooks_;
  const ServiceNotifier notifier_;
  int signals_{-1};
  int wake_{-1};

  // A mutex, not a channel: three flags that main and the control thread exchange a few times in a process's life.
  mutable Mutex mutex_;
  std::optional<Cancel> intake_ LOGPIPE_GUARDED_BY(mutex_);
  std::optional<Cancel> run_ LOGPIPE_GUARDED_BY(mutex_);
  std::chrono::nanoseconds drain_timeout_ LOGPIPE_GUARDED_BY(mutex_){};
  std::optional<SteadyTime> deadline_ LOGPIPE_GUARDED_BY(mutex_);
  bool stop_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool want_reload_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool reload_ LOGPIPE_GUARDED_BY(mutex_){false};  // one has begun and not ended
  bool aborted_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool quit_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool ready_ LOGPIPE_GUARDED_BY(mutex_){false};
  // Control thread only.
  SteadyTime stopped_at_{};
};

}  // namespace logpipe
