#include "telemetry/ledger.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

namespace logpipe {
namespace {

constexpr std::size_t kReasonsMax = 64;

void add(Amounts& amounts, std::string_view reason, Amount amount) {
  auto it = amounts.find(reason);
  if (it == amounts.end()) {
    const std::string_view key = amounts.size() < kReasonsMax ? reason : std::string_view("other");
    it = amounts.try_emplace(std::string(key)).first;
  }
  it->second += amount;
}

void add_all(Amounts& to, const Amounts& from) {
  for (const auto& [reason, amount] : from) to[reason] += amount;
}

/// The element of that name, at its place in the order of names; made if need be.
template <class T>
T& by_name(std::vector<T>& list, std::string T::*name, const std::string& wanted) {
  const auto it = std::lower_bound(list.begin(), list.end(), wanted,
                                   [name](const T& each, const std::string& text) { return each.*name < text; });
  if (it != list.end() && (*it).*name == wanted) return *it;
  T made;
  made.*name = wanted;
  return *list.insert(it, std::move(made));
}

}  // namespace

Amount total(const Amounts& amounts) noexcept {
  Amount sum;
  for (const auto& [reason, amount] : amounts) sum += amount;
  return sum;
}

PipelineAccount::PipelineAccount(std::string name) : name_(std::move(name)) {}
PipelineAccount::~PipelineAccount() = default;

void PipelineAccount::received(std::string_view source, Amount amount) {
  const std::lock_guard lock(mutex_);
  received_ += amount;
  auto it = sources_.find(source);
  if (it == sources_.end()) it = sources_.try_emplace(std::string(source)).first;
  it->second += amount;
}

PipelineAccount::StageAccount& PipelineAccount::stage(std::string_view component) {
  auto it = stages_.find(component);
  if (it == stages_.end()) it = stages_.try_emplace(std::string(component)).first;
  return it->second;
}

void PipelineAccount::discarded(std::string_view component, std::string_view reason, Amount amount) {
  const std::lock_guard lock(mutex_);
  add(stage(component).discarded, reason, amount);
}

void PipelineAccount::failed(std::string_view component, std::string_view reason, Amount amount) {
  const std::lock_guard lock(mutex_);
  add(stage(component).failed, reason, amount);
}

void PipelineAccount::passed(Amount as_received, Amount remaining) {
  const std::lock_guard lock(mutex_);
  passed_ += as_received;
  for (const auto& [name, sink] : sinks_) sink->admitted_ += remaining;
}

SinkAccount& PipelineAccount::sink(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto it = sinks_.find(name); it != sinks_.end()) return *it->second;
  if (received_ != Amount{}) {
    throw std::logic_error("ledger: sink " + std::string(name) + " was added to " + name_ + " after data had arrived");
  }
  return *sinks_.try_emplace(std::string(name), std::make_unique<SinkAccount>(*this)).first->second;
}

bool PipelineAccount::settled() const {
  const std::lock_guard lock(mutex_);
  return received_ == passed_ &&
         std::all_of(sinks_.begin(), sinks_.end(), [](const auto& entry) { return entry.second->settled_locked(); });
}

bool PipelineAccount::settled(std::string_view sink) const {
  const std::lock_guard lock(mutex_);
  const auto found = sinks_.find(sink);
  return found == sinks_.end() || found->second->settled_locked();
}

LedgerSnapshot::Pipeline PipelineAccount::snapshot() const {
  const std::lock_guard lock(mutex_);
  LedgerSnapshot::Pipeline pipeline{name_, received_, sources_, {}, {}};
  Amounts discarded;
  Amounts failed;
  for (const auto& [component, stage] : stages_) {
    pipeline.stages.push_back({component, stage.discarded, stage.failed});
    add_all(discarded, stage.discarded);
    add_all(failed, stage.failed);
  }
  for (const auto& [name, account] : sinks_) {
    LedgerSnapshot::Sink sink;
    sink.name = name;
    sink.received = received_;
    sink.delivered = account->delivered_;
    sink.discarded = discarded;
    add_all(sink.discarded, account->discarded_);
    sink.failed = failed;
    add_all(sink.failed, account->failed_);
    sink.dead_lettered = account->dead_lettered_;
    sink.in_flight = (received_ - passed_) + (account->admitted_ - account->completed_);
    // The subtractions wrap: twice too much on both sides must not look even.
    sink.balanced = passed_.within(received_) && account->completed_.within(account->admitted_) && sink.adds_up();
    pipeline.sinks.push_back(std::move(sink));
  }
  return pipeline;
}

void SinkAccount::delivered(Amount amount) {
  const std::lock_guard lock(pipeline_.mutex_);
  delivered_ += amount;
}

void SinkAccount::discarded(std::string_view reason, Amount amount) {
  const std::lock_guard lock(pipeline_.mutex_);
  add(discarded_, reason, amount);
}

void SinkAccount::failed(std::string_view reason, Amount amount) {
  const std::lock_guard lock(pipeline_.mutex_);
  add(failed_, reason, amount);
}

void SinkAccount::dead_lettered(std::string_view reason, Amount amount) {
  const std::lock_guard lock(pipeline_.mutex_);
  add(dead_lettered_, reason, amount);
}

void SinkAccount::completed(Amount arrived) {
  const std::lock_guard lock(pipeline_.mutex_);
  completed_ += arrived;
  if (under_way_ > 0) --under_way_;
}

void SinkAccount::handed_over() {
  const std::lock_guard lock(pipeline_.mutex_);
  ++under_way_;
}

void SinkAccount::delivered_all(Amount arrived) {
  const std::lock_guard lock(pipeline_.mutex_);
  delivered_ += arrived;
  completed_ += arrived;
  if (under_way_ > 0) --under_way_;
}

PipelineAccount& Ledger::pipeline(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto it = pipelines_.find(name); it != pipelines_.end()) return *it->second;
  const std::string key(name);
  return *pipelines_.try_emplace(key, std::make_unique<PipelineAccount>(key)).first->second;
}

void Ledger::retire_locked(std::string_view name) {
  const auto it = pipelines_.find(name);
  if (it == pipelines_.end()) return;
  retired_.push_back(std::move(it->second));
  pipelines_.erase(it);
}

void Ledger::retire(std::string_view name) {
  const std::lock_guard lock(mutex_);
  retire_locked(name);
}

PipelineAccount& Ledger::renew(std::string_view name) {
  {
    const std::lock_guard lock(mutex_);
    retire_locked(name);
  }
  return pipeline(name);
}

void Ledger::forget_settled() {
  const std::lock_guard lock(mutex_);
  std::erase_if(retired_, [this](const std::unique_ptr<PipelineAccount>& account) {
    if (!account->settled()) return false;
    LedgerSnapshot alone;
    alone.pipelines.push_back(account->snapshot());
    for (const LedgerSnapshot::Sink& sink : alone.pipelines.back().sinks) alone.balanced &= sink.balanced;
    settled_.add(alone);
    return true;
  });
}

bool Ledger::settled(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto it = pipelines_.find(name);
  return (it == pipelines_.end() || it->second->settled()) &&
         std::all_of(retired_.begin(), retired_.end(),
                     [&](const auto& account) { return account->name() != name || account->settled(); });
}

bool Ledger::settled(std::string_view name, std::string_view sink) const {
  const std::lock_guard lock(mutex_);
  const auto it = pipelines_.find(name);
  return (it == pipelines_.end() || it->second->settled(sink)) &&
         std::all_of(retired_.begin(), retired_.end(),
                     [&](const auto& account) { return account->name() != name || account->settled(sink); });
}

bool Ledger::holds(const PipelineAccount& account) const {
  const std::lock_guard lock(mutex_);
  const auto same = [&](const std::unique_ptr<PipelineAccount>& each) { return each.get() == &account; };
  return std::any_of(retired_.begin(), retired_.end(), same) ||
         std::any_of(pipelines_.begin(), pipelines_.end(), [&](const auto& entry) { return same(entry.second); });
}

LedgerSnapshot Ledger::snapshot() const {
  const std::lock_guard lock(mutex_);
  LedgerSnapshot snapshot = settled_;
  const auto add_account = [&](const PipelineAccount& account) {
    LedgerSnapshot one;
    one.pipelines.push_back(account.snapshot());
    for (const LedgerSnapshot::Sink& sink : one.pipelines.back().sinks) one.balanced &= sink.balanced;
    snapshot.add(one);
  };
  for (const auto& account : retired_) add_account(*account);
  for (const auto& [name, account] : pipelines_) add_account(*account);
  return snapshot;
}

Amount LedgerSnapshot::in_flight() const noexcept {
  Amount sum;
  for (const Pipeline& pipeline : pipelines) {
    for (const Sink& sink : pipeline.sinks) sum += sink.in_flight;
  }
  return sum;
}

bool LedgerSnapshot::Sink::adds_up() const noexcept {
  return received == delivered + total(discarded) + total(failed) + total(dead_lettered) + in_flight;
}

void LedgerSnapshot::Sink::add(const Sink& other) {
  received += other.received;
  delivered += other.delivered;
  add_all(discarded, other.discarded);
  add_all(failed, other.failed);
  add_all(dead_lettered, other.dead_lettered);
  in_flight += other.in_flight;
  balanced = balanced && other.balanced;
}

void LedgerSnapshot::add(const LedgerSnapshot& other) {
  balanced = balanced && other.balanced;
  for (const Pipeline& theirs : other.pipelines) {
    Pipeline& pipeline = by_name(pipelines, &Pipeline::name, theirs.name);
    pipeline.received += theirs.received;
    add_all(pipeline.sources, theirs.sources);
    for (const Stage& their_stage : theirs.stages) {
      Stage& stage = by_name(pipeline.stages, &Stage::component, their_stage.component);
      add_all(stage.discarded, their_stage.discarded);
      add_all(stage.failed, their_stage.failed);
    }
    for (const Sink& their_sink : theirs.sinks) {
      by_name(pipeline.sinks, &Sink::name, their_sink.name).add(their_sink);
    }
  }
}

}  // namespace logpipe
