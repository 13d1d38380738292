#include "tests/simulation/life.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>

namespace logpipe::test {
namespace {

constexpr std::size_t kReadyMax = 6;
constexpr std::size_t kQueueMax = 3;

/// Short reads, so that there are many deliveries.
PositionedRead reader_of_little(Dice& dice) {
  return [&dice](int fd, const iovec* parts, int count, off_t offset) -> ssize_t {
    if (dice.chance(1, 3)) return ::preadv(fd, parts, count, offset);  // or a long line would never be whole
    iovec some[2];
    std::size_t left = dice.between(64, 400);
    for (int i = 0; i < count; ++i) {
      some[i] = {parts[i].iov_base, std::min(parts[i].iov_len, left)};
      left -= some[i].iov_len;
    }
    return ::preadv(fd, some, count, offset);
  };
}

// What every life needs and none leaves anything in.
BlockPool& shared_pool() {
  static BlockPool pool(64 << 20);
  return pool;
}
Batch& shared_batch() {
  static Batch batch;
  return batch;
}
TailTools& shared_tools() {
  static LineCutter cutter(LineLimit{1 << 20, Oversize::truncate}, Counter());
  static TailTools tools{cutter, {}};
  return tools;
}

FileSinkOptions options_of(const Shape& shape, unsigned sink) {
  static std::map<std::string, PathTemplate> parsed;
  const std::string text = Logs::output_directory(sink) + (shape.outputs == 1 ? "/0" : "/{n}");
  auto found = parsed.find(text);
  if (found == parsed.end()) found = parsed.emplace(text, PathTemplate::parse(text).value()).first;
  FileSinkOptions options;
  options.path = found->second;
  options.fsync = shape.fsync;
  options.create_directories = false;
  options.max_open_files = shape.open_max;
  if (shape.sinks_rotate) options.rotate.max_bytes = config::Bytes(1024);
  options.compression = shape.compression;
  if (shape.compression != Compression::none) options.compression_level = 1;
  options.compression_wait = std::chrono::milliseconds(0);  // waiting takes the time of the real clock
  return options;
}

}  // namespace

Life::Life(World& world)
    : world_(world),
      turns_(world.disk, world.dice),
      state_files_(world.disk, turns_, world.shape.bug),
      file_layer_(world.disk, turns_, world.shape.bug),
      pool_(shared_pool()),
      tools_(shared_tools()),
      ledger_("main"),
      batch_(shared_batch()) {
  tools_.read = reader_of_little(world.dice);
}

Life::~Life() {
  batch_.close();
}

void Life::kill() {
  world_.disk.kill();
  const auto bury = [](Fiber* fiber) {
    while (fiber != nullptr && !fiber->done()) {
      try {
        fiber->resume();
      } catch (const VirtualDisk::Killed&) {
      }
    }
  };
  for (const auto& output : outputs_) bury(output->fiber.get());
  bury(committer_.get());
}

bool Life::start() {
  CheckpointOptions options;
  options.state_dir = world_.state;
  options.files = &state_files_;
  options.compact_at = world_.shape.compact_at;
  auto store = CheckpointStore::open(options);
  if (!store) {
    if (!world_.shape.disk_errs && !world_.shape.disk_fills) world_.note("it does not start: " + store.error().message);
    return false;
  }
  store_ = std::move(*store);
  std::vector<std::string> names;
  for (unsigned i = 0; i < world_.shape.sinks; ++i) names.push_back("s" + std::to_string(i));
  store_->begin_run(names);
  for (unsigned i = 0; i < world_.shape.sinks; ++i) make_sink(i);
  committer_ = std::make_unique<Fiber>([this] { commit_again_and_again(); });

  services_.name = "app";
  services_.pool = &pool_;
  services_.checkpoints = store_.get();
  auto channel = make_channel<BlockRef>(8);
  blocks_.emplace(std::move(channel.receiver));
  outbox_.emplace(std::move(channel.sender), services_, contexts_);
  open_logs();
  return true;
}

void Life::make_sink(unsigned index) {
  auto output = std::make_unique<Output>();
  output->name = "s" + std::to_string(index);
  Output* self = output.get();
  CheckpointStore::Hooks hooks;
  hooks.accounts = {&ledger_.sink(output->name)};
  hooks.completed = [this, self](const Delivery& delivery) {
    if (!delivery.ranges.empty()) --self->queued;
    turns_.yield();  // it goes on when there is something for it to receive
  };
  output->progress.emplace(store_->sink(output->name, std::move(hooks)), world_.shape.bug);
  output->sink = make_file_sink(options_of(world_.shape, index), {output->name, &*output->progress, nullptr, nullptr},
                                file_layer_);
  auto channel = make_channel<Delivery>(1 << 20);  // counted in events
  output->to.emplace(std::move(channel.sender));
  output->from.emplace(std::move(channel.receiver));
  output->fiber = std::make_unique<Fiber>([this, self] {
    if (!world_.disk.dead()) self->status = self->sink->run(std::move(*self->from), contexts_);
  });
  outputs_.push_back(std::move(output));
}

void Life::commit_again_and_again() {
  while (!world_.disk.dead()) {
    committing_ = true;
    const Status status = store_->commit();
    committing_ = false;
    world_.commits += status ? 1 : 0;
    // The program ends then; the sink stays at its last checkpoint until it has been cut back.
    if (store_->output_failure()) {
      failed_ = true;
      if (world_.disk.failed_syncs() == 0) world_.note("checkpoints have failed, and no sync has");
    }
    Fiber::yield();
  }
}

void Life::open_logs() {
  auto& logs = world_.logs.all();
  for (std::size_t log = 0; log < logs.size(); ++log) {
    for (std::size_t i = 0; i < logs[log].generations.size(); ++i) {
      const bool open_already = std::any_of(readings_.begin(), readings_.end(), [&](const Reading& reading) {
        return reading.log == log && reading.generation == i;
      });
      if (!logs[log].generations[i].removed && !open_already) open(log, i);
    }
  }
}

void Life::open(std::size_t log, std::size_t generation) {
  const std::string& path = world_.logs.all()[log].generations[generation].path;
  Descriptor file(world_.disk.reader(path));
  Resume resume = checked(store_->attach("app", path, file.get(), 0), path);
  readings_.push_back({log, generation, std::make_unique<Tail>(std::move(file), std::move(resume), tools_)});
  static_cast<void>(readings_.back().tail->look());
}

/// A position is a place behind a line of the file, not behind its end.
Resume Life::checked(Resume resume, const std::string& path) {
  const std::string content = world_.disk.content(path);
  if (resume.offset > content.size()) {
    world_.note("position beyond the end of " + path);
  } else if (resume.offset > 0 && content[resume.offset - 1] != '\n') {
    world_.note("position inside a line of " + path);
  }
  const auto next = content.find('\n', resume.offset);
  if (world_.shape.bug == Bug::resumes_too_far && resume.known && next != std::string::npos) resume.offset = next + 1;
  return resume;
}

bool Life::step() {
  ++world_.steps;
  Dice& dice = world_.dice;
  auto& logs = world_.logs.all();
  const std::uint64_t what = dice.below(100);
  if (what < 14) {
    world_.logs.write(logs[dice.below(logs.size())]);
  } else if (what < 17) {
    rotate();
  } else if (what < 35) {
    if (!readings_.empty()) read(readings_[dice.below(readings_.size())]);
  } else if (what < 50) {
    feed(*outputs_[dice.below(outputs_.size())]);
  } else if (what < 82) {
    if (!run(*outputs_[dice.below(outputs_.size())])) return false;
  } else if (what < 94) {
    if (!run_committer()) return false;
  } else if (what < 96) {
    world_.disk.advance(std::chrono::milliseconds(dice.below(1500)));
  } else if (what < 98) {
    trouble_disk();
  } else {
    remove_old();
  }
  return true;
}

void Life::read(Reading& reading) {
  for (const auto& output : outputs_) {
    if (output->ready.size() >= kReadyMax) return;
  }
  // What was rotated away is read before what took its place.
  for (const Reading& other : readings_) {
    if (other.log == reading.log && other.generation < reading.generation && !other.tail->at_end()) return;
  }
  if (reading.tail->look() == Tail::Look::truncated) restart(reading);
  const Tail::Turn turn = reading.tail->read(*outbox_, reading.tail->lag());
  if (turn == Tail::Turn::restarted) restart(reading);
  outbox_->send();
  BlockRef block;
  while (blocks_->try_recv(block) == RecvStatus::received) deliver(std::move(block));
}

void Life::restart(Reading& reading) {
  reading.tail->restart(store_->restart(reading.tail->file(), reading.tail->fd()));
  static_cast<void>(reading.tail->look());
}

void Life::deliver(BlockRef block) {
  batch_.open(std::move(block));
  std::uint64_t bytes = 0;
  for (const Event& event : batch_.events) bytes += event.source_bytes;
  const Amount all{batch_.events.size(), bytes};
  ledger_.received("app", all);
  ledger_.passed(all, all);
  for (unsigned i = 0; i < outputs_.size(); ++i) {
    Delivery delivery(pool_);
    delivery.admitted = all;
    const bool all_again = world_.shape.bug == Bug::forgets_who_is_ahead;
    std::vector<std::pair<std::string, std::string>> parts;
    Amount skipped;
    for (const Event& event : batch_.events) {
      const SourceFile& file = *batch_.segment_of(event).file;
      if (!all_again && i < file.delivered_until.size() && batch_.file_offset(event) < file.delivered_until[i]) {
        skipped += {1, event.source_bytes};
        continue;
      }
      delivery.delivered += {1, event.source_bytes};
      const std::string line = std::string(batch_.raw(event)) + "\n";
      std::string path = world_.logs.output_of(i, line);
      auto part = std::find_if(parts.begin(), parts.end(), [&](const auto& known) { return known.first == path; });
      if (part == parts.end()) part = parts.insert(part, {std::move(path), {}});
      part->second += line;
    }
    if (skipped.events > 0) delivery.discards.push_back({Reason::already_delivered, true, skipped});
    for (auto& [path, text] : parts) {
      delivery.encoded.append(text);
      if (world_.shape.outputs > 1) delivery.parts.push_back({path, text.size(), 1});
    }
    delivery.seal(batch_);
    outputs_[i]->ready.push_back(std::move(delivery));
  }
}

void Life::feed(Output& output) {
  if (output.ready.empty() || output.queued >= kQueueMax || !output.to) return;
  const std::size_t window = world_.shape.ordered ? 1 : std::min<std::size_t>(output.ready.size(), 4);
  const auto next = output.ready.begin() + static_cast<std::ptrdiff_t>(world_.dice.below(window));
  ++output.queued;
  if (output.to->try_send(std::move(*next)) != SendStatus::sent) world_.note("a queue with room took nothing");
  output.ready.erase(next);
}

/// False: it has ended, which a sink does when it is told to and otherwise only after a sync that failed.
bool Life::goes_on(const Output& output) {
  if (!output.fiber->done()) return true;
  const bool may = output.status ? !output.to : world_.disk.failed_syncs() > 0;
  if (!may)
    world_.note("sink " + output.name + " has ended" + (output.status ? "" : ": " + output.status.error().message));
  return output.status.has_value();
}

/// False: the sink has failed.
bool Life::run(Output& output) {
  // It would wait for ever: everything is in one thread.
  if (!output.fiber->done() && (output.queued > 0 || !output.to)) output.fiber->resume();
  return goes_on(output);
}

bool Life::run_committer() {
  committer_->resume();
  return !failed_;
}

bool Life::sinks_idle() const {
  return std::all_of(outputs_.begin(), outputs_.end(), [](const auto& output) { return output->idle(); });
}

/// Everything of it has been read, delivered and committed.
bool Life::settled(const Reading& reading) {
  const Logs::Log& log = world_.logs.all()[reading.log];
  if (!log.rest.empty() || committing_ || !sinks_idle()) return false;
  if (reading.tail->look() == Tail::Look::truncated || reading.tail->lag() != 0) return false;
  return store_->commit().has_value();
}

void Life::rotate() {
  auto& logs = world_.logs.all();
  const std::size_t index = world_.dice.below(logs.size());
  Logs::Log& log = logs[index];
  if (world_.shape.outputs_rotate && world_.dice.chance(1, 3)) world_.logs.rename_output();
  switch (world_.shape.rotation) {
    case Rotation::none:
      return;
    case Rotation::rename:
      world_.logs.rename(log);
      open_logs();
      return;
    case Rotation::copytruncate:
      // What is cut off before it is settled is lost with any reader that can be killed.
      for (const Reading& reading : readings_) {
        if (reading.log == index && settled(reading)) world_.logs.copytruncate(log);
      }
      return;
  }
}

void Life::remove_old() {
  for (auto reading = readings_.begin(); reading != readings_.end(); ++reading) {
    Logs::Log& log = world_.logs.all()[reading->log];
    if (reading->generation + 1 == log.generations.size() || !settled(*reading)) continue;
    world_.disk.remove_durably(log.generations[reading->generation].path);
    log.generations[reading->generation].removed = true;
    store_->finished(reading->tail->file(), reading->tail->position());
    readings_.erase(reading);
    return;
  }
}

void Life::trouble_disk() {
  VirtualDisk::Faults& faults = world_.disk.faults;
  if (!world_.shape.disk_fills) return;
  if (faults.room != VirtualDisk::Faults::kRoom) {
    faults.room = VirtualDisk::Faults::kRoom;
    return;
  }
  faults.room = world_.dice.below(300);
  faults.full_error = world_.dice.chance(1, 2) ? ENOSPC : EDQUOT;
}

bool Life::read_to_the_end() {
  for (Reading& reading : readings_) {
    if (reading.tail->look() == Tail::Look::truncated || reading.tail->lag() > 0) return false;
  }
  return true;
}

bool Life::drain() {
  constexpr int kTurnsMax = 100'000;
  int turns = 0;
  for (; turns < kTurnsMax && !(read_to_the_end() && sinks_idle()); ++turns) {
    for (Reading& reading : readings_) read(reading);
    for (const auto& output : outputs_) {
      feed(*output);
      if (!run(*output)) return false;
    }
    if (world_.dice.chance(1, 4) && !run_committer()) return false;
  }
  for (const auto& output : outputs_) output->to.reset();
  for (const auto& output : outputs_) {
    for (; turns < kTurnsMax && !output->fiber->done(); ++turns) output->fiber->resume();
    if (!goes_on(*output)) return false;
  }
  file_layer_.flush();
  while (turns++ < kTurnsMax && committing_) committer_->resume();
  if (turns >= kTurnsMax) world_.note("it does not come to an end");
  LedgerSnapshot ledger;
  ledger.pipelines.push_back(ledger_.snapshot());
  for (const auto& sink : ledger.pipelines[0].sinks) {
    if (!sink.balanced || sink.in_flight.events != 0) world_.note("the ledger is not balanced: " + ledger.to_json());
  }
  if (failed_) return false;
  const Status status = store_->commit();
  if (!status && world_.disk.failed_syncs() == 0) world_.note("the last checkpoint fails: " + status.error().message);
  return status.has_value();
}

}  // namespace logpipe::test
