#include "daemon/control.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "channel/assert.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

constexpr std::chrono::milliseconds kIdleTick{10000};   // suppressed log lines are reported this late at most
constexpr std::chrono::milliseconds kStatusTick{1000};  // under a service manager
/// How much longer a stop may take, said every kStatusTick. The drain's own deadline bounds it, and behind that there
/// is nothing left to wait for; so the service manager never has to kill.
constexpr std::chrono::seconds kStopTakes{10};

/// Two stop signals closer than this are one request: timeout(1) and shells signal the process and then its group.
constexpr std::chrono::milliseconds kSameStop{300};

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  return set;
}

const char* name_of_signal(int number) {
  switch (number) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGHUP:
      return "SIGHUP";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "SIGUSR2";
  }
}

}  // namespace

Control::Control(ControlHooks hooks) : hooks_(std::move(hooks)) {
  const sigset_t set = handled_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A reader that has gone and a file that may not grow are errors of the write.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  LOGPIPE_ASSERT(signals_ >= 0 && wake_ >= 0);
}

Control::~Control() {
  ::close(signals_);
  ::close(wake_);
}

void Control::begin_generation(Cancel intake, Cancel run, std::chrono::nanoseconds drain_timeout) {
  MutexLock lock(mutex_);
  intake_ = intake;
  run_ = run;
  drain_timeout_ = drain_timeout;
  deadline_.reset();
  aborted_ = false;
  reload_ = false;
  const bool stop = stop_;
  if (stop) deadline_ = std::chrono::steady_clock::now() + drain_timeout_;
  lock.unlock();
  if (stop) intake.cancel("stop requested");  // between two generations, so it is asked of this one
  want_reload();
}

Control::End Control::end_generation() {
  MutexLock lock(mutex_);
  intake_.reset();
  run_.reset();
  deadline_.reset();
  if (stop_) return End::stopped;
  return reload_ ? End::reload : End::ended;
}

void Control::want_reload() {
  {
    MutexLock lock(mutex_);
    want_reload_ = true;
  }
  wake();
}

void Control::reload_ended() {
  {
    MutexLock lock(mutex_);
    reload_ = false;
    if (!stop_) deadline_.reset();
  }
  if (ready()) notifier_.ready(hooks_.status_line());
  want_reload();
}

void Control::set_drain_timeout(std::chrono::nanoseconds timeout) {
  MutexLock lock(mutex_);
  drain_timeout_ = timeout;
}

bool Control::stop_requested() const {
  MutexLock lock(mutex_);
  return stop_;
}

bool Control::ready() const {
  MutexLock lock(mutex_);
  return ready_;
}

bool Control::aborted() const {
  MutexLock lock(mutex_);
  return aborted_;
}

void Control::announce_ready() {
  {
    MutexLock lock(mutex_);
    ready_ = true;
  }
  notifier_.ready(hooks_.status_line());
  wake();
}

void Control::quit() {
  {
    MutexLock lock(mutex_);
    quit_ = true;
  }
  wake();
}

void Control::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
}

int Control::wait_ms() const {
  MutexLock lock(mutex_);
  std::chrono::milliseconds wait = kIdleTick;
  if (ready_ && notifier_.active()) {
    wait = std::min(kStatusTick, notifier_.watchdog_interval().value_or(kStatusTick));
  }
  if (deadline_) {
    const auto left = *deadline_ - std::chrono::steady_clock::now();
    wait = std::min(wait, std::chrono::ceil<std::chrono::milliseconds>(std::max(left, left.zero())));
  }
  return static_cast<int>(wait.count());
}

void Control::loop() {
  for (;;) {
    pollfd fds[] = {{signals_, POLLIN, 0}, {wake_, POLLIN, 0}};
    ::poll(fds, 2, wait_ms());
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t drained = ::read(wake_, &count, sizeof(count));
    signalfd_siginfo info{};
    while (::read(signals_, &info, sizeof(info)) == sizeof(info)) on_signal(static_cast<int>(info.ssi_signo));
    {
      MutexLock lock(mutex_);
      if (quit_) return;
    }
    begin_reload();
    tick();
  }
}

void Control::on_signal(int number) {
  switch (number) {
    case SIGTERM:
    case SIGINT:
      if (!stop_requested()) {
        stopped_at_ = std::chrono::steady_clock::now();
        stop(name_of_signal(number));
      } else if (std::chrono::steady_clock::now() - stopped_at_ > kSameStop) {
        abort_run("a second signal asked to stop at once");
      }
      break;
    case SIGHUP:
      hooks_.reload_asked();
      want_reload();
      break;
    case SIGUSR1:
      hooks_.report();
      break;
    default:
      log::info("daemon", "log level changed", {{"level", log::name(log::toggle_verbose())}});
      break;
  }
}

void Control::stop(const std::string& why) {
  MutexLock lock(mutex_);
  if (stop_) return;
  stop_ = true;
  deadline_ = std::chrono::steady_clock::now() + drain_timeout_;
  const std::optional<Cancel> intake = intake_;
  lock.unlock();
  log::info("daemon", "stopping: reading nothing new, delivering what was read", {{"why", why}});
  notifier_.stopping("draining");
  notifier_.extend_timeout(kStopTakes);
  hooks_.stopping();
  if (intake) intake->cancel("stopped: " + why);
  wake();  // the control thread has a deadline to watch
}

void Control::begin_reload() {
  {
    MutexLock lock(mutex_);
    if (!want_reload_ || reload_ || !intake_) return;  // whoever clears one of these asks again
    want_reload_ = false;
    reload_ = true;
    deadline_ = stop_ ? deadline_ : std::chrono::steady_clock::now() + drain_timeout_;
  }
  if (hooks_.reload()) return;
  MutexLock lock(mutex_);
  reload_ = false;
  if (!stop_) deadline_.reset();
}

void Control::abort_run(const std::string& cause) {
  MutexLock lock(mutex_);
  deadline_.reset();
  if (aborted_ || !run_) return;
  aborted_ = true;
  const std::optional<Cancel> run = run_;
  lock.unlock();
  log::warn("daemon", "stopping at once, what is left stays uncommitted", {{"cause", cause}});
  run->cancel(cause);
}

void Control::tick() {
  MutexLock lock(mutex_);
  const bool expired = deadline_ && std::chrono::steady_clock::now() >= *deadline_;
  const bool draining = deadline_.has_value();
  const bool ready = ready_;
  lock.unlock();
  if (expired) abort_run("the drain deadline has passed");
  log::report_suppressed(log::Report::expired);
  if (!ready || !notifier_.active()) return;
  if (notifier_.watchdog_interval() && hooks_.healthy()) notifier_.watchdog();
  if (draining) notifier_.extend_timeout(kStopTakes);
  notifier_.status(status_text());
}

/// With what a drain has left to do, and how long it may take.
std::string Control::status_text() const {
  std::string text = hooks_.status_line();
  MutexLock lock(mutex_);
  if (!deadline_) return text;
  const auto left = std::max(*deadline_ - std::chrono::steady_clock::now(), SteadyTime::duration::zero());
  return (stop_ ? "draining: " : "reloading: ") + text + ", " +
         std::to_string(std::chrono::ceil<std::chrono::seconds>(left).count()) + " s left";
}

}  // namespace logpipe
