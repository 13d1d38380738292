#include "delivery/sink_tracker.hpp"

#include <algorithm>
#include <utility>

#include "telemetry/ledger.hpp"
#include "telemetry/log.hpp"

namespace logpipe::detail {

using journal::OutputKey;

const journal::Position* SinkTracker::Step::position(std::uint64_t file_id) const noexcept {
  const auto found = std::lower_bound(record.positions.begin(), record.positions.end(), file_id,
                                      [](const auto& position, std::uint64_t id) { return position.first < id; });
  return found != record.positions.end() && found->first == file_id ? &found->second : nullptr;
}

SinkTracker::SinkTracker(ProgressOwner& owner, std::string name, const journal::SinkState* committed)
    : owner_(owner), name_(std::move(name)) {
  const MutexLock lock(mutex_);
  load(committed);
}

void SinkTracker::load(const journal::SinkState* committed) {
  outputs_.clear();
  lifetime_.clear();
  lifetime_dirty_ = false;
  for (auto& [id, file] : files_) file.stable = {file.first, {}};
  if (!committed) return;
  lifetime_ = committed->lifetime;
  for (const auto& [id, position] : committed->positions) {
    File& file = files_[id];
    file.stable = position;
    file.live.reset(position.offset, position.witness);
  }
  for (const auto& [key, output] : committed->outputs) {
    Output& loaded = outputs_[key];
    loaded.path = output.path;
    loaded.birth_ns = output.birth_ns;
    loaded.live = loaded.stable = output.length;
    loaded.known = true;
    writes_outputs_ = true;
  }
}

void SinkTracker::complete(const Delivery& delivery, std::span<const OutputMark> outputs) {
  complete_together(std::span(&delivery, 1), outputs);
}

void SinkTracker::complete_together(std::span<const Delivery> deliveries, std::span<const OutputMark> outputs) {
  bool news = false;
  bool overflow = false;
  {
    const MutexLock lock(mutex_);
    for (const Delivery& delivery : deliveries) {
      if (last_part(delivery)) overflow = !advance(delivery.ranges) || overflow;
    }
    for (const OutputMark& mark : outputs) enter(mark);
    news = settle();
    for (const Delivery& delivery : deliveries) {
      if (LedgerSnapshot::Sink* totals = lifetime_of(delivery.pipeline))
        add_to_lifetime(*totals, delivery, std::nullopt);
    }
    news = news || lifetime_dirty_;
  }
  if (overflow) report_overflow();
  for (const Delivery& delivery : deliveries) {
    settle_account(delivery, std::nullopt);
    if (completed_) completed_(delivery);
  }
  if (news) owner_.note_change();
}

void SinkTracker::enter(const OutputMark& mark) {
  const OutputKey key{mark.device, mark.inode};
  Output& output = outputs_[key];
  if (output.path != mark.path) output.path = mark.path;
  output.birth_ns = mark.birth_ns;
  output.live = mark.length;
  output.live_retired = false;
  if (mark.sync) output.sync = mark.sync;  // otherwise what was written before may still have to be synced
  writes_outputs_ = true;
  touch(key, output);
}

void SinkTracker::settle_account(const Delivery& delivery, std::optional<Reason> dropped) {
  SinkAccount* account = nullptr;
  {
    const MutexLock lock(mutex_);
    if (delivery.pipeline < accounts_.size()) account = accounts_[delivery.pipeline].account;
  }
  if (account == nullptr) return;
  if (!dropped && delivery.discards.empty() && delivery.delivered == delivery.admitted) {
    account->delivered_all(delivery.admitted);
    return;
  }
  for (const Delivery::Discard& discard : delivery.discards) {
    if (discard.intentional) {
      account->discarded(reason_name(discard.reason), discard.amount);
    } else {
      account->failed(reason_name(discard.reason), discard.amount);
    }
  }
  if (dropped) {
    account->discarded(reason_name(*dropped), delivery.delivered);
  } else {
    account->delivered(delivery.delivered);
  }
  account->completed(delivery.admitted);
}

void SinkTracker::discarded(const Delivery& delivery, Reason reason) {
  settle_account(delivery, reason);
}

void SinkTracker::pass_over(std::span<const SourceRange> ranges,
                            const std::map<std::uint32_t, LedgerSnapshot::Sink>& lifetime) {
  bool news = false;
  bool overflow = false;
  {
    const MutexLock lock(mutex_);
    overflow = !advance(ranges);
    news = settle();
    for (const auto& [pipeline, amounts] : lifetime) {
      if (LedgerSnapshot::Sink* totals = lifetime_of(pipeline)) totals->add(amounts);
    }
    news = news || lifetime_dirty_;
  }
  if (overflow) report_overflow();
  if (news) owner_.note_change();
}

bool SinkTracker::advance(std::span<const SourceRange> ranges) {
  bool all = true;
  for (const SourceRange& range : ranges) {
    if (!range.file || range.file->id == 0) continue;
    const auto found = files_.find(range.file->id);
    if (found == files_.end()) continue;  // a file that has begun again meanwhile
    File& file = found->second;
    const bool was_gap_free = file.live.gap_free();
    const std::uint64_t before = file.live.contiguous();
    if (!file.live.complete(range.begin, range.end, range.witness)) all = false;
    const bool is_gap_free = file.live.gap_free();
    if (was_gap_free && !is_gap_free) ++gaps_;
    if (!was_gap_free && is_gap_free) --gaps_;
    if (!file.moved && file.live.contiguous() != before) {
      file.moved = true;
      moved_files_.push_back(range.file->id);
    }
  }
  return all;
}

void SinkTracker::report_overflow() const {
  log::error("checkpoints", "too many deliveries completed behind a missing one; its position stays where it is",
             {{"sink", name_}, {"limit", Watermark::kPendingMax}});
}

bool SinkTracker::last_part(const Delivery& delivery) {
  if (!delivery.batch) return true;
  const auto [place, fresh] = parts_.try_emplace(delivery.batch, 0);
  if (++place->second < delivery.batch->count) return false;
  parts_.erase(place);
  return true;
}

Status SinkTracker::announce(const OutputMark& output) {
  return owner_.announce(*this, output);
}

void SinkTracker::retire(const std::string& path) {
  bool news = false;
  bool retired = false;
  {
    const MutexLock lock(mutex_);
    for (auto& [key, output] : outputs_) {
      if (output.path != path || output.live_retired) continue;
      output.live_retired = true;
      if (!output.moved && output.known && output.live == output.stable) {
        // No byte of it waits for a gap to be closed.
        output.stable_retired = true;
        dirty_output(key, output);
        retired = true;
      } else {
        touch(key, output);
      }
    }
    news = settle() || retired;
  }
  if (news) owner_.note_change();
}

std::vector<OutputMark> SinkTracker::recovered() const {
  const MutexLock lock(mutex_);
  return recovered_;
}

void SinkTracker::set_hooks(CheckpointStore::Hooks hooks) {
  const MutexLock lock(mutex_);
  accounts_.clear();
  for (SinkAccount* account : hooks.accounts) {
    accounts_.push_back({account, account != nullptr ? account->pipeline().name() : std::string()});
  }
  completed_ = std::move(hooks.completed);
  committed_ = std::move(hooks.committed);
  untold_ = {};
}

void SinkTracker::set_account(std::size_t pipeline, SinkAccount* account) {
  const MutexLock lock(mutex_);
  if (accounts_.size() <= pipeline) accounts_.resize(pipeline + 1);
  accounts_[pipeline] = {account, account != nullptr ? account->pipeline().name() : std::string()};
}

void SinkTracker::begin_run(const journal::SinkState* committed) {
  const MutexLock lock(mutex_);
  for (const OutputKey& key : moved_outputs_) {
    const auto found = outputs_.find(key);
    if (found != outputs_.end()) found->second.moved = false;
  }
  moved_files_.clear();
  moved_outputs_.clear();
  if (held_) {
    held_ = false;
    dirty_files_.clear();
    dirty_outputs_.clear();
    for (auto& [id, file] : files_) file.dirty = false;
    load(committed);
  }
  gaps_ = 0;
  parts_.clear();
  unsettled_.clear();
  for (auto& [id, file] : files_) {
    file.live.reset(file.stable.offset, file.stable.witness);
    file.moved = false;
  }
  recovered_.clear();
  std::erase_if(outputs_, [](const auto& entry) { return !entry.second.known; });
  for (auto& [key, output] : outputs_) {
    output.live = output.stable;
    output.live_retired = output.stable_retired;
    if (!output.stable_retired) {
      recovered_.push_back({output.path, key.device, key.inode, output.stable, nullptr, output.birth_ns});
    }
  }
}

std::uint64_t SinkTracker::adopt(std::uint64_t file_id, std::uint64_t first_offset) {
  const MutexLock lock(mutex_);
  const auto [place, fresh] = files_.try_emplace(file_id);
  File& file = place->second;
  file.first = first_offset;
  if (fresh) {
    file.stable = {first_offset, {}};
    file.live.reset(first_offset);
  }
  return file.live.contiguous();
}

std::uint64_t SinkTracker::go_on_at(std::uint64_t file_id, const journal::Position& place) {
  std::uint64_t position = 0;
  {
    const MutexLock lock(mutex_);
    File& file = files_.at(file_id);
    position = file.live.contiguous();
    if (position >= place.offset || !file.live.gap_free()) return position;
    file.live.reset(place.offset, place.witness);
    file.stable = place;
    dirty_file(file_id, file);
    position = place.offset;
  }
  owner_.note_change();
  return position;
}

void SinkTracker::drop(std::uint64_t file_id) {
  const MutexLock lock(mutex_);
  const auto found = files_.find(file_id);
  if (found == files_.end()) return;
  if (!found->second.live.gap_free()) --gaps_;
  files_.erase(found);
  std::erase(moved_files_, file_id);
  std::erase(dirty_files_, file_id);
  if (settle()) owner_.note_change();
}

std::optional<journal::Position> SinkTracker::leave(std::uint64_t file_id) {
  journal::Position position;
  {
    const MutexLock lock(mutex_);
    const auto found = files_.find(file_id);
    if (found == files_.end()) return std::nullopt;
    position = {found->second.live.contiguous(), found->second.live.witness()};
  }
  drop(file_id);
  return position;
}

void SinkTracker::place(std::uint64_t file_id, const journal::Position& position) {
  {
    const MutexLock lock(mutex_);
    File& file = files_[file_id];
    file.first = std::min(file.first, position.offset);
    file.live.reset(position.offset, position.witness);
    file.stable = position;
    dirty_file(file_id, file);
  }
  owner_.note_change();
}

std::uint64_t SinkTracker::reached(std::uint64_t file_id) const {
  const MutexLock lock(mutex_);
  const auto found = files_.find(file_id);
  return found == files_.end() ? 0 : found->second.live.contiguous();
}

std::optional<journal::Position> SinkTracker::place(std::uint64_t file_id) const {
  const MutexLock lock(mutex_);
  const auto found = files_.find(file_id);
  if (found == files_.end()) return std::nullopt;
  return journal::Position{found->second.live.contiguous(), found->second.live.witness()};
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> SinkTracker::stable_positions() const {
  const MutexLock lock(mutex_);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> positions;
  positions.reserve(files_.size());
  for (const auto& [id, file] : files_) positions.emplace_back(id, file.stable.offset);
  std::sort(positions.begin(), positions.end());
  return positions;
}

SinkTracker::Step SinkTracker::collect() {
  const MutexLock lock(mutex_);
  Step step;
  step.record.sink = name_;
  if (held_) return step;
  for (const std::uint64_t id : dirty_files_) {
    File& file = files_.at(id);
    file.dirty = false;
    step.record.positions.emplace_back(id, file.stable);
  }
  dirty_files_.clear();
  std::sort(step.record.positions.begin(), step.record.positions.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const OutputKey& key : dirty_outputs_) {
    Output& output = outputs_.at(key);
    output.dirty = false;
    output.begun_anew = false;
    (output.stable_retired ? step.retiring : step.record.outputs)
        .push_back({key, {output.path, output.stable, output.birth_ns}});
    if (output.sync) step.syncs.push_back(output.sync);
  }
  dirty_outputs_.clear();
  if (std::exchange(lifetime_dirty_, false)) {
    for (const auto& [pipeline, totals] : lifetime_) step.record.lifetime.push_back({pipeline, totals});
  }
  return step;
}

void SinkTracker::confirm(Step& step) {
  const MutexLock lock(mutex_);
  // Another file by now, under the inode of the collected one: the journal has had its length since it was announced.
  std::erase_if(step.record.outputs, [&](const auto& entry) { return outputs_.at(entry.first).begun_anew; });
  for (auto& [key, collected] : step.record.outputs) collected.path = outputs_.at(key).path;
  for (const auto& [key, collected] : step.retiring) {
    const Output& output = outputs_.at(key);
    if (output.begun_anew) continue;
    // Only what nothing has happened to since may leave. Announced again, it may have got more than this step's
    // positions cover, and may even have been closed once more: it stays, with the length that belongs to them.
    if (output.stable_retired && !output.moved && !output.dirty) {
      step.record.retired.push_back(key);
    } else {
      step.record.outputs.push_back({key, {output.path, collected.length, output.birth_ns}});
    }
  }
}

void SinkTracker::accepted(const Step& step) {
  note_committed(step);
  const MutexLock lock(mutex_);
  for (const OutputKey& key : step.record.retired) {
    const auto found = outputs_.find(key);
    if (found == outputs_.end()) continue;
    const Output& output = found->second;
    if (output.stable_retired && !output.moved && !output.dirty) outputs_.erase(found);
  }
  // A handle is kept only as long as something written through it waits for its sync.
  for (const auto& [key, committed] : step.record.outputs) {
    const auto found = outputs_.find(key);
    if (found != outputs_.end() && !found->second.moved && !found->second.dirty) found->second.sync.reset();
  }
}

void SinkTracker::note_committed(const Step& step) {
  const MutexLock lock(mutex_);
  if (!committed_) return;
  for (const auto& [id, position] : step.record.positions) untold_.positions.emplace_back(id, position.offset);
  for (const auto& [key, output] : step.record.outputs) untold_.outputs.emplace_back(key.inode, output.length);
  for (const auto& key : step.record.retired) untold_.retired.push_back(key.inode);
}

void SinkTracker::tell_committed() {
  std::function<void(const CheckpointStore::Committed&)> committed;
  CheckpointStore::Committed news;
  {
    const MutexLock lock(mutex_);
    committed = committed_;
    news = std::exchange(untold_, {});
  }
  const bool any = !news.positions.empty() || !news.outputs.empty() || !news.retired.empty();
  if (committed && any) committed(news);
}

void SinkTracker::rejected(const Step& step) {
  const MutexLock lock(mutex_);
  lifetime_dirty_ = lifetime_dirty_ || !step.record.lifetime.empty();
  for (const auto& [id, position] : step.record.positions) {
    const auto found = files_.find(id);
    if (found != files_.end()) dirty_file(id, found->second);
  }
  for (const auto* list : {&step.record.outputs, &step.retiring}) {
    for (const auto& [key, output] : *list) {
      const auto found = outputs_.find(key);
      if (found != outputs_.end()) dirty_output(key, found->second);
    }
  }
}

void SinkTracker::hold() {
  const MutexLock lock(mutex_);
  held_ = true;
}

bool SinkTracker::held() const {
  const MutexLock lock(mutex_);
  return held_;
}

bool SinkTracker::is_retired(const OutputKey& key) const {
  const MutexLock lock(mutex_);
  const auto found = outputs_.find(key);
  return found == outputs_.end() || found->second.live_retired;
}

void SinkTracker::opened(const OutputKey& key, const OutputMark& mark, const std::uint64_t* committed_length) {
  const MutexLock lock(mutex_);
  const auto [place, fresh] = outputs_.try_emplace(key);
  Output& output = place->second;
  const std::uint64_t begin = committed_length ? *committed_length : mark.length;
  if (fresh || mark.length == begin) {
    // As short as the journal has it, though more had been written: it is another file, or has been cut from outside.
    if (!committed_length || output.stable != begin) output.begun_anew = true;
    output.stable = begin;
  }
  output.path = mark.path;
  output.birth_ns = mark.birth_ns;
  output.live = mark.length;
  output.live_retired = false;
  output.stable_retired = false;
  output.known = true;
  if (mark.sync) output.sync = mark.sync;
  writes_outputs_ = true;
}

bool SinkTracker::without_gaps() const {
  return !writes_outputs_ || (gaps_ == 0 && parts_.empty());
}

// Behind settle(), whose answer says whether the amounts belong to the stable positions already.
LedgerSnapshot::Sink* SinkTracker::lifetime_of(std::uint32_t pipeline) {
  if (pipeline >= accounts_.size() || accounts_[pipeline].account == nullptr) return nullptr;
  lifetime_dirty_ = true;
  return &(gaps_ == 0 && parts_.empty() ? lifetime_ : unsettled_)[accounts_[pipeline].pipeline];
}

bool SinkTracker::settle() {
  if (!without_gaps()) return false;
  if (gaps_ == 0 && parts_.empty()) {
    for (const auto& [pipeline, totals] : unsettled_) lifetime_[pipeline].add(totals);
    unsettled_.clear();
  }
  const bool news = !moved_files_.empty() || !moved_outputs_.empty();
  for (const std::uint64_t id : moved_files_) {
    File& file = files_.at(id);
    file.moved = false;
    file.stable = {file.live.contiguous(), file.live.witness()};
    dirty_file(id, file);
  }
  moved_files_.clear();
  for (const OutputKey& key : moved_outputs_) {
    Output& output = outputs_.at(key);
    output.moved = false;
    output.stable = output.live;
    output.stable_retired = output.live_retired;
    output.known = true;
    dirty_output(key, output);
  }
  moved_outputs_.clear();
  return news;
}

void SinkTracker::touch(const OutputKey& key, Output& output) {
  if (output.moved) return;
  output.moved = true;
  moved_outputs_.push_back(key);
}

void SinkTracker::dirty_file(std::uint64_t id, File& file) {
  if (file.dirty) return;
  file.dirty = true;
  dirty_files_.push_back(id);
}

void SinkTracker::dirty_output(const OutputKey& key, Output& output) {
  if (output.dirty) return;
  output.dirty = true;
  dirty_outputs_.push_back(key);
}

}  // namespace logpipe::detail
