#include "daemon/torture.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/result.hpp"
#include "daemon/exit_status.hpp"
#include "daemon/torture_child.hpp"
#include "daemon/torture_config.hpp"
#include "daemon/torture_lines.hpp"

namespace logpipe {
namespace torture {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kKillsByDefault = 20;
constexpr auto kStopLimit = 120s;                         // a SIGTERM
constexpr auto kDrainLimit = 1800s;                       // a run over all that is left
constexpr std::string_view kListens = "daemon: running";  // what it logs when signals do what they should

enum class Fault : std::uint8_t { kill, restart, reload, rotate, truncate, disk_full };
constexpr std::array<const char*, 6> kFaultNames{"kill9", "restart", "reload", "rotate", "truncate", "disk_full"};

/// The same numbers everywhere for the same seed, which std's distributions do not promise.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + engine_() % (high - low + 1); }
  bool chance(std::uint64_t n, std::uint64_t of) { return engine_() % of < n; }

 private:
  std::mt19937_64 engine_;
};

/// What comes of a daemon for which the disk is full.
enum class WhileFull : std::uint8_t { goes_on, is_left_alone, is_stopped };

/// One round: lines, a while, a fault. All of it comes from the seed.
struct Round {
  Fault fault{Fault::kill};
  std::uint64_t lines{0};             // for each source
  std::uint64_t writes{1};            // in so many pieces, torn anywhere
  std::chrono::microseconds pause{};  // before the fault
  bool wait_for_output{false};        // and until something has arrived
  std::uint64_t room{0};              // disk_full: how much a file may still grow
  WhileFull while_full{WhileFull::goes_on};
  unsigned difference{0};     // reload: between the variants of the configuration
  bool early{false};          // reload: whether it is up or not
  bool while_running{false};  // truncate; reload: it gets to its end
};

class Schedule {
 public:
  Schedule(std::uint64_t seed, const TortureOptions& options) : random_(seed) {
    others_ = {Fault::restart, Fault::reload};
    if (options.rotate) others_.push_back(Fault::rotate);
    if (options.truncate) others_.push_back(Fault::truncate);
    if (options.disk_full) others_.push_back(Fault::disk_full);
  }
  /// Kills, with something else between them now and then.
  Round next() {
    Round round;
    const bool other = !other_before_ && random_.chance(2, 3);
    other_before_ = other;
    const Fault fault = others_[random_.between(0, others_.size() - 1)];
    round.fault = other ? fault : Fault::kill;
    round.lines = random_.chance(1, 10) ? random_.between(1000, 8000) : random_.between(1, 800);
    round.writes = random_.between(1, 5);
    round.pause =
        std::chrono::microseconds(random_.chance(1, 2) ? random_.between(0, 20'000) : random_.between(0, 400'000));
    round.wait_for_output = random_.chance(1, 3);
    round.room = random_.between(0, 16 * 1024);
    round.while_full = static_cast<WhileFull>(random_.between(0, 2));
    round.difference = static_cast<unsigned>(random_.between(1, kVariants - 1));
    round.early = random_.chance(1, 8);
    round.while_running = random_.chance(1, 2);
    return round;
  }
  Random& random() { return random_; }

 private:
  Random random_;
  std::vector<Fault> others_;
  bool other_before_{false};
};

/// A log that is written to, and rotated.
class Log {
 public:
  Log(std::string source, fs::path path, bool logfmt)
      : source_(std::move(source)), path_(std::move(path)), logfmt_(logfmt) {
    fs::create_directories(path_.parent_path());
    open();
  }
  ~Log() { ::close(fd_); }
  Log(Log&& other) = delete;

  Status write(std::uint64_t lines, std::uint64_t pieces, Random& random) {
    std::string text;
    for (std::uint64_t i = 0; i < lines; ++i) text += line_of(source_, count_++, logfmt_);
    for (std::string_view left = text; !left.empty();) {
      const std::uint64_t some = --pieces == 0 || pieces > 1000 ? left.size() : random.between(1, left.size());
      if (::write(fd_, left.data(), some) != static_cast<ssize_t>(some)) {
        return fail(Error::from_errno(errno, "write " + path_.string()));
      }
      left.remove_prefix(some);
    }
    return {};
  }
  /// app.log.1 is the youngest of the old ones, as logrotate does it.
  void rotate() {
    const std::string name = path_.string();
    for (std::size_t i = renamed_; i > 0; --i) {
      fs::rename(name + "." + std::to_string(i), name + "." + std::to_string(i + 1));
    }
    fs::rename(path_, name + ".1");
    ++renamed_;
    ::close(fd_);
    open();
    begins_.push_back(count_);
  }
  void truncate() {
    if (::ftruncate(fd_, 0) == 0) begins_.push_back(count_);
  }
  const std::string& source() const { return source_; }
  std::uint64_t count() const { return count_; }
  const std::vector<std::uint64_t>& begins() const { return begins_; }

 private:
  void open() {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0) throw fs::filesystem_error("open", path_, std::error_code(errno, std::generic_category()));
  }
  const std::string source_;
  const fs::path path_;
  const bool logfmt_;
  int fd_{-1};
  std::uint64_t count_{0};
  std::size_t renamed_{0};
  std::vector<std::uint64_t> begins_{0};
};

struct Outcome {
  std::vector<std::pair<std::string, Verdict>> sinks;
  std::array<std::uint64_t, kFaultNames.size()> faults{};
  std::vector<std::string> troubles;  // beside the lines
  std::vector<std::string> skipped;
  std::uint64_t lines{0};
  std::string ledger;  // of the last run
  bool ordered{true};

  Verdict total() const {
    Verdict sum;
    for (const auto& [name, one] : sinks) {
      sum.expected += one.expected;
      sum.lost += one.lost;
      sum.doubled += one.doubled;
      sum.reordered += one.reordered;
      sum.foreign += one.foreign;
    }
    return sum;
  }
  bool good() const {
    const Verdict sum = total();
    return troubles.empty() && sum.expected > 0 && sum.lost == 0 && sum.doubled == 0 && sum.foreign == 0 &&
           (sum.reordered == 0 || !ordered);
  }
};

class Torture {
 public:
  Torture(Plan plan, const TortureOptions& options, std::uint64_t seed, fs::path directory)
      : plan_(std::move(plan)),
        options_(options),
        seed_(seed),
        directory_(std::move(directory)),
        schedule_(seed, options),
        child_(directory_ / "log") {
    result_.ordered = plan_.ordered;
  }

  Outcome run() {
    write_config(directory_, 0);
    for (const std::string& source : plan_.sources) {
      logs_.push_back(std::make_unique<Log>(source, log_of(directory_, source), plan_.logfmt));
    }
    const std::uint64_t kills =
        options_.kills.value_or(options_.duration.count() > 0 ? ~std::uint64_t{0} : kKillsByDefault);
    const auto until = Clock::now() + options_.duration;
    start();
    while (result_.troubles.empty() && count(Fault::kill) < kills &&
           (options_.duration.count() == 0 || Clock::now() < until)) {
      play(schedule_.next());
      tell(kills);
    }
    stop(SIGTERM);
    drain(directory_, "ledger.json");
    reference();
    compare();
    return std::move(result_);
  }

 private:
  void trouble(std::string what) { result_.troubles.push_back(std::move(what)); }
  std::uint64_t& count(Fault fault) { return result_.faults[static_cast<std::size_t>(fault)]; }
  static std::string config_of(const fs::path& directory) { return (directory / "logpipe.yaml").string(); }

  /// Whoever reads it meanwhile reads the old one or the new one.
  void write_config(const fs::path& directory, unsigned variant) {
    fs::create_directories(directory);
    const std::string path = config_of(directory);
    std::ofstream(path + ".new") << config_for(plan_, directory, variant);
    fs::rename(path + ".new", path);
  }
  void start() {
    if (!child_.start({"run", "--config", config_of(directory_), "--log-level", "info", "--log-format", "text"}))
      trouble("cannot start a process");
  }
  /// A signal that came before it listened ends any process.
  bool died_early_of(int signal, const Child::End& end) const {
    return end.status == 128 + signal && !child_.said(kListens);
  }
  /// False, within that time.
  bool wait_said(std::string_view words, std::uint64_t from, std::chrono::milliseconds limit) {
    const auto until = Clock::now() + limit;
    while (!child_.said(words, from)) {
      if (Clock::now() >= until) return false;
      std::this_thread::sleep_for(5ms);
    }
    return true;
  }
  /// Ends the child and says when it does not end as it should.
  void stop(int signal) {
    if (!child_.running()) return;
    child_.limit_files(Child::kNoLimit);
    child_.signal(signal);
    const auto end = child_.wait(kStopLimit);
    if (!end) return trouble("it did not stop within 120 s of a signal " + std::to_string(signal));
    // The drain deadline may have passed, or it had not even come to where it listens; one may die of the SIGHUP
    // before.
    const bool expected = signal == SIGKILL ? end->killed || died_early_of(SIGHUP, *end)
                                            : end->status == kExitDone || end->status == kExitUndrained ||
                                                  died_early_of(SIGTERM, *end) || died_early_of(SIGHUP, *end);
    if (!expected) trouble("it ended with status " + std::to_string(end->status));
    if (child_.said("the old configuration stays") || child_.said("the old one stays")) {
      trouble("a reload was refused; the log says why");
    }
  }
  /// Stops it while it waits for room, which takes a second signal.
  void stop_without_room() {
    const auto until = Clock::now() + kStopLimit;
    std::optional<Child::End> end;
    while (!end && Clock::now() < until) {
      child_.signal(SIGTERM);
      end = child_.wait(400ms);
    }
    if (!end) return trouble("without room it did not stop within 120 s");
    // Nor is there room for the last checkpoint, perhaps.
    if (end->status != kExitUndrained && end->status != kExitDone && end->status != kExitState) {
      trouble("without room it ended with status " + std::to_string(end->status));
    }
  }
  /// Reads and delivers all that is there.
  void drain(const fs::path& directory, const char* ledger) {
    if (!result_.troubles.empty()) return;
    const fs::path path = directory / ledger;
    if (!child_.start({"run", "--config", config_of(directory), "--once", "--log-level", "info", "--log-format", "text",
                       "--ledger", path.string()})) {
      return trouble("cannot start a process");
    }
    const auto end = child_.wait(kDrainLimit);
    if (!end) return trouble("a run with --once did not come to its end");
    if (end->status != 0) return trouble("a run with --once ended with status " + std::to_string(end->status));
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    result_.ledger = text.str();
  }

  void write(std::uint64_t lines, std::uint64_t pieces) {
    for (const auto& log : logs_) {
      if (Status status = log->write(lines, pieces, schedule_.random()); !status) trouble(status.error().message);
    }
  }

  void play(const Round& round) {
    write(round.lines, round.writes);
    if (!result_.troubles.empty()) return;
    const std::uint64_t before = round.wait_for_output ? bytes_written() : 0;
    std::this_thread::sleep_for(round.pause);
    for (int i = 0; round.wait_for_output && i < 200 && bytes_written() == before; ++i)
      std::this_thread::sleep_for(5ms);
    if (const auto end = child_.wait(0ms)) {
      if (died_early_of(SIGHUP, *end)) return start();
      return trouble("it ended by itself with status " + std::to_string(end->status));
    }
    if (round.fault != Fault::disk_full) ++count(round.fault);
    switch (round.fault) {
      case Fault::kill:
        stop(SIGKILL);
        return start();
      case Fault::restart:
        stop(SIGTERM);
        return start();
      case Fault::reload:
        return reload(round);
      case Fault::rotate:
        for (const auto& log : logs_) log->rotate();
        return;
      case Fault::truncate:
        return truncate(round);
      case Fault::disk_full:
        return fill_disk(round);
    }
  }
  /// With a configuration in which something is to begin again.
  void reload(const Round& round) {
    if (!round.early && !wait_said(kListens, child_.begin(), kStopLimit)) return trouble("it does not get to run");
    variant_ ^= round.difference;
    write_config(directory_, variant_);
    const std::uint64_t said = child_.log_length();
    child_.signal(SIGHUP);
    // The next fault comes when it has been done, or in the middle of it.
    if (round.while_running) wait_said("daemon: reloaded", said, 2000ms);
  }
  /// The disk was full when a sink says so; a limit that nothing comes up against is no fault.
  void fill_disk(const Round& round) {
    const std::uint64_t said = child_.log_length();
    const bool limited = child_.limit_files(largest_output() + round.room);
    if (!limited) skip("disk full: a limit for the size of files cannot be set");
    write(100 + round.room / 50, round.writes);
    if (!limited) return;
    if (!wait_said("cannot write, paused", said, 1000ms)) {
      child_.limit_files(Child::kNoLimit);
      return;
    }
    ++count(Fault::disk_full);
    switch (round.while_full) {
      case WhileFull::goes_on:
        std::this_thread::sleep_for(round.pause);
        child_.limit_files(Child::kNoLimit);
        return;
      case WhileFull::is_left_alone:  // until it is stopped or killed
        return;
      case WhileFull::is_stopped:
        stop_without_room();
        return start();
    }
  }
  /// What is cut off before it was read is lost with any reader, so everything is read and committed before.
  void truncate(const Round& round) {
    stop(SIGKILL);
    drain(directory_, "ledger.json");
    if (!result_.troubles.empty()) return;
    if (round.while_running) {
      start();
      std::this_thread::sleep_for(round.pause);
    }
    for (const auto& log : logs_) log->truncate();
    if (!round.while_running) start();
  }
  void skip(const std::string& what) {
    if (std::find(result_.skipped.begin(), result_.skipped.end(), what) == result_.skipped.end()) {
      result_.skipped.push_back(what);
    }
  }

  template <class Each>
  void each_output(Each each) const {
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(directory_ / "out", error)) {
      std::error_code gone;
      const std::uint64_t size = entry.is_regular_file(gone) ? entry.file_size(gone) : 0;
      if (!gone) each(size);
    }
  }
  std::uint64_t bytes_written() const {
    std::uint64_t sum = 0;
    each_output([&](std::uint64_t size) { sum += size; });
    return sum;
  }
  std::uint64_t largest_output() const {
    std::uint64_t most = 0;
    each_output([&](std::uint64_t size) { most = std::max(most, size); });
    return most;
  }

  /// The same lines once more, with nothing done to them.
  void reference() {
    if (!result_.troubles.empty()) return;
    const fs::path directory = directory_ / "reference";
    write_config(directory, 0);
    for (const auto& log : logs_) {
      const fs::path path = log_of(directory, log->source());
      fs::create_directories(path.parent_path());
      std::ofstream out(path, std::ios::binary);
      for (std::uint64_t i = 0; i < log->count(); ++i) out << line_of(log->source(), i, plan_.logfmt);
      if (!out.flush()) return trouble("cannot write " + path.string());
      result_.lines += log->count();
    }
    const std::string ledger = std::exchange(result_.ledger, {});
    drain(directory, "ledger.json");
    result_.ledger = ledger;
  }

  void compare() {
    if (!result_.troubles.empty()) return;
    std::unordered_map<std::string, std::vector<std::uint64_t>> begins;
    for (const auto& log : logs_) begins[log->source()] = log->begins();
    for (const auto& [sink, files_by_line, rotates] : plan_.sinks) {
      Comparison comparison(files_by_line, rotates);
      Status status = comparison.expect(outputs_of(directory_ / "reference", sink));
      if (status) status = comparison.compare(outputs_of(directory_, sink), begins);
      if (!status) trouble(status.error().message);
      if (comparison.unnamed() > 0) {
        trouble("sink `" + sink + "` leaves out the field `msg`, by which a line would be known again");
      }
      result_.sinks.emplace_back(sink, comparison.verdict());
    }
    if (result_.troubles.empty() && result_.total().expected == 0) {
      trouble("no line passes this pipeline; they look like " + line_of(plan_.sources[0], 0, plan_.logfmt));
    }
  }

  /// For people, now and then.
  void tell(std::uint64_t kills) {
    const bool terminal = ::isatty(STDERR_FILENO) == 1;
    if (Clock::now() < told_ + (terminal ? 200ms : 5000ms)) return;
    told_ = Clock::now();
    std::uint64_t lines = 0;
    for (const auto& log : logs_) lines += log->count();
    std::fprintf(stderr, "%storture: %llu%s kills, %llu lines%s", terminal ? "\r" : "",
                 static_cast<unsigned long long>(count(Fault::kill)),
                 kills == ~std::uint64_t{0} ? "" : ("/" + std::to_string(kills)).c_str(),
                 static_cast<unsigned long long>(lines), terminal ? "   " : "\n");
  }

  const Plan plan_;
  const TortureOptions& options_;
  const std::uint64_t seed_;
  const fs::path directory_;
  Schedule schedule_;
  Child child_;
  std::vector<std::unique_ptr<Log>> logs_;
  unsigned variant_{0};  // of the configuration
  Outcome result_;
  Clock::time_point told_{Clock::now()};
};

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

std::string json_list(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) out += (out.size() > 1 ? "," : "") + json_text(word);
  return out + "]";
}

std::string json_of(const Verdict& verdict) {
  return "\"expected\":" + std::to_string(verdict.expected) + ",\"lost\":" + std::to_string(verdict.lost) +
         ",\"doubled\":" + std::to_string(verdict.doubled) + ",\"reordered\":" + std::to_string(verdict.reordered) +
         ",\"foreign\":" + std::to_string(verdict.foreign);
}

std::string json_of(const Outcome& outcome, const Plan& plan, std::uint64_t seed, double seconds) {
  std::string out = "{\"good\":" + std::string(outcome.good() ? "true" : "false") +
                    ",\"seed\":" + std::to_string(seed) + ",\"lines\":" + std::to_string(outcome.lines) + "," +
                    json_of(outcome.total()) + ",\"ordered\":" + (outcome.ordered ? "true" : "false") + ",\"sinks\":{";
  for (const auto& [name, verdict] : outcome.sinks) {
    out += (out.back() == '{' ? "" : ",") + json_text(name) + ":{" + json_of(verdict) + "}";
  }
  out += "},\"faults\":{";
  for (std::size_t i = 0; i < kFaultNames.size(); ++i) {
    out += std::string(i == 0 ? "" : ",") + json_text(kFaultNames[i]) + ":" + std::to_string(outcome.faults[i]);
  }
  out += "},\"skipped\":" + json_list(outcome.skipped) + ",\"notes\":" + json_list(plan.notes) +
         ",\"troubles\":" + json_list(outcome.troubles) + ",\"seconds\":" + std::to_string(seconds);
  std::string ledger = outcome.ledger;
  while (!ledger.empty() && ledger.back() == '\n') ledger.pop_back();
  return out + ",\"ledger\":" + (ledger.empty() ? "null" : ledger) + "}\n";
}

std::string text_of(const Verdict& verdict, const Outcome& outcome) {
  return std::to_string(verdict.expected) + " expected: " + std::to_string(verdict.lost) + " lost, " +
         std::to_string(verdict.doubled) + " doubled, " + std::to_string(verdict.reordered) + " reordered" +
         (outcome.ordered ? "" : " (no order was promised)") + ", " + std::to_string(verdict.foreign) + " foreign";
}

void print(const Outcome& outcome, double seconds) {
  std::string faults;
  for (std::size_t i = 0; i < kFaultNames.size(); ++i) {
    if (outcome.faults[i] > 0) {
      faults += (faults.empty() ? "" : ", ") + std::to_string(outcome.faults[i]) + " " + kFaultNames[i];
    }
  }
  std::printf("%llu lines, %s, in %.1f s\n", static_cast<unsigned long long>(outcome.lines), faults.c_str(), seconds);
  for (const auto& [name, verdict] : outcome.sinks)
    std::printf("  %s: %s\n", name.c_str(), text_of(verdict, outcome).c_str());
  for (const std::string& skipped : outcome.skipped) std::printf("skipped: %s\n", skipped.c_str());
  if (!outcome.ledger.empty()) {
    const bool balanced = outcome.ledger.starts_with("{\"balanced\":true");
    std::printf("  ledger of the last run: %s\n", balanced ? "balanced" : "NOT balanced");
  }
  for (const std::string& trouble : outcome.troubles) std::printf("trouble: %s\n", trouble.c_str());
  std::printf("%s\n", outcome.good() ? "good: nothing is lost or doubled" : "BAD");
}

/// The directory to work in: the given one, which must be empty, or a new one.
Result<fs::path> working_directory(const fs::path& keep) {
  std::error_code error;
  if (!keep.empty()) {
    fs::create_directories(keep, error);
    if (error) return fail(ErrorKind::io, "create " + keep.string() + ": " + error.message());
    if (!fs::is_empty(keep, error)) return fail(ErrorKind::invalid, keep.string() + " is not empty");
    return fs::absolute(keep);
  }
  std::string name = (fs::temp_directory_path(error) / "logpipe-torture-XXXXXX").string();
  if (error || ::mkdtemp(name.data()) == nullptr) return fail(Error::from_errno(errno, "create " + name));
  return fs::path(name);
}

int refuse(const Error& error, int status) {
  std::fprintf(stderr, "logpipe: torture: %s\n", error.message.c_str());
  return status;
}

}  // namespace
}  // namespace torture

int run_torture(config::Node configuration, const TortureOptions& options) {
  using namespace torture;
  Result<Plan> plan = plan_of(std::move(configuration));
  if (!plan) return refuse(plan.error(), kExitConfig);
  const Result<fs::path> directory = working_directory(options.keep);
  if (!directory) return refuse(directory.error(), kExitUsage);
  const std::uint64_t seed = options.seed.value_or(std::random_device()());
  std::fprintf(stderr, "torture: seed %llu, in %s\n", static_cast<unsigned long long>(seed), directory->c_str());
  for (const std::string& note : plan->notes) std::fprintf(stderr, "torture: %s\n", note.c_str());

  const auto begin = Clock::now();
  Outcome outcome;
  try {
    outcome = Torture(*plan, options, seed, *directory).run();
  } catch (const fs::filesystem_error& error) {
    outcome.troubles.push_back(error.what());
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (::isatty(STDERR_FILENO) == 1) std::fputs("\r", stderr);
  if (options.json) {
    std::fputs(json_of(outcome, *plan, seed, seconds).c_str(), stdout);
  } else {
    print(outcome, seconds);
  }
  if (options.keep.empty() && outcome.good()) {
    std::error_code ignored;
    fs::remove_all(*directory, ignored);
  } else {
    std::fprintf(stderr, "torture: everything is in %s; --seed %llu plays it again\n", directory->c_str(),
                 static_cast<unsigned long long>(seed));
  }
  return outcome.good() ? kExitDone : kExitOther;
}

}  // namespace logpipe
