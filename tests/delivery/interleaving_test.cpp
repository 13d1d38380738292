// A sink with more outputs than it may keep open against the store, both taken apart into small steps that are mixed at
// random: the sink goes on while a commit syncs and writes. Whatever the journal says at any moment has to fit the
// outputs.

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "delivery/journal.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;
using journal::OutputKey;

namespace {

/// The journal in memory.
class MemoryFiles final : public StateFiles {
 public:
  std::function<void()> on_output_sync;
  std::function<void()> on_write;  // when some bytes of it are in the file
  std::map<fs::path, std::shared_ptr<std::string>> files;
  std::size_t torn_at{0};  // of each write on_write is called here first, and again behind it

  Result<int> open(const fs::path& path, int flags) override {
    if ((flags & O_CREAT) == 0 && !files.contains(path)) return StateFiles::open(path, flags);  // a source file
    std::shared_ptr<std::string>& file = files[path];
    if (!file || (flags & O_TRUNC) != 0) file = std::make_shared<std::string>();
    open_[++last_] = file;
    return last_;
  }
  void close(int fd) noexcept override {
    if (open_.erase(fd) == 0) StateFiles::close(fd);
  }
  Result<std::string> read_all(int fd, const fs::path&) override { return *open_.at(fd); }
  Result<std::size_t> write_at(int fd, std::span<const char> bytes, std::uint64_t offset, const fs::path&) override {
    std::string& file = *open_.at(fd);
    const auto put = [&](std::size_t count) {
      file.resize(std::max<std::size_t>(file.size(), offset + count));
      std::copy_n(bytes.begin(), count, file.begin() + static_cast<std::ptrdiff_t>(offset));
      if (on_write) on_write();
    };
    put(std::min(torn_at, bytes.size()));
    put(bytes.size());
    return bytes.size();
  }
  Status truncate(int fd, std::uint64_t length, const fs::path&) override {
    open_.at(fd)->resize(length);
    return {};
  }
  Status sync(int, const fs::path& path) override {
    if (path.string().starts_with("output") && on_output_sync) on_output_sync();
    return {};
  }
  Status rename(const fs::path& from, const fs::path& to) override {
    files[to] = files.at(from);
    files.erase(from);
    return {};
  }
  Status remove(const fs::path& path) override {
    files.erase(path);
    return {};
  }
  bool exists(const fs::path& path) override { return files.contains(path); }
  Status sync_directory(const fs::path&) override { return {}; }

 private:
  std::map<int, std::shared_ptr<std::string>> open_;
  int last_{1 << 20};  // beyond real descriptors
};

/// One unit of a source file; a unit is one byte there and one in an output.
struct Unit {
  int file;
  std::uint64_t offset;
  friend auto operator<=>(const Unit&, const Unit&) = default;
};
constexpr int kSources = 2;
constexpr std::uint64_t kUnits = 4000;

/// The outputs as they are on the disk.
struct Disk {
  std::map<OutputKey, std::vector<Unit>> content;
  std::map<std::string, OutputKey> paths;
  std::vector<OutputKey> free;  // inodes of removed files, to be used again
  std::uint64_t next_inode{1};
  std::set<Unit> removed;  // by the user, with the file they were in

  OutputKey open(const std::string& path) {
    if (const auto found = paths.find(path); found != paths.end()) return found->second;
    OutputKey key{1, next_inode};
    if (!free.empty()) {
      key = free.back();
      free.pop_back();
    } else {
      ++next_inode;
    }
    content[key];
    return paths[path] = key;
  }
  void rotate(const std::string& path) { paths.erase(path); }
  /// Still the file it was, under its path or rotated away.
  bool is_there(const OutputKey& key, const std::string& path) const {
    if (!content.contains(key)) return false;
    return std::all_of(paths.begin(), paths.end(),
                       [&](const auto& entry) { return entry.second != key || entry.first == path; });
  }
  void remove(const std::string& path) {
    const auto found = paths.find(path);
    if (found == paths.end()) return;
    for (const Unit& unit : content[found->second]) removed.insert(unit);
    content.erase(found->second);
    free.push_back(found->second);
    paths.erase(found);
  }
};

/// What the sink does for one delivery, one small step after the other, as sinks/output_set.cpp and sinks/file.cpp do.
class ModelSink {
 public:
  struct Part {
    std::string path;
    std::vector<Unit> units;
  };
  struct Work {
    Delivery delivery;
    std::vector<Part> parts;
  };
  enum class Store { free, locked };  // locked: announce() would wait for the commit

  ModelSink(Disk& disk, SinkProgress& progress, std::size_t max_open)
      : disk_(disk), progress_(progress), max_open_(max_open) {}

  void recover() {
    const auto marks = progress_.recovered();
    for (const OutputMark& mark : marks) {
      const OutputKey key{mark.device, mark.inode};
      if (!disk_.is_there(key, mark.path)) continue;
      auto& content = disk_.content.at(key);
      if (content.size() > mark.length) content.resize(mark.length);
    }
    for (const OutputMark& mark : marks) progress_.retire(mark.path);
  }
  bool idle() const { return !work_ && next.empty(); }
  std::deque<Work> next;

  /// False when it cannot go on now.
  bool step(Store store) {
    if (!work_) {
      if (next.empty()) return false;
      work_.emplace(std::move(next.front()));
      next.pop_front();
      part_ = 0;
      marks_.clear();
      phase_ = Phase::open;
      return true;
    }
    switch (phase_) {
      case Phase::open: {
        if (part_ == work_->parts.size()) {
          phase_ = Phase::complete;
          return true;
        }
        if (store == Store::locked) return false;
        open(work_->parts[part_].path);
        phase_ = Phase::write;
        return true;
      }
      case Phase::write: {
        Part& part = work_->parts[part_];
        auto& content = disk_.content[open_.front().key];
        content.insert(content.end(), part.units.begin(), part.units.end());
        marks_.push_back(mark_of(open_.front(), content.size()));
        phase_ = Phase::open;
        ++part_;
        return true;
      }
      case Phase::complete:
        progress_.complete(work_->delivery, marks_);
        phase_ = Phase::delivered;
        return true;
      case Phase::delivered:
        for (const std::string& path : retiring_) progress_.retire(path);
        retiring_.clear();
        work_.reset();
        return true;
    }
    return false;
  }
  /// Only between two parts can it be that a file of that path is not being written.
  bool may_touch(const std::string& path) const {
    if (!work_) return true;
    if (phase_ == Phase::write && open_.front().path == path) return false;
    return std::none_of(marks_.begin(), marks_.end(), [&](const OutputMark& mark) { return mark.path == path; });
  }

 private:
  enum class Phase { open, write, complete, delivered };
  struct Open {
    std::string path;
    OutputKey key;
  };
  OutputMark mark_of(const Open& file, std::uint64_t length) const {
    return {file.path, file.key.device, file.key.inode, length, handle_};
  }
  void open(const std::string& path) {
    const auto found = std::find_if(open_.begin(), open_.end(), [&](const Open& file) { return file.path == path; });
    if (found != open_.end()) {
      const Open file = *found;
      open_.erase(found);
      if (disk_.paths.contains(path) && disk_.paths.at(path) == file.key) {
        open_.push_front(file);
        return;
      }
      progress_.retire(path);
    }
    while (open_.size() >= max_open_) {
      retiring_.push_back(open_.back().path);
      open_.pop_back();
    }
    open_.push_front({path, disk_.open(path)});
    if (std::erase(retiring_, path) > 0) progress_.retire(path);
    REQUIRE(progress_.announce(mark_of(open_.front(), disk_.content[open_.front().key].size())));
  }

  Disk& disk_;
  SinkProgress& progress_;
  const std::size_t max_open_;
  std::deque<Open> open_;
  std::vector<std::string> retiring_;
  std::optional<Work> work_;
  std::size_t part_{0};
  std::vector<OutputMark> marks_;
  Phase phase_{Phase::open};
  const std::shared_ptr<const OutputHandle> handle_ = std::make_shared<const OutputHandle>(-1);
};

enum class Trouble { none, rotation, removal };
struct Shape {
  std::string name;
  bool ordered;
  Trouble trouble;
};

class Model {
 public:
  Model(unsigned seed, const Shape& shape) : shape_(shape), random_(seed) {
    for (int i = 0; i < kSources; ++i) write_file(source(i), text_of(kUnits, static_cast<unsigned>(i + 1)));
    max_open_ = 1 + random_() % 3;
    files_.on_output_sync = [this] { meanwhile(ModelSink::Store::free); };
    files_.on_write = [this] {
      check();
      if (sink_ && !announcing_) meanwhile(ModelSink::Store::locked);
    };
    start();
  }
  ~Model() { files_.on_write = files_.on_output_sync = nullptr; }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step_ = i;
      const unsigned dice = random_() % 100;
      files_.torn_at = random_() % 200;
      if (dice < 78) {
        sink_step(ModelSink::Store::free);
      } else if (dice < 95) {
        REQUIRE(store_->commit());
        check();
      } else if (dice < 97) {
        begin();  // a reload: what is under way is dropped and read again
      } else if (dice < 98) {
        start();  // killed
      } else {
        disturb();
      }
    }
    for (const auto limit = step_ + 20; step_ < limit; ++step_) REQUIRE(store_->commit());
    while (!sink_->idle()) sink_step(ModelSink::Store::free);
    REQUIRE(store_->commit());
    check();
  }
  long checks() const { return checks_; }

 private:
  fs::path source(int file) const { return dir_ / ("log" + std::to_string(file)); }

  void start() {
    sink_.reset();
    store_.reset();
    store_ = open_store(dir_ / "state", &files_, 2000);
    begin();
  }
  void begin() {
    store_->begin_run({"out"});
    for (int i = 0; i < kSources; ++i) {
      const Resume resume = store_->attach("app", source(i), Fd(source(i)), 0);
      sources_[i] = resume.file;
      read_[i] = resume.offset;
    }
    progress_ = &store_->sink("out", {});
    sink_.emplace(disk_, *progress_, max_open_);
    sink_->recover();
    check();
  }

  void read_more() {
    std::vector<ModelSink::Work> window;
    for (unsigned i = 0; i < 4; ++i) {
      const int file = static_cast<int>(random_() % kSources);
      const std::uint64_t begin = read_[file];
      const std::uint64_t end = std::min<std::uint64_t>(begin + 1 + random_() % 6, kUnits);
      if (begin == end) continue;
      read_[file] = end;
      ModelSink::Work work;
      work.delivery = delivery_of(sources_[file], begin, end);
      for (std::uint64_t unit = begin; unit < end; ++unit) {
        const std::string path = "/out/" + std::to_string((unit * 7 + static_cast<unsigned>(file)) % 11 % 5);
        auto part = std::find_if(work.parts.begin(), work.parts.end(), [&](const auto& p) { return p.path == path; });
        if (part == work.parts.end()) part = work.parts.insert(part, {path, {}});
        part->units.push_back({file, unit});
      }
      window.push_back(std::move(work));
    }
    if (!shape_.ordered) std::shuffle(window.begin(), window.end(), random_);
    for (auto& work : window) sink_->next.push_back(std::move(work));
  }
  void sink_step(ModelSink::Store store) {
    if (sink_->idle()) read_more();
    announcing_ = store == ModelSink::Store::free;
    sink_->step(store);
    announcing_ = false;
    check();
  }
  void meanwhile(ModelSink::Store store) {
    if (random_() % 2 == 0) return;
    for (auto left = random_() % 25; left > 0 && !sink_->idle(); --left) {
      sink_step(store);
      if (store == ModelSink::Store::free && random_() % 16 == 0) disturb();
    }
  }
  void disturb() {
    const std::string path = "/out/" + std::to_string(random_() % 5);
    if (shape_.trouble == Trouble::none || !sink_->may_touch(path)) return;
    shape_.trouble == Trouble::removal ? disk_.remove(path) : disk_.rotate(path);
    check();
  }

  /// A kill now: the outputs cut back to what the journal says hold what its positions say, and that once.
  void check() {
    ++checks_;
    MemoryFiles copy;
    for (const auto& [path, bytes] : files_.files) copy.files[path] = std::make_shared<std::string>(*bytes);
    journal::State state;
    const auto opened = journal::Journal::open(dir_ / "state", copy, state);
    REQUIRE(opened);
    const journal::SinkState& sink = state.sinks["out"];
    std::uint64_t positions[kSources] = {};
    for (int i = 0; i < kSources; ++i) {
      for (const auto& [id, file] : state.files) {
        const auto found = sink.positions.find(id);
        if (file.path == source(i).string() && found != sink.positions.end()) positions[i] = found->second.offset;
      }
    }
    std::vector<int> there(kSources * kUnits);
    for (const auto& [key, units] : disk_.content) {
      std::size_t length = units.size();
      const auto found = sink.outputs.find(key);
      if (found != sink.outputs.end() && disk_.is_there(key, found->second.path)) {
        if (found->second.length > length && disk_.removed.empty()) FAIL("marked beyond its end: step ", step_);
        length = std::min<std::size_t>(length, found->second.length);
      }
      for (std::size_t i = 0; i < length; ++i) {
        ++there[static_cast<std::size_t>(units[i].file) * kUnits + units[i].offset];
      }
    }
    for (std::size_t i = 0; i < there.size(); ++i) {
      const Unit unit{static_cast<int>(i / kUnits), i % kUnits};
      const int expected = unit.offset < positions[unit.file] ? 1 : 0;
      if (there[i] == expected || (there[i] == 0 && disk_.removed.contains(unit))) continue;
      FAIL("step ", step_, ": unit ", unit.offset, " of file ", unit.file, " is there ", there[i],
           " times, the position is ", positions[unit.file]);
    }
  }

  const Shape& shape_;
  std::mt19937 random_;
  TempDir dir_;
  MemoryFiles files_;
  Disk disk_;
  std::size_t max_open_{1};
  std::unique_ptr<CheckpointStore> store_;
  SinkProgress* progress_{nullptr};
  std::optional<ModelSink> sink_;
  SourceFileRef sources_[kSources];
  std::uint64_t read_[kSources] = {};
  bool announcing_{false};
  int step_{0};
  long checks_{0};
};

}  // namespace

TEST_CASE("interleaving: whenever it is killed, what the journal says fits the outputs") {
  const LogCapture quiet;
  for (const Shape& shape :
       {Shape{"in order", true, Trouble::none}, Shape{"without order", false, Trouble::none},
        Shape{"rotated", true, Trouble::rotation}, Shape{"rotated, no order", false, Trouble::rotation},
        Shape{"removed, the inodes used again", true, Trouble::removal}}) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
      CAPTURE(shape.name);
      CAPTURE(seed);
      Model model(seed, shape);
      model.run(250);
      CHECK(model.checks() > 250);
    }
  }
}
