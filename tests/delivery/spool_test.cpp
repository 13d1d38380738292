#include "delivery/spool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

const RunContext kForEver{};

/// What has arrived at the sink: its bytes, in order.
using Arrived = std::vector<std::string>;

/// One process: a store in the directory, the spool of the sink `out`, and a source file whose deliveries are ten bytes
/// of it each. Its end without commit() is a kill.
class Process {
 public:
  struct Options {
    std::uint64_t max_bytes{1 << 20};
    std::uint64_t segment_bytes{4096};
    StateFiles* files{nullptr};
    StateFiles* store_files{nullptr};
  };
  explicit Process(const TempDir& dir, Options options) : dir_(dir) {
    store = open_store(dir / "state", options.store_files);
    const std::string name = Spool::name_of("out");
    store->begin_run({});
    CheckpointStore::RunChange change;
    change.sinks = {name, "out"};
    change.feeds = {{name, {"in"}}, {"out", {name}}};
    change.begun_sinks = {name, "out"};
    change.begun_sources = {"in", name};
    store->change_run(change);
    PipelineAccount& account = ledger.pipeline(name);
    SinkAccount& at_sink = account.sink("out");
    spool = std::make_shared<Spool>(SpoolOptions{.sink = "out",
                                                 .directory = Spool::directory_of(dir / "state", "out"),
                                                 .max_bytes = options.max_bytes,
                                                 .segment_bytes = options.segment_bytes,
                                                 .sync = true,
                                                 .files = options.files,
                                                 .blocks = &blocks,
                                                 .account = &account});
    in_ = &store->sink(name, {{}, {}, [this](const auto& news) { spool->written(news); }});
    out_ = &store->sink("out", {{&at_sink},
                                [this](const Delivery& delivery) { spool->completed(delivery); },
                                [this](const auto& news) { spool->delivered(news); }});
    spool->open(*store, *in_);
    const Fd fd(dir / "in.log");
    resume = store->attach("in", (dir / "in.log").string(), fd, 0);
  }
  Process(const TempDir& dir) : Process(dir, Options()) {}
  ~Process() { store->begin_run({}); }  // hooks and what they hold

  Delivery delivery(const std::string& text, bool replayable = true) {
    Delivery made(blocks);
    made.encoded.append(text);
    made.admitted = made.delivered = {1, 10};
    made.read_at = std::chrono::steady_clock::now();
    const SourceFileRef file = replayable ? resume.file : CheckpointStore::unreplayable("in", "a pipe");
    made.ranges.push_back({file, sent * 10, sent * 10 + 10, {}});
    if (replayable) ++sent;
    made.seal();
    return made;
  }
  /// Writes all of them, and no more after that.
  void write(std::vector<Delivery> deliveries) {
    auto [sender, receiver] = make_channel<Delivery>(deliveries.size() + 1);
    for (Delivery& each : deliveries) REQUIRE(sender.try_send(std::move(each)) == SendStatus::sent);
    sender = {};
    REQUIRE(spool->write(std::move(receiver), kForEver));
  }
  void write(const std::vector<std::string>& texts) {
    std::vector<Delivery> deliveries;
    for (const std::string& text : texts) deliveries.push_back(delivery(text));
    write(std::move(deliveries));
  }
  /// Hands out what there is to a sink that has it at once.
  Arrived read() {
    auto [sender, receiver] = make_channel<Delivery>(1000);
    REQUIRE(spool->read(std::move(sender), kForEver));
    Arrived arrived;
    while (const std::optional<Delivery> each = receiver.try_recv()) take(*each, arrived);
    return arrived;
  }
  void take(const Delivery& each, Arrived& arrived) {
    std::string text;
    for (std::size_t done = 0; done < each.encoded.size();) {
      iovec piece{};
      REQUIRE(each.encoded.iovecs(each.block(), done, &piece, 1) == 1);
      text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
      done += piece.iov_len;
    }
    if (!text.empty()) arrived.push_back(text);
    last = each.parts.empty() ? "" : each.parts[0].path;
    lane = each.lane;
    out_->complete(each);
  }
  LedgerSnapshot::Sink at_sink() const { return ledger.snapshot().pipelines.at(0).sinks.at(0); }

  const TempDir& dir_;
  BlockPool blocks{64 << 20};
  Ledger ledger;
  std::unique_ptr<CheckpointStore> store;
  std::shared_ptr<Spool> spool;
  Resume resume;
  std::uint64_t sent{0};
  std::string last;
  std::uint32_t lane{0};

 private:
  SinkProgress* in_{nullptr};
  SinkProgress* out_{nullptr};
};

struct Ground {
  Ground() { write_file(dir / "in.log", std::string(10'000, 'x')); }
  fs::path segment(int number) const {
    std::string digits = std::to_string(number);
    digits.insert(0, 12 - digits.size(), '0');
    return dir / "state" / "spool" / "out" / (digits + ".spool");
  }
  std::size_t files(std::string_view part) const {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(dir / "state" / "spool" / "out")) {
      if (entry.path().filename().string().find(part) != std::string::npos) ++count;
    }
    return count;
  }
  LogCapture log;
  TempDir dir;
};

/// A spool's writer on a thread of its own.
class Writing {
 public:
  Writing(Process& process, std::size_t ahead = 1) : process_(process) {
    auto [sender, receiver] = make_channel<Delivery>(ahead);
    sender_ = std::move(sender);
    thread_ = std::thread([this, rx = std::make_shared<Receiver<Delivery>>(std::move(receiver))] {
      status_ = process_.spool->write(std::move(*rx), {run_.first, run_.first});
    });
  }
  ~Writing() { static_cast<void>(end()); }
  void put(Delivery delivery) { REQUIRE(sender_.send(std::move(delivery), {}) == SendStatus::sent); }
  void kill() { run_.second("killed"); }
  void close() { sender_ = {}; }
  Status end() {
    close();
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  Process& process_;
  std::pair<Context, Cancel> run_{make_run()};
  Sender<Delivery> sender_;
  std::thread thread_;
  Status status_;

  static std::pair<Context, Cancel> make_run() {
    auto [run, cancel] = with_cancel(Context::background());
    return {run, cancel};
  }
};

void wait_for(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::yield();
}

std::string flipped(std::string bytes, std::size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  return bytes;
}

}  // namespace

TEST_CASE("spool: everything comes out as it went in, in order, and takes no room once the sink has it") {
  const Ground ground;
  Process process(ground.dir);
  Arrived expected;
  std::vector<Delivery> deliveries;
  for (int i = 0; i < 300; ++i) {
    expected.push_back("line " + std::to_string(i) + " " + text_of(static_cast<std::size_t>(i), 1));
    deliveries.push_back(process.delivery(expected.back()));
  }
  deliveries.back().parts.push_back({"/a/path", 5, 1});
  deliveries.back().lane = 3;
  process.write(std::move(deliveries));
  CHECK(ground.files(".spool") > 10);
  CHECK(process.spool->events() == 300);
  CHECK(process.read() == expected);
  CHECK(process.last == "/a/path");
  CHECK(process.lane == 3);
  CHECK(process.spool->events() == 0);
  CHECK(process.at_sink().delivered == Amount{300, 3000});
  CHECK(process.ledger.snapshot().balanced);
  REQUIRE(process.store->commit());
  CHECK(process.read().empty());  // removes what is delivered
  REQUIRE(process.store->commit());
  CHECK(process.read().empty());
  CHECK(process.spool->bytes() == 0);
  CHECK(ground.files(".spool") == 0);
}

TEST_CASE("spool: what was not delivered is delivered by the next process, and read again from nowhere") {
  const Ground ground;
  {
    Process process(ground.dir);
    process.write({"one", "two", "three"});
    REQUIRE(process.store->commit());
  }
  {
    Process process(ground.dir);
    CHECK(process.resume.offset == 30);
    CHECK(process.spool->events() == 3);
    process.sent = 3;
    process.write({"four"});
    CHECK(process.read() == Arrived{"one", "two", "three", "four"});
    REQUIRE(process.store->commit());
  }
  Process process(ground.dir);
  CHECK(process.resume.offset == 40);
  process.write(std::vector<std::string>{});
  CHECK(process.read().empty());
}

TEST_CASE("spool: the sink goes on in the middle of a segment") {
  const Ground ground;
  {
    Process process(ground.dir);
    process.write({"one", "two", "three"});
    auto [sender, receiver] = make_channel<Delivery>(1000);
    REQUIRE(process.spool->read(std::move(sender), kForEver));
    Arrived arrived;
    process.take(*receiver.try_recv(), arrived);
    CHECK(arrived == Arrived{"one"});
    REQUIRE(process.store->commit());
  }
  Process process(ground.dir);
  process.write(std::vector<std::string>{});
  CHECK(process.read() == Arrived{"two", "three"});
  CHECK(process.spool->events() == 0);
}

TEST_CASE("spool: a tail torn at any byte is cut off, and its source goes on right there") {
  constexpr std::size_t kRecord = spool::kRecordHeader + 5;
  for (std::size_t torn = 0; torn <= kRecord; ++torn) {
    CAPTURE(torn);
    const Ground ground;
    std::uint64_t committed = 0;
    {
      Process process(ground.dir);
      Writing writing(process);
      writing.put(process.delivery("first"));
      wait_for([&] { return process.spool->events() == 1; });
      // What is counted is on the disk, but the writer may not have said so to the store yet.
      wait_for([&] {
        return process.store->commit().has_value() &&
               position_of(*process.store, "out/spool", process.resume.file->id) == 10;
      });
      committed = process.spool->bytes();
      writing.put(process.delivery("later"));
      wait_for([&] { return process.spool->events() == 2; });
      REQUIRE(writing.end());
    }
    REQUIRE(fs::file_size(ground.segment(1)) == committed + kRecord);
    fs::resize_file(ground.segment(1), committed + torn);
    Process process(ground.dir);
    CHECK(process.resume.offset == 10);
    CHECK(fs::file_size(ground.segment(1)) == committed);
    process.sent = 1;
    process.write({"again"});
    CHECK(process.read() == Arrived{"first", "again"});
    CHECK(process.spool->damaged_records() == 0);
  }
}

TEST_CASE("spool: what came from a pipe and was not committed is kept, and only that") {
  const Ground ground;
  {
    Process process(ground.dir);
    std::vector<Delivery> deliveries;
    deliveries.push_back(process.delivery("from a file"));
    deliveries.push_back(process.delivery("from a pipe", false));
    deliveries.push_back(process.delivery("from a file again"));
    deliveries.push_back(process.delivery("and the pipe", false));
    process.write(std::move(deliveries));
  }
  for (int round = 0; round < 2; ++round) {  // a second kill, before and behind the commit of what was kept
    Process process(ground.dir);
    CHECK(process.resume.offset == 0);
    process.write(std::vector<std::string>{});
    if (round == 1) {
      // The first round has written them once more: at least once.
      const Arrived arrived = process.read();
      CHECK(std::count(arrived.begin(), arrived.end(), "from a pipe") >= 1);
      CHECK(std::count(arrived.begin(), arrived.end(), "and the pipe") >= 1);
      CHECK(std::count(arrived.begin(), arrived.end(), "from a file") == 0);
      REQUIRE(process.store->commit());
      CHECK(process.read().empty());
    }
  }
  Process process(ground.dir);
  process.write(std::vector<std::string>{});
  CHECK(process.read().empty());
}

TEST_CASE("spool: a flipped bit costs the record it is in, is counted as failed and kept aside") {
  constexpr std::size_t kRecord = spool::kRecordHeader + 5;
  for (std::size_t at = 0; at < kRecord; ++at) {
    CAPTURE(at);
    const Ground ground;
    {
      Process process(ground.dir);
      process.write({"first", "other", "third"});
      REQUIRE(process.store->commit());
    }
    const std::string bytes = read_file(ground.segment(1));
    REQUIRE(bytes.size() == spool::kSegmentHeader + 3 * kRecord);
    write_file(ground.segment(1), flipped(bytes, spool::kSegmentHeader + kRecord + at));
    Process process(ground.dir);
    process.write(std::vector<std::string>{});
    CHECK(process.read() == Arrived{"first", "third"});
    CHECK(process.spool->damaged_records() == 1);
    CHECK(ground.files(".damaged-") == 1);
    CHECK(ground.log.contains("damaged and skipped"));
    // Whether one knows what was lost depends on the header.
    const bool header = at < spool::kRecordHeader;
    CHECK(process.at_sink().failed.contains("damaged") == !header);
    CHECK(process.at_sink().delivered.events == 2);
    CHECK(process.ledger.snapshot().balanced);
    REQUIRE(process.store->commit());
    CHECK(process.read().empty());
  }
}

TEST_CASE("spool: a segment that lost its end with the power costs what was in it") {
  const Ground ground;
  {
    Process process(ground.dir);
    process.write({"first", "other", "third"});
    REQUIRE(process.store->commit());
  }
  fs::resize_file(ground.segment(1), fs::file_size(ground.segment(1)) - 80);
  Process process(ground.dir);
  process.write(std::vector<std::string>{});
  CHECK(process.read() == Arrived{"first"});
  CHECK(process.spool->damaged_records() >= 1);
  CHECK(process.ledger.snapshot().balanced);
}

TEST_CASE("spool: damage behind what the sink has does not bring that again") {
  constexpr std::size_t kRecord = spool::kRecordHeader + 5;
  const Ground ground;
  {
    Process process(ground.dir);
    process.write({"first", "other", "third"});
    auto [sender, receiver] = make_channel<Delivery>(10);
    REQUIRE(process.spool->read(std::move(sender), kForEver));
    Arrived arrived;
    process.take(*receiver.try_recv(), arrived);
    CHECK(arrived == Arrived{"first"});
    REQUIRE(process.store->commit());
  }
  write_file(ground.segment(1), flipped(read_file(ground.segment(1)), spool::kSegmentHeader + kRecord + 3));
  Process process(ground.dir);
  process.write(std::vector<std::string>{});
  CHECK(process.read() == Arrived{"third"});
  CHECK(process.spool->damaged_records() == 1);
}

TEST_CASE("spool: a segment that cannot be opened for now is read later, and not lost") {
  const Ground ground;
  {
    Process process(ground.dir);
    process.write(Arrived{"one", "two"});
    REQUIRE(process.store->commit());
  }
  FaultyFiles files;
  Process process(ground.dir, {.files = &files});
  process.write(std::vector<std::string>{});
  int refused = 0;
  files.on_open = [&](const fs::path&) { return ++refused <= 2 ? EMFILE : 0; };
  CHECK(process.read() == Arrived{"one", "two"});
  CHECK(refused > 2);
  CHECK(process.spool->damaged_records() == 0);
  CHECK(ground.log.contains("cannot open a segment"));
  CHECK(ground.log.contains("reading again"));
}

TEST_CASE("spool: a segment that cannot be opened at the start is an error, and the next start delivers it") {
  for (const std::string name : {"000000000001.spool", "000000000001.spool.done"}) {
    CAPTURE(name);
    const Ground ground;
    {
      Process process(ground.dir);
      process.write(Arrived{"one", "two"});
      REQUIRE(process.store->commit());
    }
    {
      FaultyFiles files;
      if (name.ends_with(".done")) write_file(ground.dir / "state/spool/out" / fs::path(name), "");
      files.on_open = [&](const fs::path& path) { return path.filename() == name ? EACCES : 0; };
      Process process(ground.dir, {.files = &files});
      auto [sender, receiver] = make_channel<Delivery>(1);
      const Status status = process.spool->write(std::move(receiver), kForEver);
      REQUIRE(!status);
      CHECK(status.error().message.find(name) != std::string::npos);
      CHECK(process.read().empty());
      CHECK(process.spool->damaged_records() == 0);
      REQUIRE(process.store->commit());
    }
    fs::remove(ground.dir / "state/spool/out/000000000001.spool.done");
    Process process(ground.dir);
    process.write(std::vector<std::string>{});
    CHECK(process.read() == Arrived{"one", "two"});
  }
}

TEST_CASE("spool: what the last run left is handed out when the first commit fails and a later one does not") {
  const Ground ground;
  {
    Process process(ground.dir);
    process.write(Arrived{"one", "two"});
    REQUIRE(process.store->commit());
  }
  FaultyFiles files;
  files.sync_error = EIO;
  Process process(ground.dir, {.store_files = &files});
  CHECK(process.store->commit_failures() > 0);
  files.sync_error = 0;
  process.write(std::vector<std::string>{});
  REQUIRE(process.store->commit());
  CHECK(process.read() == Arrived{"one", "two"});
}

TEST_CASE("spool: deliveries out of order fill a spool, and all of them arrive once the sink takes them") {
  const Ground ground;
  Process process(ground.dir, {.max_bytes = 16384});
  constexpr int kBatches = 30;
  std::vector<Delivery> deliveries(2 * kBatches);
  Arrived expected(2 * kBatches);
  for (int i = 0; i < kBatches; ++i) {  // the important half of each first
    const auto batch = std::make_shared<DeliveryParts>(DeliveryParts{2});
    const std::uint64_t at = process.sent;
    for (const int place : {i, kBatches + i}) {
      process.sent = at;
      expected[static_cast<std::size_t>(place)] = text_of(1500, static_cast<unsigned>(place));
      Delivery& each = deliveries[static_cast<std::size_t>(place)];
      each = process.delivery(expected[static_cast<std::size_t>(place)]);
      each.batch = batch;
    }
  }
  Writing writing(process, 2 * kBatches);
  for (Delivery& each : deliveries) writing.put(std::move(each));
  wait_for([&] { return process.spool->events() == 2 * kBatches; });
  writing.close();
  auto [sender, receiver] = make_channel<Delivery>(1);
  std::thread reading([&process, tx = std::make_shared<Sender<Delivery>>(std::move(sender))] {
    CHECK(process.spool->read(std::move(*tx), kForEver));
  });
  Arrived arrived;
  while (const std::optional<Delivery> each = receiver.recv({})) process.take(*each, arrived);
  reading.join();
  CHECK(writing.end());
  CHECK(arrived == expected);
}

TEST_CASE("spool: a writer that waits for room ends when the sink does") {
  const Ground ground;
  Process process(ground.dir, {.max_bytes = 16384});
  Writing writing(process, 20);
  for (int i = 0; i < 20; ++i) writing.put(process.delivery(text_of(1500)));
  wait_for([&] { return ground.log.contains("the spool is full"); });
  auto [sender, receiver] = make_channel<Delivery>(1);
  receiver = {};
  REQUIRE(process.spool->read(std::move(sender), kForEver));
  const Status status = writing.end();
  REQUIRE(!status);
  CHECK(status.error().kind == ErrorKind::closed);
}

TEST_CASE("spool: a missing segment is reported, and the others are delivered") {
  const Ground ground;
  Arrived expected;
  {
    Process process(ground.dir);
    std::vector<std::string> texts;
    for (char c = 'a'; c < 'e'; ++c) texts.push_back(std::string(3900, c));
    process.write(texts);
    REQUIRE(process.store->commit());
    expected = {texts[0], texts[2], texts[3]};
  }
  REQUIRE(ground.files(".spool") == 4);
  fs::remove(ground.segment(2));
  Process process(ground.dir);
  process.write(std::vector<std::string>{});
  CHECK(process.read() == expected);
  CHECK(process.spool->damaged_records() == 1);
  CHECK(ground.log.contains("a segment is missing"));
}

TEST_CASE("spool: a segment that no checkpoint knows is kept aside") {
  const Ground ground;
  {
    Process process(ground.dir);
    process.write({"one"});
    REQUIRE(process.store->commit());
  }
  write_file(ground.segment(7), text_of(500));
  Process process(ground.dir);
  process.write({"two"});
  CHECK(process.read() == Arrived{"one", "two"});
  CHECK(ground.files(".unknown") == 1);
  CHECK(fs::exists(ground.segment(8)));  // no number is used twice
}

TEST_CASE("spool: a full disk makes the writer wait, and then it goes on where it was") {
  const Ground ground;
  FaultyFiles files;
  files.room = 64 + 69 * 2 + 30;
  std::atomic<bool> freed{false};
  files.on_write = [&] {
    if (freed.exchange(false)) files.room = 1 << 20;
  };
  Process process(ground.dir, {.files = &files});
  Writing writing(process, 10);
  for (const char* text : {"first", "other", "third", "later"}) writing.put(process.delivery(text));
  wait_for([&] { return ground.log.contains("cannot write"); });
  CHECK(process.spool->events() == 2);
  freed = true;
  REQUIRE(writing.end());
  CHECK(ground.log.contains("writing again"));
  CHECK(process.read() == Arrived{"first", "other", "third", "later"});
  CHECK(process.spool->damaged_records() == 0);
}

TEST_CASE("spool: at max_bytes the writer waits until the sink has a segment, and the spool never grows beyond") {
  const Ground ground;
  Process process(ground.dir, {.max_bytes = 16384});
  constexpr int kDeliveries = 60;
  Writing writing(process, kDeliveries);
  Arrived expected;
  for (int i = 0; i < kDeliveries; ++i) {
    expected.push_back(text_of(1500, static_cast<unsigned>(i)));
    writing.put(process.delivery(expected.back()));
  }
  wait_for([&] { return ground.log.contains("the spool is full"); });
  CHECK(process.spool->bytes() <= 16384);
  writing.close();
  auto [sender, receiver] = make_channel<Delivery>(1);
  std::thread reading([&process, tx = std::make_shared<Sender<Delivery>>(std::move(sender))] {
    CHECK(process.spool->read(std::move(*tx), kForEver));
  });
  Arrived arrived;
  std::atomic<bool> over{false};
  std::thread committing([&] {
    while (!over) {
      CHECK(process.store->commit());
      std::this_thread::yield();
    }
  });
  std::uint64_t most = 0;
  while (const std::optional<Delivery> each = receiver.recv({})) {
    process.take(*each, arrived);
    most = std::max(most, process.spool->bytes());
  }
  reading.join();
  over = true;
  committing.join();
  CHECK(writing.end());
  CHECK(arrived == expected);
  CHECK(most <= 16384);
}

TEST_CASE("spool: after a stop the sink gets what it takes at once, and the rest stays for the next run") {
  const Ground ground;
  {
    Process process(ground.dir);
    process.write({"one", "two", "three", "four"});
    auto [intake, stop] = with_cancel(Context::background());
    stop("a stop was asked for");
    auto [sender, receiver] = make_channel<Delivery>(2);
    REQUIRE(process.spool->read(std::move(sender), {intake, Context::background()}));
    Arrived arrived;
    while (const std::optional<Delivery> each = receiver.try_recv()) process.take(*each, arrived);
    CHECK(arrived == Arrived{"one", "two"});
    CHECK(process.ledger.snapshot().in_flight() == Amount{});
    CHECK(process.ledger.snapshot().balanced);
    REQUIRE(process.store->commit());
  }
  Process process(ground.dir);
  CHECK(process.resume.offset == 40);
  process.write(std::vector<std::string>{});
  CHECK(process.read() == Arrived{"three", "four"});
}

TEST_CASE("spool: directories are named after sinks, whatever these are called") {
  CHECK(Spool::directory_of("/s", "out-1") == "/s/spool/out-1");
  CHECK(Spool::directory_of("/s", "../x") == "/s/spool/%2E.%2Fx");
}
