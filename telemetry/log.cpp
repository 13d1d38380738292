#include "telemetry/log.hpp"

#include <spdlog/details/null_mutex.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "telemetry/text.hpp"

namespace logpipe::log {
namespace {

using detail::append_json_string;
using detail::append_number;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kBurst = 5;
constexpr auto kWindow = std::chrono::seconds(10);
constexpr std::size_t kTrackedMax = 256;  // distinct messages; a new one beyond pushes out the oldest

static_assert(static_cast<int>(Severity::error) == SPDLOG_LEVEL_ERROR);
static_assert(static_cast<int>(Severity::off) == SPDLOG_LEVEL_OFF);
spdlog::level::level_enum to_spdlog(Severity severity) {
  return static_cast<spdlog::level::level_enum>(severity);
}

/// `warn ` for people, `<4>` for the journal (syslog priorities, sd-daemon(3)).
class SeverityFlag final : public spdlog::custom_flag_formatter {
 public:
  explicit SeverityFlag(bool journal) : journal_(journal) {}
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    static constexpr std::string_view kPriorities[] = {"<7>", "<7>", "<6>", "<4>", "<3>", "<2>", ""};
    const auto severity = static_cast<Severity>(message.level);
    std::string text(journal_ ? kPriorities[static_cast<int>(severity)] : name(severity));
    if (!journal_) text.resize(std::max<std::size_t>(text.size(), 5), ' ');
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<SeverityFlag>(journal_);
  }

 private:
  const bool journal_;
};

/// Hands whole lines to a function. The log's mutex is held around it, so it needs none of its own.
class FunctionSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit FunctionSink(std::function<void(std::string_view)> write) : write_(std::move(write)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    write_({line.data(), line.size()});
  }
  void flush_() override {}

  const std::function<void(std::string_view)> write_;
};

/// How often one message has come in its current ten seconds.
struct Repeats {
  Clock::time_point since;
  std::uint32_t passed{0};
  std::uint64_t suppressed{0};
  Severity severity{Severity::warn};
  std::string component;
  std::string message;
};

struct State {
  std::mutex mutex;
  // Guarded by mutex. A mutex because a line of the log may come from any thread and must stay whole.
  Options options;
  Format format{Format::text};  // never automatic
  std::unique_ptr<spdlog::logger> logger;
  std::unordered_map<std::uint64_t, Repeats> repeats;
};

constinit std::atomic<Severity> configured_severity{Severity::info};
constinit std::atomic<Severity> current_severity{Severity::info};

const char* environment(const char* variable) noexcept {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : "";
}

bool wants_color(Color color, bool terminal) noexcept {
  if (color != Color::automatic) return color == Color::always;
  return terminal && *environment("NO_COLOR") == '\0' && std::string_view(environment("TERM")) != "dumb";
}

std::unique_ptr<spdlog::formatter> make_formatter(Format format, bool terminal) {
  const bool local = format == Format::text && terminal;
  auto formatter = std::make_unique<spdlog::pattern_formatter>(local ? spdlog::pattern_time_type::local
                                                                     : spdlog::pattern_time_type::utc);
  formatter->add_flag<SeverityFlag>('*', format == Format::journal);
  switch (format) {
    case Format::journal:
      formatter->set_pattern("%*%v");
      break;
    case Format::json:
      formatter->set_pattern("{\"timestamp\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}");
      break;
    case Format::text:
    case Format::automatic:
      formatter->set_pattern(terminal ? "%H:%M:%S.%e %^%*%$ %v" : "%Y-%m-%dT%H:%M:%S.%eZ %^%*%$ %v");
  }
  return formatter;
}

void set_up(State& state, Options options) {
  const bool terminal = !options.write && isatty(STDERR_FILENO) == 1;
  Format format = options.format;
  if (format == Format::automatic) {
    const bool journal = !options.write && is_journal_stream(STDERR_FILENO, environment("JOURNAL_STREAM"));
    format = journal ? Format::journal : Format::text;
  }
  spdlog::sink_ptr sink;
  if (options.write) {
    sink = std::make_shared<FunctionSink>(options.write);
  } else {
    const bool color = format == Format::text && wants_color(options.color, terminal);
    sink = std::make_shared<spdlog::sinks::ansicolor_stderr_sink_st>(color ? spdlog::color_mode::always
                                                                           : spdlog::color_mode::never);
  }
  auto logger = std::make_unique<spdlog::logger>("logpipe", std::move(sink));
  logger->set_level(spdlog::level::trace);               // we have filtered already
  logger->set_error_handler([](const std::string&) {});  // nobody is left to tell
  logger->set_formatter(make_formatter(format, terminal));
  state.logger = std::move(logger);
  state.format = format;
  state.options = std::move(options);
}

/// Lives for ever, for other objects may log while they are destroyed at exit.
State& state() {
  static State* const instance = [] {
    auto made = std::make_unique<State>();
    set_up(*made, {});
    return made.release();
  }();
  return *instance;
}

void append_value(std::string& out, const Value& value) {
  switch (value.kind) {
    case Value::Kind::text:
      append_json_string(out, value.text);
      break;
    case Value::Kind::integer:
      append_number(out, value.integer);
      break;
    case Value::Kind::unsigned_integer:
      append_number(out, value.unsigned_integer);
      break;
    case Value::Kind::number:
      append_number(out, value.number);
      break;
    case Value::Kind::boolean:
      out += value.boolean ? "true" : "false";
      break;
  }
}

/// One line of printable text: line breaks would look like further lines, escape sequences would reach the terminal.
void append_printable(std::string& out, std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text);
  for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
    const bool escaped = quoted[i] == '\\' && (quoted[i + 1] == '"' || quoted[i + 1] == '\\');
    if (escaped) ++i;
    out += quoted[i];
  }
}

bool plain(std::string_view text) noexcept {
  if (text.empty()) return false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7F || c == '"' || c == '=' || c == '\\') return false;
  }
  return true;
}

std::string text_body(std::string_view component, std::string_view message, Fields fields, std::uint64_t suppressed) {
  std::string body;
  append_printable(body, component);
  body += ": ";
  append_printable(body, message);
  for (const Field& field : fields) {
    body.append(" ").append(field.key).append("=");
    if (field.value.kind == Value::Kind::text && plain(field.value.text)) {
      body += field.value.text;
    } else {
      append_value(body, field.value);
    }
  }
  if (suppressed > 0) {
    body += " (";
    append_number(body, suppressed);
    body += " more suppressed)";
  }
  return body;
}

bool reserved(std::string_view key) noexcept {
  return key == "timestamp" || key == "level" || key == "component" || key == "message" || key == "suppressed";
}

std::string json_body(Severity severity, std::string_view component, std::string_view message, Fields fields,
                      std::uint64_t suppressed) {
  std::string body = "\"level\":";
  append_json_string(body, name(severity));
  body += ",\"component\":";
  append_json_string(body, component);
  body += ",\"message\":";
  append_json_string(body, message);
  for (const Field& field : fields) {
    std::string key(field.key);
    if (reserved(key)) key += '_';
    body += ',';
    append_json_string(body, key);
    body += ':';
    // JSON has no word for these.
    const bool no_number = field.value.kind == Value::Kind::number && !(field.value.number - field.value.number == 0);
    if (no_number) {
      body += "null";
    } else {
      append_value(body, field.value);
    }
  }
  if (suppressed > 0) {
    body += ",\"suppressed\":";
    append_number(body, suppressed);
  }
  return body;
}

void emit(State& state, Severity severity, std::string_view component, std::string_view message, Fields fields,
          std::uint64_t suppressed) {
  const std::string body = state.format == Format::json ? json_body(severity, component, message, fields, suppressed)
                                                        : text_body(component, message, fields, suppressed);
  state.logger->log(to_spdlog(severity), spdlog::string_view_t(body.data(), body.size()));
}

Clock::time_point now(const State& state) {
  return state.options.now ? state.options.now() : Clock::now();
}

void report(State& state, Repeats& repeats) {
  if (repeats.suppressed == 0) return;
  emit(state, repeats.severity, repeats.component, repeats.message, {}, std::exchange(repeats.suppressed, 0));
}

std::uint64_t key_of(std::string_view component, std::string_view message, Where where) {
  auto key = static_cast<std::uint64_t>(where.line);
  for (const std::string_view part : {std::string_view(where.file), component, message}) {
    key = key * 0x9E3779B97F4A7C15U ^ std::hash<std::string_view>{}(part);
  }
  return key;
}

void push_out_oldest(State& state) {
  auto oldest = state.repeats.begin();
  for (auto it = state.repeats.begin(); it != state.repeats.end(); ++it) {
    if (it->second.since < oldest->second.since) oldest = it;
  }
  report(state, oldest->second);
  state.repeats.erase(oldest);
}

/// How many were suppressed before this one, or nothing if this one is suppressed too.
std::optional<std::uint64_t> admit(State& state, Severity severity, std::string_view component,
                                   std::string_view message, Where where) {
  const Clock::time_point time = now(state);
  const std::uint64_t key = key_of(component, message, where);
  auto it = state.repeats.find(key);
  if (it == state.repeats.end()) {
    if (state.repeats.size() >= kTrackedMax) push_out_oldest(state);
    Repeats fresh{time, 0, 0, severity, std::string(component), std::string(message)};
    it = state.repeats.emplace(key, std::move(fresh)).first;
  }
  Repeats& repeats = it->second;
  if (time - repeats.since >= kWindow) {
    repeats.since = time;
    repeats.passed = 1;
    return std::exchange(repeats.suppressed, 0);
  }
  if (repeats.passed < kBurst) {
    ++repeats.passed;
    return 0;
  }
  ++repeats.suppressed;
  return std::nullopt;
}

}  // namespace

std::optional<Severity> parse_severity(std::string_view text) noexcept {
  if (text == "warning") return Severity::warn;
  if (text == "err") return Severity::error;
  for (auto i = static_cast<std::uint8_t>(Severity::trace); i <= static_cast<std::uint8_t>(Severity::off); ++i) {
    if (text == name(static_cast<Severity>(i))) return static_cast<Severity>(i);
  }
  return std::nullopt;
}

std::optional<Format> parse_format(std::string_view text) noexcept {
  if (text == "auto") return Format::automatic;
  if (text == "text") return Format::text;
  if (text == "json") return Format::json;
  if (text == "journal") return Format::journal;
  return std::nullopt;
}

std::string_view name(Severity severity) noexcept {
  switch (severity) {
    case Severity::trace:
      return "trace";
    case Severity::debug:
      return "debug";
    case Severity::info:
      return "info";
    case Severity::warn:
      return "warn";
    case Severity::error:
      return "error";
    case Severity::critical:
      return "critical";
    case Severity::off:
      return "off";
  }
  return "unknown";
}

bool enabled(Severity severity) noexcept {
  return severity >= current_severity.load(std::memory_order_relaxed);
}
Severity severity() noexcept {
  return current_severity.load(std::memory_order_relaxed);
}
void set_severity(Severity severity) noexcept {
  current_severity.store(severity, std::memory_order_relaxed);
}

Severity toggle_verbose() noexcept {
  const Severity base = configured_severity.load(std::memory_order_relaxed);
  const bool lowest = base == Severity::trace;
  const auto verbose = lowest ? base : static_cast<Severity>(static_cast<std::uint8_t>(base) - 1);
  const Severity next = severity() == base ? verbose : base;
  set_severity(next);
  return next;
}

// An exception from formatting or memory loses the line: the log must never take the program down.
void configure(Options options) noexcept {
  const Severity wanted = options.severity;
  try {
    report_suppressed(Report::all);
    State& log = state();
    const std::lock_guard lock(log.mutex);
    log.repeats.clear();
    set_up(log, std::move(options));
  } catch (const std::exception&) {
  }
  configured_severity.store(wanted, std::memory_order_relaxed);
  set_severity(wanted);
}

void write(Severity severity, std::string_view component, std::string_view message, Fields fields,
           Where where) noexcept {
  try {
    State& log = state();
    const std::lock_guard lock(log.mutex);
    std::uint64_t suppressed = 0;
    if (severity == Severity::warn || severity == Severity::error) {
      const auto admitted = admit(log, severity, component, message, where);
      if (!admitted) return;
      suppressed = *admitted;
    }
    emit(log, severity, component, message, fields, suppressed);
  } catch (const std::exception&) {
  }
}

void report_suppressed(Report which) noexcept {
  try {
    State& log = state();
    const std::lock_guard lock(log.mutex);
    const Clock::time_point time = now(log);
    for (auto it = log.repeats.begin(); it != log.repeats.end();) {
      const bool expired = time - it->second.since >= kWindow;
      if (expired || which == Report::all) report(log, it->second);
      it = expired ? log.repeats.erase(it) : std::next(it);
    }
  } catch (const std::exception&) {
  }
}

bool is_journal_stream(int descriptor, std::string_view journal_stream) noexcept {
  struct stat status {};
  const std::size_t colon = journal_stream.find(':');
  if (colon == std::string_view::npos || fstat(descriptor, &status) != 0) return false;
  const std::string_view device = journal_stream.substr(0, colon);
  const std::string_view inode = journal_stream.substr(colon + 1);
  const auto equals = [](std::string_view text, std::uint64_t wanted) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return !text.empty() && error == std::errc{} && end == text.data() + text.size() && value == wanted;
  };
  return equals(device, status.st_dev) && equals(inode, status.st_ino);
}

}  // namespace logpipe::log
