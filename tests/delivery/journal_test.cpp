#include "delivery/journal.hpp"

#include "delivery/bytes.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;
using namespace logpipe::journal;

namespace {

FileRecord file_record(std::uint64_t id) {
  return {id,
          "app",
          SharedText("/var/log/app-" + std::to_string(id)),
          {8, 1000 + id, 1'700'000'000 + id, 1024, id * 77},
          id * 3};
}
SinkRecord sink_record(const std::string& sink, std::uint64_t step) {
  SinkRecord record;
  record.sink = sink;
  record.positions = {{1, {step * 100, {step * 7, 32}}}, {2, {step * 200, {}}}};
  record.outputs = {{{8, 5}, {"/out/" + sink, step * 50}}};
  if (step == 3) record.retired = {{8, 5}};
  return record;
}
Status append_one(Journal& journal, State& state, const SinkRecord& record) {
  Group group;
  group.add(RecordType::sink, record);
  Status status = journal.append(group);
  if (status) state.apply(record);
  return status;
}
std::string bytes_of(const State& state) {
  return encode(state);
}

State reopen(const fs::path& directory) {
  State state;
  const auto journal = Journal::open(directory, StateFiles::system(), state);
  REQUIRE(journal);
  return state;
}

}  // namespace

TEST_CASE("journal: replays what was appended, rewritten or not") {
  TempDir dir;
  State state;
  {
    auto journal = Journal::open(dir.path(), StateFiles::system(), state);
    REQUIRE(journal);
    CHECK(bytes_of(state) == bytes_of(State{}));
    Group group;
    for (const std::uint64_t id : {1U, 2U, 3U}) {
      group.add(RecordType::file, file_record(id));
      state.apply(file_record(id));
    }
    const ForgottenRecord forgotten{{3}};
    group.add(RecordType::forgotten, forgotten);
    state.apply(forgotten);
    REQUIRE((*journal)->append(group));
    for (std::uint64_t step = 1; step <= 3; ++step) REQUIRE(append_one(**journal, state, sink_record("out", step)));
    REQUIRE((*journal)->sync());
  }
  CHECK(state.next_file_id == 4);
  CHECK(state.sinks["out"].outputs.empty());
  CHECK(bytes_of(reopen(dir.path())) == bytes_of(state));
  {
    State again;
    auto journal = Journal::open(dir.path(), StateFiles::system(), again);
    REQUIRE((*journal)->rewrite(again));
    REQUIRE(append_one(**journal, again, sink_record("other", 9)));
    state.apply(sink_record("other", 9));
  }
  CHECK(bytes_of(reopen(dir.path())) == bytes_of(state));
}

TEST_CASE("journal: file names may hold any byte") {
  TempDir dir;
  State state;
  FileRecord record = file_record(1);
  record.path = SharedText(std::string("/var/\n\0\xff", 8));
  {
    auto journal = Journal::open(dir.path(), StateFiles::system(), state);
    Group group;
    group.add(RecordType::file, record);
    REQUIRE((*journal)->append(group));
  }
  CHECK(reopen(dir.path()).files.at(1).path == record.path);
}

TEST_CASE("journal: every prefix replays to a state it once had, and goes on from there") {
  TempDir dir;
  std::vector<std::string> history{bytes_of(State{})};
  std::vector<std::uint64_t> sizes{0};
  {
    State state;
    auto journal = Journal::open(dir.path(), StateFiles::system(), state);
    sizes.push_back((*journal)->size());
    history.push_back(bytes_of(state));
    for (std::uint64_t step = 1; step <= 4; ++step) {
      REQUIRE(append_one(**journal, state, sink_record(step % 2 ? "a" : "b", step)));
      sizes.push_back((*journal)->size());
      history.push_back(bytes_of(state));
    }
  }
  const std::string whole = read_file(dir / "journal");
  REQUIRE(whole.size() == sizes.back());
  const LogCapture quiet;
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    CAPTURE(length);
    TempDir cut;
    write_file(cut / "journal", whole.substr(0, length));
    std::size_t expected = 0;
    while (expected + 1 < sizes.size() && sizes[expected + 1] <= length) ++expected;
    State state;
    {
      auto journal = Journal::open(cut.path(), StateFiles::system(), state);
      REQUIRE(journal);
      REQUIRE(bytes_of(state) == history[expected]);
      REQUIRE(append_one(**journal, state, sink_record("later", 7)));
    }
    REQUIRE(bytes_of(reopen(cut.path())) == bytes_of(state));
  }
}

TEST_CASE("journal: a flipped bit anywhere never invents a state") {
  TempDir dir;
  std::vector<std::string> history{bytes_of(State{})};
  {
    State state;
    auto journal = Journal::open(dir.path(), StateFiles::system(), state);
    for (std::uint64_t step = 1; step <= 3; ++step) {
      REQUIRE(append_one(**journal, state, sink_record("a", step)));
      history.push_back(bytes_of(state));
    }
  }
  const std::string whole = read_file(dir / "journal");
  const LogCapture quiet;
  for (std::size_t place = 0; place < whole.size(); ++place) {
    CAPTURE(place);
    TempDir damaged;
    std::string bytes = whole;
    bytes[place] = static_cast<char>(bytes[place] ^ (1 << (place % 8)));
    write_file(damaged / "journal", bytes);
    const std::string state = bytes_of(reopen(damaged.path()));
    REQUIRE(std::find(history.begin(), history.end() - 1, state) != history.end() - 1);
  }
}

TEST_CASE("journal: a torn tail is cut off and said, damage in the middle keeps the good prefix and the damaged file") {
  TempDir dir;
  State state;
  std::string after_first;
  std::uint64_t second_at = 0;
  {
    auto journal = Journal::open(dir.path(), StateFiles::system(), state);
    REQUIRE(append_one(**journal, state, sink_record("a", 1)));
    after_first = bytes_of(state);
    second_at = (*journal)->size();
    REQUIRE(append_one(**journal, state, sink_record("a", 2)));
    REQUIRE(append_one(**journal, state, sink_record("a", 4)));
  }
  std::string bytes = read_file(dir / "journal");
  {
    const LogCapture log;
    write_file(dir / "journal", bytes + "garbage");
    CHECK(bytes_of(reopen(dir.path())) == bytes_of(state));
    CHECK(log.contains("torn tail"));
    CHECK(log.contains("cut_bytes=7"));
    CHECK(read_file(dir / "journal") == bytes);
    CHECK_FALSE(fs::exists(dir / "journal.damaged-1"));
  }
  bytes[second_at + 12] ^= 1;
  for (int time = 1; time <= Journal::kDamagedMax + 2; ++time) {
    const LogCapture log;
    write_file(dir / "journal", bytes);
    CHECK(bytes_of(reopen(dir.path())) == after_first);
    CHECK(log.contains("damaged in the middle"));
    CHECK(log.contains("bad_at=" + std::to_string(second_at)));
    CHECK(bytes_of(reopen(dir.path())) == after_first);
  }
  int kept = 0;
  for (const auto& entry : fs::directory_iterator(dir.path())) {
    if (!entry.path().filename().string().starts_with("journal.damaged-")) continue;
    ++kept;
    CHECK(read_file(entry.path()) == bytes);
  }
  CHECK(kept == Journal::kDamagedMax);
}

TEST_CASE("journal: a newer format is an error that says so and changes nothing") {
  TempDir dir;
  { reopen(dir.path()); }
  std::string bytes = read_file(dir / "journal");
  // Written as a later version would: the version and the hash that belongs to it.
  State empty;
  bytes[8] = 4;
  {
    // The header's hash covers magic and version; a version that merely looks newer because of damage is damage.
    const LogCapture log;
    TempDir other;
    write_file(other / "journal", bytes);
    CHECK(Journal::open(other.path(), StateFiles::system(), empty));
    CHECK(log.contains("damaged"));
  }
  std::string hashed;
  put(hashed, header_hash(std::string_view(bytes).substr(0, 12)));
  bytes.replace(12, 4, hashed);
  write_file(dir / "journal", bytes);
  const auto journal = Journal::open(dir.path(), StateFiles::system(), empty);
  REQUIRE_FALSE(journal);
  CHECK(journal.error().kind == ErrorKind::invalid);
  CHECK(journal.error().message.find("format version 4 is newer") != std::string::npos);
  CHECK(read_file(dir / "journal") == bytes);
}

TEST_CASE("journal: the format that was never released is an error that says so and changes nothing") {
  TempDir dir;
  { reopen(dir.path()); }
  std::string bytes = read_file(dir / "journal");
  bytes[8] = 2;
  std::string hashed;
  put(hashed, header_hash(std::string_view(bytes).substr(0, 12)));
  bytes.replace(12, 4, hashed);
  write_file(dir / "journal", bytes);
  State empty;
  const auto journal = Journal::open(dir.path(), StateFiles::system(), empty);
  REQUIRE_FALSE(journal);
  CHECK(journal.error().kind == ErrorKind::invalid);
  CHECK(journal.error().message.find("format version 2") != std::string::npos);
  CHECK(read_file(dir / "journal") == bytes);
}

TEST_CASE("journal: an append that finds the disk full leaves nothing behind, and the next one works") {
  TempDir dir;
  FaultyFiles files;
  State state;
  auto journal = Journal::open(dir.path(), files, state);
  REQUIRE(journal);
  REQUIRE(append_one(**journal, state, sink_record("a", 1)));
  const std::string before = read_file(dir / "journal");
  for (const long room : {0L, 1L, 20L}) {
    files.room = room;
    files.write_max = 7;
    const Status status = append_one(**journal, state, sink_record("a", 2));
    REQUIRE_FALSE(status);
    CHECK(status.error().message.find("No space left") != std::string::npos);
    CHECK(read_file(dir / "journal") == before);
  }
  files.room = std::numeric_limits<long>::max();
  REQUIRE(append_one(**journal, state, sink_record("a", 4)));  // in many short writes
  CHECK(bytes_of(reopen(dir.path())) == bytes_of(state));
}

TEST_CASE("journal: a torn append that could not be cut off is cut off before the next") {
  struct NoTruncate : FaultyFiles {
    bool refuse{false};
    Status truncate(int fd, std::uint64_t length, const fs::path& path) override {
      if (refuse) return fail(ErrorKind::io, "truncate: refused");
      return FaultyFiles::truncate(fd, length, path);
    }
  } files;
  TempDir dir;
  State state;
  auto journal = Journal::open(dir.path(), files, state);
  files.room = 10;
  files.refuse = true;
  CHECK_FALSE(append_one(**journal, state, sink_record("a", 1)));
  files.room = std::numeric_limits<long>::max();
  CHECK_FALSE(append_one(**journal, state, sink_record("a", 1)));
  files.refuse = false;
  CHECK(append_one(**journal, state, sink_record("a", 2)));
  CHECK(bytes_of(reopen(dir.path())) == bytes_of(state));
}

TEST_CASE("journal: a rewrite that dies at any step leaves one valid journal") {
  const LogCapture quiet;
  for (long steps = 0;; ++steps) {
    for (const std::size_t torn : {0UL, 1UL, 40UL}) {
      CAPTURE(steps);
      TempDir dir;
      FaultyFiles files;
      State state;
      bool died = false;
      {
        auto journal = Journal::open(dir.path(), files, state);
        for (std::uint64_t step = 1; step <= 4; ++step) REQUIRE(append_one(**journal, state, sink_record("a", step)));
        files.steps_left = steps;
        files.torn_bytes = torn;
        const Status status = (*journal)->rewrite(state);
        died = files.dead();
        CHECK(status.has_value() == !died);
      }
      CHECK(bytes_of(reopen(dir.path())) == bytes_of(state));
      CHECK_FALSE(fs::exists(dir / "journal.new"));
      if (!died && torn == 40) return;
    }
  }
}

TEST_CASE("journal: a full disk during a rewrite keeps the old file and gives the space back") {
  TempDir dir;
  FaultyFiles files;
  State state;
  auto journal = Journal::open(dir.path(), files, state);
  REQUIRE(append_one(**journal, state, sink_record("a", 1)));
  files.room = 30;
  CHECK_FALSE((*journal)->rewrite(state));
  CHECK_FALSE(fs::exists(dir / "journal.new"));
  files.room = std::numeric_limits<long>::max();
  REQUIRE(append_one(**journal, state, sink_record("a", 2)));
  CHECK(bytes_of(reopen(dir.path())) == bytes_of(state));
}

TEST_CASE("journal: payloads that are cut, too long or of unknown type are refused whole") {
  const State before = [] {
    State state;
    state.apply(file_record(1));
    state.apply(sink_record("a", 1));
    return state;
  }();
  const std::vector<std::pair<RecordType, std::string>> payloads = {
      {RecordType::file, encode(file_record(2))},
      {RecordType::sink, encode(sink_record("b", 3))},
      {RecordType::forgotten, encode(ForgottenRecord{{1}})},
      {RecordType::snapshot, encode(before)}};
  for (const auto& [type, payload] : payloads) {
    for (std::size_t length = 0; length < payload.size(); ++length) {
      State state = before;
      REQUIRE_FALSE(replay(state, static_cast<std::uint16_t>(type), payload.substr(0, length)));
      REQUIRE(bytes_of(state) == bytes_of(before));
    }
    State state = before;
    CHECK_FALSE(replay(state, static_cast<std::uint16_t>(type), payload + "x"));
    CHECK_FALSE(replay(state, 99, payload));
    CHECK(replay(state, static_cast<std::uint16_t>(type), payload));
  }
}
