#include "telemetry/health.hpp"

#include <algorithm>
#include <cstddef>
#include <mutex>

#include "telemetry/text.hpp"

namespace logpipe {
namespace detail {

struct HealthEntry {
  std::string name;                                             // constant after construction
  std::function<std::chrono::system_clock::time_point()> wall;  // likewise
  std::atomic<bool> gone{false};
  mutable std::mutex mutex;
  // Guarded by mutex.
  HealthState state{HealthState::ok};
  std::string reason;
  std::chrono::system_clock::time_point since;
};

/// What the watcher remembers about a thread.
struct Watched {
  std::string name;
  std::shared_ptr<HeartbeatCell> cell;
  std::uint64_t beats;
  bool waiting;
  std::chrono::steady_clock::time_point changed;
};

/// What a handle refers to its line by: dropping it marks the line as gone, and the table forgets it when it looks
/// next. The release makes the thread's last beats visible to whoever finds the mark.
template <class T>
std::shared_ptr<T> leave_with_handle(const std::shared_ptr<T>& line) {
  return {line.get(), [line](T*) { line->gone.store(true, std::memory_order_release); }};
}

template <class T>
bool gone(const std::shared_ptr<T>& line) noexcept {
  return line->gone.load(std::memory_order_acquire);
}

struct HealthCore {
  HealthClocks clocks;
  std::chrono::milliseconds stall_limit;
  std::atomic<Phase> phase{Phase::starting};
  mutable std::mutex mutex;
  // Guarded by mutex.
  std::vector<std::shared_ptr<HealthEntry>> components;
  std::vector<Watched> threads;
  std::uint64_t retired_beats{0};

  /// With mutex held.
  void prune() {
    std::erase_if(components, [](const auto& entry) { return gone(entry); });
    std::erase_if(threads, [this](const Watched& thread) {
      if (!gone(thread.cell)) return false;
      retired_beats += thread.cell->beats.load(std::memory_order_relaxed);
      return true;
    });
  }
};

}  // namespace detail

namespace {

constexpr std::size_t kReasonBytesMax = 500;

struct ComponentView {
  std::string name;
  HealthState state;
  std::string reason;
  std::chrono::system_clock::time_point since;
};

std::vector<ComponentView> view(detail::HealthCore& core) {
  std::vector<ComponentView> views;
  const std::lock_guard lock(core.mutex);
  core.prune();
  for (const auto& entry : core.components) {
    const std::lock_guard entry_lock(entry->mutex);
    views.push_back({entry->name, entry->state, entry->reason, entry->since});
  }
  std::stable_sort(views.begin(), views.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return views;
}

void append_strings(std::string& out, const std::vector<std::string>& strings) {
  out += '[';
  for (const std::string& each : strings) {
    if (out.back() != '[') out += ',';
    detail::append_json_string(out, each);
  }
  out += ']';
}

HealthState worst(const std::vector<ComponentView>& components) noexcept {
  HealthState state = HealthState::ok;
  for (const ComponentView& component : components) state = std::max(state, component.state);
  return state;
}

void append_component(std::string& out, const ComponentView& component, std::chrono::system_clock::time_point now) {
  out += "{\"name\":";
  detail::append_json_string(out, component.name);
  out.append(",\"state\":\"").append(name(component.state)).append("\",\"reason\":");
  detail::append_json_string(out, component.reason);
  out += ",\"since\":\"";
  detail::append_timestamp(out, component.since);
  out += "\",\"seconds\":";
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - component.since).count();
  detail::append_number(out, static_cast<std::int64_t>(std::max<std::int64_t>(seconds, 0)));
  out += '}';
}

}  // namespace

std::string_view name(HealthState state) noexcept {
  switch (state) {
    case HealthState::ok:
      return "ok";
    case HealthState::degraded:
      return "degraded";
    case HealthState::failed:
      return "failed";
  }
  return "unknown";
}

std::string_view name(Phase phase) noexcept {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::running:
      return "running";
    case Phase::reloading:
      return "reloading";
    case Phase::draining:
      return "draining";
  }
  return "unknown";
}

void ComponentHealth::set(HealthState state, std::string_view reason) {
  if (!entry_) return;
  const std::lock_guard lock(entry_->mutex);
  if (entry_->state != state) {
    entry_->state = state;
    entry_->since = entry_->wall();
  }
  entry_->reason = reason.substr(0, kReasonBytesMax);
}

HealthTable::HealthTable(std::chrono::milliseconds stall_limit, HealthClocks clocks)
    : core_(std::make_shared<detail::HealthCore>()) {
  core_->clocks = std::move(clocks);
  core_->stall_limit = stall_limit;
}

ComponentHealth HealthTable::component(std::string_view name) {
  auto entry = std::make_shared<detail::HealthEntry>();
  entry->name = name;
  entry->wall = core_->clocks.wall;
  entry->since = entry->wall();
  ComponentHealth handle;
  handle.entry_ = detail::leave_with_handle(entry);
  const std::lock_guard lock(core_->mutex);
  core_->prune();
  core_->components.push_back(std::move(entry));
  return handle;
}

Heartbeat HealthTable::heartbeat(std::string_view thread) {
  auto cell = std::make_shared<detail::HeartbeatCell>();
  Heartbeat handle;
  handle.cell_ = detail::leave_with_handle(cell);
  const std::lock_guard lock(core_->mutex);
  core_->prune();
  core_->threads.push_back({std::string(thread), std::move(cell), 0, true, core_->clocks.steady()});
  return handle;
}

void HealthTable::set_phase(Phase phase) {
  core_->phase.store(phase);
}
Phase HealthTable::phase() const {
  return core_->phase.load();
}

std::vector<std::string> HealthTable::stalled(std::chrono::milliseconds limit) {
  std::vector<std::string> names;
  const std::lock_guard lock(core_->mutex);
  core_->prune();
  const auto now = core_->clocks.steady();
  for (detail::Watched& thread : core_->threads) {
    const std::uint64_t beats = thread.cell->beats.load(std::memory_order_relaxed);
    const bool waiting = thread.cell->waiting.load(std::memory_order_relaxed);
    if (waiting || thread.waiting || beats != thread.beats) thread.changed = now;
    thread.waiting = waiting;
    thread.beats = beats;
    if (now - thread.changed >= limit && !waiting) names.push_back(thread.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::uint64_t HealthTable::beats() const {
  const std::lock_guard lock(core_->mutex);
  core_->prune();
  std::uint64_t beats = core_->retired_beats;
  for (const detail::Watched& thread : core_->threads) beats += thread.cell->beats.load(std::memory_order_relaxed);
  return beats;
}

HealthReply HealthTable::live() {
  const std::vector<std::string> names = stalled(core_->stall_limit);
  if (names.empty()) return {200, "{\"status\":\"ok\"}\n"};
  std::string body = "{\"status\":\"stalled\",\"stalled\":";
  append_strings(body, names);
  body += "}\n";
  return {503, std::move(body)};
}

HealthReply HealthTable::ready() const {
  const Phase now = phase();
  std::vector<std::string> failed;
  for (const ComponentView& component : view(*core_)) {
    if (component.state == HealthState::failed) failed.push_back(component.name);
  }
  const bool serving = now == Phase::running || now == Phase::reloading;
  std::string body = "{\"status\":\"";
  body += !serving ? name(now) : failed.empty() ? "ready" : "failed";
  body += "\",\"failed\":";
  append_strings(body, failed);
  body += "}\n";
  return {serving && failed.empty() ? 200 : 503, std::move(body)};
}

HealthReply HealthTable::health() {
  const std::vector<std::string> stuck = stalled(core_->stall_limit);
  const std::vector<ComponentView> components = view(*core_);
  const HealthState state = worst(components);
  const bool bad = state == HealthState::failed || !stuck.empty();
  std::string body = "{\"status\":\"";
  body += bad ? name(HealthState::failed) : name(state);
  body.append("\",\"phase\":\"").append(name(phase())).append("\",\"stalled\":");
  append_strings(body, stuck);
  body += ",\"components\":[";
  const auto now = core_->clocks.wall();
  bool first = true;
  for (const ComponentView& component : components) {
    if (!first) body += ',';
    first = false;
    append_component(body, component, now);
  }
  body += "]}\n";
  return {bad ? 503 : 200, std::move(body)};
}

}  // namespace logpipe
