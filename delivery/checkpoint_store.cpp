#include "delivery/checkpoint_store.hpp"

#include <fcntl.h>

#include <algorithm>
#include <set>

#include "channel/assert.hpp"
#include "delivery/identity.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

Result<std::unique_ptr<CheckpointStore>> CheckpointStore::open(CheckpointOptions options) {
  auto store = std::make_unique<detail::JournalledCheckpoints>(std::move(options));
  if (Status status = store->load(); !status) return fail(std::move(status.error()));
  return store;
}

SourceFileRef CheckpointStore::unreplayable(const std::string& source, const std::string& path) {
  auto file = std::make_shared<SourceFile>();
  file->source = source;
  file->path = path;
  return file;
}

namespace detail {
namespace {

constexpr const char* kComponent = "checkpoints";
constexpr std::size_t kUnattachedMax = 65'536;

}  // namespace

JournalledCheckpoints::JournalledCheckpoints(CheckpointOptions options)
    : options_(std::move(options)), files_layer_(options_.files ? *options_.files : StateFiles::system()) {}

Status JournalledCheckpoints::load() {
  if (options_.state_dir.empty()) return {};
  Result<StateLock> lock = StateLock::take(options_.state_dir);
  if (!lock) return fail(std::move(lock.error()));
  lock_ = std::move(*lock);

  const MutexLock guard(mutex_);
  auto opened = journal::Journal::open(options_.state_dir, files_layer_, state_);
  if (!opened) return fail(std::move(opened.error()));
  journal_ = std::move(*opened);
  compact_after_ = std::max(options_.compact_at, 4 * journal_->rewritten_size());

  next_file_id_ = state_.next_file_id;
  for (const auto& [id, record] : state_.files) {
    files_[id].record = record;
    files_[id].remembered = true;
    if (record.identity.inode == 0) continue;  // inside of a compressed file
    // Two generations of one file may be known, when the older has to be finished from a copy. Ids ascend: the younger
    // has the inode.
    index_[{record.source, record.identity.device, record.identity.inode}] = id;
  }
  for (auto& [name, sink] : state_.sinks) {
    for (auto position = sink.positions.begin(); position != sink.positions.end();) {
      position = files_.contains(position->first) ? std::next(position) : sink.positions.erase(position);
    }
    trackers_.emplace(name, std::make_unique<SinkTracker>(*this, name, &sink));
  }
  join_all();
  if (!forgotten_.empty()) note_change();
  return {};
}

void JournalledCheckpoints::begin_run(std::vector<std::string> sinks, SinkFeeds feeds) {
  const MutexLock commit_guard(commit_mutex_);
  const MutexLock guard(mutex_);
  output_failure_.reset();
  feeds_ = std::move(feeds);
  seat_sinks(sinks);
  for (const auto& [name, tracker] : trackers_) {
    tracker->begin_run(committed(name));
    tracker->set_hooks({});
  }
  join_all();
  for (auto& [id, file] : files_) file.attached = false;
}

void JournalledCheckpoints::change_run(RunChange change) {
  const MutexLock commit_guard(commit_mutex_);
  const MutexLock guard(mutex_);
  feeds_ = std::move(change.feeds);
  successors_ = std::move(change.successors);
  seat_sinks(change.sinks);
  for (const auto& [name, tracker] : trackers_) {
    const bool runs_on = std::find(run_sinks_.begin(), run_sinks_.end(), tracker.get()) != run_sinks_.end() &&
                         !change.begun_sinks.contains(name);
    if (runs_on) continue;
    tracker->begin_run(committed(name));
    tracker->set_hooks({});
  }
  for (auto& [id, file] : files_) {
    const bool feeds_some = std::any_of(feeds_.begin(), feeds_.end(),
                                        [&](const auto& feed) { return feed.second.contains(file.record.source); });
    if (change.begun_sources.contains(file.record.source) || !feeds_some) file.attached = false;
  }
}

/// Sinks that had fallen behind stand in their sources' own files again.
void JournalledCheckpoints::join_all() {
  std::set<std::pair<std::string, std::string>> split_files;  // source, sink
  for (const auto& [id, file] : files_) {
    const std::size_t place = file.record.source.rfind(kForSink);
    if (place == std::string::npos) continue;
    split_files.emplace(file.record.source.substr(0, place), file.record.source.substr(place + kForSink.size()));
  }
  for (const auto& [source, sink] : split_files) {
    const auto found = trackers_.find(sink);
    if (found != trackers_.end()) join_locked(source, *found->second);
  }
}

void JournalledCheckpoints::split(const std::string& source, const std::string& sink) {
  const MutexLock commit_guard(commit_mutex_);
  const MutexLock guard(mutex_);
  SinkTracker& tracker = *trackers_.at(sink);
  const std::string name = split_name(source, sink);
  std::vector<journal::FileRecord> records;
  for (const auto& [id, file] : files_) {
    if (file.record.source == source) records.push_back(file.record);
  }
  for (journal::FileRecord& record : records) {
    const std::uint64_t id = record.id;
    const journal::Position position = tracker.leave(id).value_or(journal::Position{record.first_offset, {}});
    const File& own = files_.at(id);
    if (own.end && position.offset >= *own.end) continue;  // it has had all of it
    record.origin = id;
    record.id = next_file_id_++;
    record.source = name;
    File& file = files_[record.id];
    file.record = record;
    if (record.identity.inode != 0) index_[{name, record.identity.device, record.identity.inode}] = record.id;
    tracker.place(record.id, position);
    dirty_file(file);
  }
}

void JournalledCheckpoints::join(const std::string& source, const std::string& sink) {
  const MutexLock commit_guard(commit_mutex_);
  const MutexLock guard(mutex_);
  join_locked(source, *trackers_.at(sink));
}

void JournalledCheckpoints::join_locked(const std::string& source, SinkTracker& sink) {
  const std::string name = split_name(source, sink.name());
  std::vector<std::uint64_t> ids;
  for (const auto& [id, file] : files_) {
    if (file.record.source == name) ids.push_back(id);
  }
  for (const std::uint64_t id : ids) join_file(id, source, sink);
}

void JournalledCheckpoints::join_file(std::uint64_t id, const std::string& source, SinkTracker& sink) {
  File& file = files_.at(id);
  journal::FileRecord& record = file.record;
  // None: a crash came before the sink's first step in it, and where the sink stands in the source's own file holds.
  const std::optional<journal::Position> position = sink.leave(id);
  const FileKey key{source, record.identity.device, record.identity.inode};
  const auto indexed = record.identity.inode == 0 ? index_.end() : index_.find(key);
  std::uint64_t own = 0;
  if (record.origin != 0) {
    own = files_.contains(record.origin) ? record.origin : 0;
  } else if (indexed != index_.end()) {
    own = indexed->second;  // both have come upon it since
  }
  if (own != 0) {
    const std::optional<journal::Position> before = sink.place(own);
    if (position && (!before || before->offset < position->offset)) sink.place(own, *position);
    return supersede(id);
  }
  if (position && file.end && position->offset >= *file.end) return supersede(id);
  if (record.origin != 0 && record.others_end == 0) {
    log::error(kComponent, "a file was truncated or replaced before a sink that had fallen behind could read all of it",
               {{"sink", sink.name()}, {"path", record.path.view()}, {"position", position ? position->offset : 0}});
    return supersede(id);
  }
  // The source is done with it, and this sink is not: the source gets it back as one that it knows, of which the other
  // sinks have had everything.
  if (record.identity.inode != 0) index_.erase({record.source, record.identity.device, record.identity.inode});
  if (indexed != index_.end()) {
    record.identity.device = record.identity.inode =
        0;  // that is another file by now; this one is known by its content
  } else if (record.identity.inode != 0) {
    index_[key] = id;
  }
  for (const auto& [name, tracker] : trackers_) {
    if (record.others_end != 0 && tracker.get() != &sink && reaches(source, *tracker)) {
      tracker->place(id, {record.others_end, {}});
    }
  }
  record.source = source;
  record.origin = record.others_end = 0;
  file.attached = false;
  if (position) sink.place(id, *position);
  dirty_file(file);
}

void JournalledCheckpoints::seat_sinks(const std::vector<std::string>& sinks) {
  run_sinks_.clear();
  for (const std::string& name : sinks) {
    if (name.empty()) {
      run_sinks_.push_back(nullptr);
      continue;
    }
    std::unique_ptr<SinkTracker>& tracker = trackers_[name];
    if (!tracker) tracker = std::make_unique<SinkTracker>(*this, name, committed(name));
    run_sinks_.push_back(tracker.get());
  }
}

Resume JournalledCheckpoints::attach(const std::string& source, const std::string& path, int fd,
                                     std::uint64_t first_offset) {
  Result<FileHead> head = read_head(fd);
  if (head) {
    const MutexLock guard(mutex_);
    if (is_own_output(source, head->identity)) head->limit(static_cast<std::uint32_t>(first_offset));
  }
  if (!head) {
    log::error(kComponent, "cannot identify a file; it is read without a checkpoint",
               {{"source", source}, {"path", path}, {"error", head.error().message}});
    return {CheckpointStore::unreplayable(source, path), first_offset, false};
  }
  // The file is read without the lock: a commit must not wait for a slow disk.
  const FileKey key{source, head->identity.device, head->identity.inode};
  const std::vector<journal::Position> positions = known_positions(key);
  PositionCheck check = PositionCheck::fits;
  std::uint64_t checked = 0;
  bool confirmed = false;
  for (const journal::Position& position : positions) {
    if (check != PositionCheck::fits) break;
    check = check_position(fd, head->size, position);
    checked = position.offset;
    confirmed = confirmed || position.witness.bytes > 0;
  }

  const MutexLock guard(mutex_);
  const auto found = index_.find(key);
  if (found == index_.end()) return begin_file(source, path, *head, first_offset);

  const std::uint64_t id = found->second;
  File& file = files_.at(id);
  const std::uint64_t position = std::max(reached(id), file.record.first_offset);
  if (check == PositionCheck::fits && head->size < position) {
    check = PositionCheck::beyond_end;
    checked = position;
  }
  // Within one process an inode alone is believed: its first checkpoint takes the head too. From one to the next it may
  // have been used again, and lines read twice are better than lines skipped.
  const bool doubtful = file.remembered && position > 0 && !confirmed && head->only_inode_tells(file.record.identity);
  bool mismatch = false;
  if (doubtful) {
    log::warn(kComponent, "a file of which only the inode is known may be another one; read again",
              {{"source", source}, {"path", path}, {"checkpoint", position}});
    first_offset = std::min(first_offset, file.record.first_offset);
  } else if (head->born_later(file.record.identity)) {
    log::info(kComponent, "a new file under a known inode", {{"source", source}, {"path", path}});
  } else if (const bool other_head = !head->matches(file.record.identity); other_head || check != PositionCheck::fits) {
    mismatch = position > 0;
    log::warn(kComponent, "a position does not fit the file; read from its beginning as a new file",
              {{"source", source},
               {"path", path},
               {"position", other_head ? position : checked},
               {"size", head->size},
               {"found", other_head ? "another beginning" : describe(check)}});
  } else {
    return go_on(file, path, *head);
  }
  supersede(id);
  Resume resume = begin_file(source, path, *head, first_offset);
  resume.mismatch = mismatch;
  return resume;
}

bool JournalledCheckpoints::is_own_output(const std::string& source, const FileIdentity& identity) const {
  const journal::SinkState* sink = committed(source);
  return sink != nullptr && sink->outputs.contains({identity.device, identity.inode});
}

std::vector<journal::Position> JournalledCheckpoints::known_positions(const FileKey& key) const {
  const MutexLock guard(mutex_);
  const auto found = index_.find(key);
  return found == index_.end() ? std::vector<journal::Position>{} : positions_of(found->second);
}

std::vector<journal::Position> JournalledCheckpoints::positions_of(std::uint64_t id) const {
  std::vector<journal::Position> positions;
  const auto add = [&](const journal::Position& position) {
    if (std::find(positions.begin(), positions.end(), position) == positions.end()) positions.push_back(position);
  };
  const journal::FileRecord& record = files_.at(id).record;
  for (const auto& [name, tracker] : trackers_) {
    if (const std::optional<journal::Position> position = tracker->place(id)) add(*position);
  }
  for (const SinkTracker* tracker : run_sinks_) {
    if (tracker != nullptr && reaches(record.source, *tracker) && !tracker->place(id)) add({record.first_offset, {}});
  }
  std::sort(positions.begin(), positions.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  return positions;
}

std::vector<RememberedFile> JournalledCheckpoints::remembered(const std::string& source) const {
  const MutexLock guard(mutex_);
  std::vector<RememberedFile> files;
  for (const auto& [id, file] : files_) {
    if (file.attached || file.record.source != source) continue;
    files.push_back({id, file.record.path.str(), file.record.identity, positions_of(id)});
  }
  return files;
}

std::optional<RememberedFile> JournalledCheckpoints::known(const SourceFileRef& file) const {
  const MutexLock guard(mutex_);
  const auto found = files_.find(file->id);
  if (found == files_.end()) return std::nullopt;
  const journal::FileRecord& record = found->second.record;
  return RememberedFile{record.id, record.path.str(), record.identity, positions_of(record.id)};
}

Resume JournalledCheckpoints::recover(std::uint64_t id, int fd) {
  std::optional<FileHead> head;
  if (fd >= 0) {
    if (Result<FileHead> read = read_head(fd)) head = *read;
  }
  const MutexLock guard(mutex_);
  const auto found = files_.find(id);
  LOGPIPE_ASSERT(found != files_.end());  // remembered() named it, and only its source gives it up
  move(id, head ? &*head : nullptr);
  found->second.remembered = false;
  return resume(found->second, true);
}

void JournalledCheckpoints::moved(const SourceFileRef& file, int fd) {
  std::optional<FileHead> head;
  if (fd >= 0) {
    if (Result<FileHead> read = read_head(fd)) head = *read;
  }
  const MutexLock guard(mutex_);
  if (files_.contains(file->id)) move(file->id, head ? &*head : nullptr);
}

void JournalledCheckpoints::move(std::uint64_t id, const FileHead* head) {
  File& file = files_.at(id);
  const FileIdentity& old = file.record.identity;
  const auto indexed = index_.find({file.record.source, old.device, old.inode});
  if (indexed != index_.end() && indexed->second == id) index_.erase(indexed);
  if (head == nullptr) return;
  file.record.identity = head->identity;
  index_[{file.record.source, head->identity.device, head->identity.inode}] = id;
  dirty_file(file);
}

Resume JournalledCheckpoints::begin_inside(const std::string& source, const std::string& path,
                                           const FileIdentity& identity) {
  const MutexLock guard(mutex_);
  const std::uint64_t id = next_file_id_++;
  File& file = files_[id];
  file.record = {id, source, SharedText(path), identity, 0};
  dirty_file(file);
  return resume(file, false);
}

Resume JournalledCheckpoints::go_on(File& file, const std::string& path, const FileHead& head) {
  file.remembered = false;
  const FileIdentity& known = file.record.identity;
  const bool renamed = file.record.path != path;
  if (renamed || known.head_bytes < head.identity.head_bytes || (known.birth_ns == 0 && head.identity.birth_ns != 0)) {
    if (renamed) file.record.path = SharedText(path);
    file.record.identity = head.identity;
    dirty_file(file);
  }
  if (file.end) {
    file.end.reset();
    std::erase(finishing_, file.record.id);
  }
  return resume(file, true);
}

Resume JournalledCheckpoints::restart(const SourceFileRef& file, int fd) {
  if (file->id == 0) return {CheckpointStore::unreplayable(file->source, file->path), 0, false};
  const Result<FileHead> head = read_head(fd);
  const MutexLock guard(mutex_);
  if (files_.contains(file->id)) supersede(file->id);
  if (!head) {
    log::error(kComponent, "cannot identify a file; it is read without a checkpoint",
               {{"source", file->source}, {"path", file->path}, {"error", head.error().message}});
    return {CheckpointStore::unreplayable(file->source, file->path), 0, false};
  }
  // A descriptor of another file than before, and that one known already: it is a new generation all the same.
  const auto found = index_.find({file->source, head->identity.device, head->identity.inode});
  if (found != index_.end()) supersede(found->second);
  return begin_file(file->source, file->path, *head, 0);
}

void JournalledCheckpoints::finished(const SourceFileRef& file, std::uint64_t end) {
  {
    const MutexLock guard(mutex_);
    const auto found = files_.find(file->id);
    if (found == files_.end()) return;
    if (!found->second.end) finishing_.push_back(file->id);
    found->second.end = end;
  }
  note_change();
}

SinkProgress& JournalledCheckpoints::sink(const std::string& name, Hooks hooks) {
  const MutexLock guard(mutex_);
  const auto found = trackers_.find(name);
  LOGPIPE_ASSERT(found != trackers_.end());  // named in begin_run
  found->second->set_hooks(std::move(hooks));
  return *found->second;
}

void JournalledCheckpoints::set_account(const std::string& sink, std::size_t pipeline, SinkAccount* account) {
  const MutexLock guard(mutex_);
  const auto found = trackers_.find(sink);
  LOGPIPE_ASSERT(found != trackers_.end());
  found->second->set_account(pipeline, account);
}

std::vector<CheckpointStore::Position> JournalledCheckpoints::positions() const {
  const MutexLock guard(mutex_);
  std::vector<Position> all;
  for (const auto& [name, tracker] : trackers_) {
    for (const auto& [id, offset] : tracker->stable_positions()) {
      const auto found = files_.find(id);
      if (found == files_.end()) continue;
      all.push_back({name, found->second.record.source, found->second.record.path.str(), id, offset});
    }
  }
  return all;
}

std::vector<LedgerSnapshot::Lifetime> JournalledCheckpoints::lifetime() const {
  const MutexLock guard(mutex_);
  std::vector<LedgerSnapshot::Lifetime> all;
  if (!journal_) return all;
  for (const auto& [name, sink] : state_.sinks) {
    for (const auto& [pipeline, totals] : sink.lifetime) {
      all.push_back({pipeline, totals});
      all.back().sink.name = name;
      all.back().sink.balanced = totals.adds_up();
    }
  }
  return all;
}

Resume JournalledCheckpoints::begin_file(const std::string& source, const std::string& path, const FileHead& head,
                                         std::uint64_t first_offset) {
  const std::uint64_t id = next_file_id_++;
  File& file = files_[id];
  file.record = {id, source, SharedText(path), head.identity, first_offset};
  index_[{source, head.identity.device, head.identity.inode}] = id;
  dirty_file(file);
  return resume(file, false);
}

Resume JournalledCheckpoints::resume(File& file, bool known) {
  file.attached = true;
  auto made = std::make_shared<SourceFile>();
  made->id = file.record.id;
  made->source = file.record.source;
  made->path = file.record.path.str();
  std::uint64_t offset = ~std::uint64_t{0};
  bool reached_by_any = false;
  for (SinkTracker* tracker : run_sinks_) {
    std::uint64_t position = 0;
    if (tracker != nullptr && reaches(file.record.source, *tracker)) {
      position = tracker->adopt(file.record.id, file.record.first_offset);
      const auto before = successors_.find(tracker->name());
      const auto predecessor = before == successors_.end() ? trackers_.end() : trackers_.find(before->second);
      if (predecessor != trackers_.end()) {
        if (const auto there = predecessor->second->place(file.record.id)) {
          position = tracker->go_on_at(file.record.id, *there);
        }
      }
      offset = std::min(offset, position);
      reached_by_any = true;
    }
    if (known) made->delivered_until.push_back(position);
  }
  if (!reached_by_any) offset = file.record.first_offset;
  return {std::move(made), offset, known};
}

bool JournalledCheckpoints::reaches(const std::string& source, const SinkTracker& sink) const {
  const auto found = feeds_.find(sink.name());
  return found == feeds_.end() || found->second.contains(source);
}

void JournalledCheckpoints::supersede(std::uint64_t id) {
  const auto found = files_.find(id);
  const journal::FileRecord& record = found->second.record;
  const auto indexed = index_.find({record.source, record.identity.device, record.identity.inode});
  if (indexed != index_.end() && indexed->second == id) index_.erase(indexed);
  files_.erase(found);
  std::erase(dirty_files_, id);
  std::erase(finishing_, id);
  for (const auto& [name, tracker] : trackers_) tracker->drop(id);
  if (state_.files.contains(id)) forgotten_.push_back(id);
}

void JournalledCheckpoints::dirty_file(File& file) {
  if (!file.dirty) {
    file.dirty = true;
    dirty_files_.push_back(file.record.id);
  }
  note_change();
}

const journal::SinkState* JournalledCheckpoints::committed(const std::string& sink) const {
  const auto found = state_.sinks.find(sink);
  return found == state_.sinks.end() ? nullptr : &found->second;
}

std::uint64_t JournalledCheckpoints::reached(std::uint64_t id) const {
  std::uint64_t farthest = 0;
  for (const auto& [name, tracker] : trackers_) farthest = std::max(farthest, tracker->reached(id));
  return farthest;
}

Status JournalledCheckpoints::announce(SinkTracker& sink, const OutputMark& mark) {
  const MutexLock guard(mutex_);
  const journal::OutputKey key{mark.device, mark.inode};
  std::optional<std::uint64_t> committed_length;
  bool journalled = false;
  if (const journal::SinkState* state = committed(sink.name())) {
    const auto found = state->outputs.find(key);
    // It is in the journal with an older length: what was written since is not committed, and the cut has to go there.
    if (found != state->outputs.end() && found->second.length <= mark.length &&
        (found->second.birth_ns == 0 || mark.birth_ns == 0 || found->second.birth_ns == mark.birth_ns) &&
        (found->second.path == mark.path || !sink.is_retired(key))) {
      committed_length = found->second.length;
      journalled = found->second.path == mark.path;
    }
  }
  journal::SinkRecord record;
  record.sink = sink.name();
  if (!journalled) {
    record.outputs.push_back({key, {mark.path, committed_length.value_or(mark.length), mark.birth_ns}});
    if (journal_) {
      journal::Group group;
      group.add(journal::RecordType::sink, record);
      // Behind what a failed sync may have taken away nothing is found again: then all of it is written anew.
      journal::State next;
      if (journal_->suspect()) {
        next = state_;
        next.apply(record);
      }
      Status status = journal_->suspect() ? journal_->rewrite(next) : journal_->append(group);
      if (!status) return status;
    }
    state_.apply(record);
  }
  // Even if the sync fails: what the journal has, the tracker has to retire one day.
  sink.opened(key, mark, committed_length ? &*committed_length : nullptr);
  // A killed process leaves the append to the kernel; only who wants its output to survive the machine needs the sync.
  if (journal_ && mark.sync && (!journalled || journal_->suspect())) {
    if (Status status = journal_->suspect() ? journal_->rewrite(state_) : journal_->sync(); !status) return status;
  }
  return {};
}

void JournalledCheckpoints::note_change() noexcept {
  if (changed_.load(std::memory_order_relaxed) || changed_.exchange(true)) return;
  // With the mutex, so that run() is either before its look at the flag or in its wait.
  { const std::lock_guard lock(wake_mutex_); }
  wake_.notify_all();
}

Status JournalledCheckpoints::run(const Context& ctx) {
  const std::stop_token stop = ctx.token();
  for (;;) {
    {
      std::unique_lock lock(wake_mutex_);
      // First for something to commit: an idle pipeline costs no wake-ups. Then for more of it.
      if (!wake_.wait(lock, stop, [this] { return changed_.load(); })) return {};
      wake_.wait_for(lock, stop, options_.interval, [] { return false; });
      if (stop.stop_requested()) return {};
    }
    if (const Status status = commit(); !status) {
      log::warn(kComponent, "checkpoint not written, the last one stays", {{"error", status.error().message}});
      if (std::optional<Error> failure = output_failure()) return fail(std::move(*failure));
    }
  }
}

Status JournalledCheckpoints::commit() {
  const MutexLock commit_guard(commit_mutex_);
  changed_.store(false);
  std::vector<HeadToGrow> heads;
  std::vector<Step> steps = collect(heads);
  // Without a journal there is no promise that a sync would have to come before.
  Status outputs = options_.state_dir.empty() ? Status() : sync_outputs(steps);
  const std::vector<journal::FileRecord> grown = grow_heads(std::move(heads));

  Status status;
  {
    const MutexLock guard(mutex_);
    if (!outputs && !output_failure_) output_failure_ = outputs.error();
    status = write(steps, grown);
    if (!status) {
      status = fail(status.error().kind, "checkpoint journal: " + status.error().message);
      note_change();
    } else if (output_failure_) {
      status = fail(*output_failure_);
    }
  }
  if (!status) failures_.fetch_add(1, std::memory_order_relaxed);
  return status;
}

std::optional<Error> JournalledCheckpoints::output_failure() const {
  const MutexLock guard(mutex_);
  return output_failure_;
}

std::vector<JournalledCheckpoints::Step> JournalledCheckpoints::collect(std::vector<HeadToGrow>& heads) {
  const MutexLock guard(mutex_);
  std::vector<Step> steps;
  std::set<std::uint64_t> growing;
  for (const auto& [name, tracker] : trackers_) {
    Step step{tracker.get(), tracker->collect()};
    if (step.step.empty()) continue;
    for (const auto& [id, position] : step.step.record.positions) {
      const auto found = files_.find(id);
      if (found == files_.end()) continue;
      const std::uint64_t offset = position.offset;
      const journal::FileRecord& record = found->second.record;
      const std::uint32_t head_bytes = record.identity.head_bytes;
      if (head_bytes >= FileIdentity::kHeadBytes || offset <= head_bytes) continue;
      if (is_own_output(record.source, record.identity) || !growing.insert(id).second) continue;
      heads.push_back({record, reached(id)});
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

Status JournalledCheckpoints::sync_outputs(std::vector<Step>& steps) {
  Status first;
  std::erase_if(steps, [&](Step& step) {
    for (const auto& handle : step.step.syncs) {
      Status status = files_layer_.sync(handle->fd(), "output of sink " + step.tracker->name());
      if (status) continue;
      log::error(kComponent, "an output could not be synced; the sink stays at its last checkpoint",
                 {{"sink", step.tracker->name()}, {"error", status.error().message}});
      step.tracker->rejected(step.step);
      step.tracker->hold();
      if (first) first = std::move(status);
      return true;
    }
    return false;
  });
  return first;
}

// The head of a file is hashed as far as it goes, so that a file of ten bytes has an identity too; it is taken again
// while it grows. By path and not through a descriptor of our own: one per small file would be many. A file that was
// renamed meanwhile keeps the shorter head, until it is attached again.
std::vector<journal::FileRecord> JournalledCheckpoints::grow_heads(std::vector<HeadToGrow> heads) {
  std::vector<journal::FileRecord> grown;
  for (HeadToGrow& candidate : heads) {
    const Result<int> fd = files_layer_.open(candidate.record.path.str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!fd) continue;
    const Result<FileHead> head = read_head(*fd);
    files_layer_.close(*fd);
    const FileIdentity& before = candidate.record.identity;
    if (!head || !head->matches(before) || head->identity.head_bytes <= before.head_bytes) continue;
    if (head->size < candidate.reached) continue;  // cut and written anew: the source will say so
    candidate.record.identity = head->identity;
    grown.push_back(std::move(candidate.record));
  }
  return grown;
}

Status JournalledCheckpoints::write(std::vector<Step>& steps, const std::vector<journal::FileRecord>& grown) {
  for (const journal::FileRecord& record : grown) {
    const auto found = files_.find(record.id);
    if (found == files_.end()) continue;
    const FileIdentity& now = found->second.record.identity;
    if (now.inode != record.identity.inode || now.device != record.identity.device) continue;  // moved meanwhile
    if (now.head_bytes >= record.identity.head_bytes) continue;
    found->second.record.identity = record.identity;
    if (!found->second.dirty) {
      found->second.dirty = true;
      dirty_files_.push_back(record.id);
    }
  }

  journal::Group group;
  for (const std::uint64_t id : dirty_files_) group.add(journal::RecordType::file, files_.at(id).record);
  for (Step& step : steps) {
    step.tracker->confirm(step.step);
    group.add(journal::RecordType::sink, step.step.record);
  }
  const std::vector<std::uint64_t> settled = settled_files(steps);
  journal::ForgottenRecord forgotten;
  forgotten.ids = forgotten_;
  forgotten.ids.insert(forgotten.ids.end(), settled.begin(), settled.end());
  if (!forgotten.ids.empty()) group.add(journal::RecordType::forgotten, forgotten);
  if (group.empty() && !(journal_ && journal_->suspect())) return {};  // and nothing is untold

  if (journal_) {
    Status status;
    if (journal_->suspect()) status = journal_->rewrite(state_);
    if (status && !group.empty()) status = journal_->append(group);
    if (!status) {
      for (Step& step : steps) step.tracker->rejected(step.step);
      return status;
    }
  }

  for (const std::uint64_t id : dirty_files_) {
    File& file = files_.at(id);
    file.dirty = false;
    state_.apply(file.record);
  }
  dirty_files_.clear();
  for (Step& step : steps) {
    state_.apply(step.step.record);
    step.tracker->accepted(step.step);
  }
  state_.apply(forgotten);
  forgotten_.clear();
  for (const std::uint64_t id : settled) {
    // A sink that has fallen behind still has to read it, and must know how far the others had got.
    for (auto& [other, file] : files_) {
      if (file.record.origin != id) continue;
      file.record.others_end = files_.at(id).end.value_or(0);
      dirty_file(file);
    }
    supersede(id);
  }

  if (journal_ && !group.empty()) {
    // It is in the file now and will be replayed by whoever comes next; but it may not be on the disk.
    if (Status status = journal_->sync(); !status) return status;
    compact();
  }
  for (const auto& [name, tracker] : trackers_) tracker->tell_committed();
  commits_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

std::vector<std::uint64_t> JournalledCheckpoints::settled_files(const std::vector<Step>& steps) const {
  std::vector<std::uint64_t> settled;
  if (run_sinks_.empty()) return settled;
  for (const std::uint64_t id : finishing_) {
    const File& file = files_.at(id);
    bool everywhere = true;
    for (const SinkTracker* tracker : run_sinks_) {
      if (tracker == nullptr || !reaches(file.record.source, *tracker)) continue;
      std::uint64_t position = file.record.first_offset;
      if (const journal::SinkState* state = committed(tracker->name())) {
        const auto found = state->positions.find(id);
        if (found != state->positions.end()) position = found->second.offset;
      }
      for (const Step& step : steps) {
        const journal::Position* moved = step.tracker == tracker ? step.step.position(id) : nullptr;
        if (moved) position = moved->offset;
      }
      everywhere = everywhere && position >= *file.end;
    }
    if (everywhere) settled.push_back(id);
  }
  return settled;
}

void JournalledCheckpoints::compact() {
  if (journal_->size() <= compact_after_) return;
  forget_oldest_unattached();
  if (const Status status = journal_->rewrite(state_); !status) {
    log::warn("journal", "not rewritten, it goes on growing", {{"error", status.error().message}});
    compact_after_ = 2 * journal_->size();
    return;
  }
  compact_after_ = std::max(options_.compact_at, 4 * journal_->rewritten_size());
}

// Files that vanish while the program is down are never finished by a source.
void JournalledCheckpoints::forget_oldest_unattached() {
  std::vector<std::uint64_t> unattached;
  for (const auto& [id, file] : files_) {
    if (!file.attached) unattached.push_back(id);
  }
  if (unattached.size() <= kUnattachedMax) return;
  unattached.resize(unattached.size() - kUnattachedMax);
  for (const std::uint64_t id : unattached) supersede(id);
  journal::ForgottenRecord record{unattached};
  state_.apply(record);
  std::erase_if(forgotten_,
                [&](std::uint64_t id) { return std::binary_search(unattached.begin(), unattached.end(), id); });
}

}  // namespace detail
}  // namespace logpipe
