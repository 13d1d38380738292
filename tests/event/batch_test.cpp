#include "event/batch.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "event/json.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;

namespace {

/// Builds blocks piece by piece, as a source does.
struct Builder {
  explicit Builder(BlockPool& pool) : block(pool.acquire(BlockPool::kBlockBytes, {})) {}
  Builder& add(std::string_view text, std::uint64_t file_begin, std::uint64_t file_end, SegmentKind kind) {
    const auto begin = static_cast<std::uint32_t>(block->size());
    std::memcpy(block->end(), text.data(), text.size());
    block->set_size(block->size() + text.size());
    auto file = std::make_shared<SourceFile>();
    file->id = block->segments.size() + 1;
    block->segments.push_back({file, file_begin, file_end, begin, static_cast<std::uint32_t>(block->size()), kind});
    return *this;
  }
  Builder& lines(std::string_view text, std::uint64_t file_begin) {
    return add(text, file_begin, file_begin + text.size(), SegmentKind::lines);
  }
  BlockPtr block;
};

std::uint64_t bytes_of(const Batch& batch) {
  std::uint64_t bytes = 0;
  for (const Event& event : batch.events) bytes += event.source_bytes;
  for (const Tally& tally : batch.tallies) bytes += tally.bytes;
  return bytes;
}

std::vector<std::string> texts_of(const Batch& batch) {
  std::vector<std::string> texts;
  for (const Event& event : batch.events) texts.emplace_back(batch.text(event));
  return texts;
}

}  // namespace

TEST_CASE("batch: a block is split at every line end, empty lines and NUL bytes included") {
  BlockPool pool(1 << 20);
  Batch batch;
  const std::string text("a\n\nb\0c\r\n\r\nlast", 14);
  batch.open(freeze(test::block_of(pool, text, 1000)));
  REQUIRE(texts_of(batch) == std::vector<std::string>{"a", "", std::string("b\0c", 3), "", "last"});
  CHECK(batch.raw(batch.events[2]) == std::string_view("b\0c\r", 4));
  const std::uint64_t offsets[] = {1000, 1002, 1003, 1008, 1010};
  const std::uint32_t bytes[] = {2, 1, 5, 2, 4};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(batch.file_offset(batch.events[i]) == offsets[i]);
    CHECK(batch.events[i].source_bytes == bytes[i]);
    CHECK(batch.events[i].has_line_end == (i != 4));
    CHECK_FALSE(batch.events[i].truncated);
    CHECK(batch.events[i].form == Form::text);
  }
  CHECK(batch.received_events == 5);
  CHECK(batch.received_bytes == text.size());
  CHECK(bytes_of(batch) == batch.received_bytes);
}

TEST_CASE("batch: every event knows its file and its place when a block holds many segments") {
  BlockPool pool(4 << 20);
  Builder builder(pool);
  builder.lines("one\ntwo\n", 10)
      .add("", 500, 90'000, SegmentKind::dropped)
      .lines("no line end", 7)
      .add("head of a long one", 100, 1'000'100, SegmentKind::truncated)
      .add("another\n", 3, 4'000, SegmentKind::truncated)
      .lines("", 42)
      .lines("\nlast\n", 0);
  Batch batch;
  batch.open(freeze(std::move(builder.block)));
  REQUIRE(texts_of(batch) ==
          std::vector<std::string>{"one", "two", "no line end", "head of a long one", "another", "", "last"});
  const std::uint64_t ids[] = {1, 1, 3, 4, 5, 7, 7};
  const std::uint64_t offsets[] = {10, 14, 7, 100, 3, 0, 1};
  const std::uint32_t bytes[] = {4, 4, 11, 1'000'000, 3'997, 1, 5};
  const bool ends[] = {true, true, false, false, true, true, true};
  for (std::size_t i = 0; i < 7; ++i) {
    CAPTURE(i);
    CHECK(batch.segment_of(batch.events[i]).file->id == ids[i]);
    CHECK(batch.file_offset(batch.events[i]) == offsets[i]);
    CHECK(batch.events[i].source_bytes == bytes[i]);
    CHECK(batch.events[i].has_line_end == ends[i]);
    CHECK(batch.events[i].truncated == (i == 3 || i == 4));
  }
  REQUIRE(batch.tallies.size() == 1);
  CHECK(batch.tallies[0].reason == Reason::oversize);
  CHECK(batch.tallies[0].intentional);
  CHECK(batch.tallies[0].component == Batch::kSourceComponent);
  CHECK(batch.tallies[0].events == 1);
  CHECK(batch.tallies[0].bytes == 89'500);
  CHECK(batch.received_events == 8);
  CHECK(bytes_of(batch) == batch.received_bytes);
}

TEST_CASE("batch: no byte is lost to the ledger when a cut line was longer than 4 GiB") {
  BlockPool pool(1 << 20);
  Builder builder(pool);
  builder.add("head", 0, 6'000'000'000, SegmentKind::truncated);
  Batch batch;
  batch.open(freeze(std::move(builder.block)));
  REQUIRE(batch.events.size() == 1);
  CHECK(batch.received_events == 1);
  CHECK(batch.received_bytes == 6'000'000'000);
  CHECK(bytes_of(batch) == 6'000'000'000);
  CHECK(batch.tallies.at(0).events == 0);
}

TEST_CASE("batch: retain keeps the order and counts the others by reason and component") {
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, "a\nbb\nccc\ndddd\n")));
  batch.retain(2, true, [&](Event& event) -> std::optional<Reason> {
    if (event.length % 2 == 0) return Reason::level;
    return std::nullopt;
  });
  batch.retain(2, true, [&](Event& event) -> std::optional<Reason> {
    if (event.length == 3) return Reason::level;
    return std::nullopt;
  });
  batch.retain(3, false, [](Event&) { return std::optional<Reason>(Reason::parse); });
  CHECK(batch.events.empty());
  REQUIRE(batch.tallies.size() == 2);
  CHECK(batch.tallies[0].events == 3);
  CHECK(batch.tallies[0].bytes == 12);
  CHECK(batch.tallies[1].reason == Reason::parse);
  CHECK_FALSE(batch.tallies[1].intentional);
  CHECK(batch.tallies[1].bytes == 2);
  CHECK(bytes_of(batch) == batch.received_bytes);
}

TEST_CASE("batch: closing lets go of the block, and opening forgets everything of the last one") {
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, "{\"a\":1}\n{\"b\":2}\n")));
  parse_json(batch, false);
  batch.edits.push_back({});
  batch.fields.push_back({});
  batch.routed.push_back({});
  batch.count(1, Reason::when, true, 5);
  CHECK(batch.tape().size() != 0);
  batch.close();
  CHECK(pool.used() == 0);
  CHECK(batch.events.empty());
  batch.open(freeze(test::block_of(pool, "x\n")));
  CHECK(batch.events.size() == 1);
  CHECK(batch.edits.empty());
  CHECK(batch.fields.empty());
  CHECK(batch.routed.empty());
  CHECK(batch.tallies.empty());
  CHECK(batch.tape().size() == 0);
  CHECK(batch.received_events == 1);
  batch.open(freeze(test::block_of(pool, "")));
  CHECK(batch.events.empty());
  CHECK(batch.received_bytes == 0);
  batch.close();
  batch.close();
  CHECK(pool.used() == 0);
}

TEST_CASE("batch: memory of one odd batch is given back, that of a steady load is kept") {
  BlockPool pool(8 << 20);
  Batch batch;
  const std::string empties(200 * 1024, '\n');
  for (int i = 0; i < 3; ++i) batch.open(freeze(test::block_of(pool, empties)));
  CHECK(batch.events.size() == empties.size());
  const std::size_t warm = batch.events.capacity();
  batch.events.clear();  // a stage kept none of them: still the same load
  batch.open(freeze(test::block_of(pool, empties)));
  CHECK(batch.events.capacity() == warm);
  batch.open(freeze(test::block_of(pool, "one\n")));
  batch.open(freeze(test::block_of(pool, "one\n")));
  CHECK(batch.events.capacity() < 1000);
}

TEST_CASE("batch: every reason has a name of its own") {
  std::vector<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Reason::damaged); ++i) {
    const std::string_view name = reason_name(static_cast<Reason>(i));
    CHECK(name != "unknown");
    for (const std::string_view other : names) CHECK(name != other);
    names.push_back(name);
  }
}

TEST_CASE("batch: a published block's lines keep the positions of the events they were") {
  BlockPool pool(1 << 20);
  BlockPtr block = test::block_of(pool, "{\"a\":1}\nb\n{\"c\":3}\n");
  const SourceFileRef file = block->segments[0].file;
  auto other = std::make_shared<SourceFile>();
  other->id = 2;
  block->segments = {{file, 100, 400, 0, 10, SegmentKind::rewritten},
                     {other, 7, 7, 10, 10, SegmentKind::rewritten},
                     {other, 50, 90, 10, 18, SegmentKind::rewritten}};
  block->origins = {{0, 0, 120}, {8, 1, 260}, {10, 0, 51}};
  block->topics = std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"x", "y"});
  Batch batch;
  batch.open(freeze(std::move(block)));
  REQUIRE(batch.events.size() == 3);
  CHECK(batch.received_events == 3);
  CHECK(batch.received_bytes == 18);
  CHECK(batch.file_offset(batch.events[0]) == 120);
  CHECK(batch.file_offset(batch.events[1]) == 260);
  CHECK(batch.file_offset(batch.events[2]) == 51);
  CHECK(batch.origin_of(batch.events[1]).topic == 1);
  CHECK(batch.segment_of(batch.events[2]).file == other);
}

TEST_CASE("batch: events of several lines are cut where their segment says, and positions count all their bytes") {
  BlockPool pool(1 << 20);
  BlockPtr block = test::block_of(pool, "one\n two\nthree\nfour\n\n five", 100);
  block->segments[0].kind = SegmentKind::events;
  block->event_begins = {0, 9, 15};
  Batch batch;
  batch.open(freeze(std::move(block)));
  REQUIRE(batch.events.size() == 3);
  CHECK(batch.raw(batch.events[0]) == "one\n two");
  CHECK(batch.raw(batch.events[1]) == "three");
  CHECK(batch.raw(batch.events[2]) == "four\n\n five");
  CHECK(bool(batch.events[0].several_lines));
  CHECK_FALSE(bool(batch.events[1].several_lines));
  CHECK(batch.events[0].has_line_end);
  CHECK_FALSE(batch.events[2].has_line_end);
  CHECK(batch.events[0].source_bytes == 9);
  CHECK(batch.file_offset(batch.events[1]) == 109);
  CHECK(batch.received_events == 3);
  CHECK(batch.received_bytes == 26);
}

TEST_CASE("batch: a joined event took more from its file than it is long") {
  BlockPool pool(1 << 20);
  BlockPtr block = test::block_of(pool, "one two\n", 100);
  block->segments[0].kind = SegmentKind::joined;
  block->segments[0].file_end = 150;
  Batch batch;
  batch.open(freeze(std::move(block)));
  REQUIRE(batch.events.size() == 1);
  CHECK(batch.raw(batch.events[0]) == "one two");
  CHECK(batch.events[0].source_bytes == 50);
  CHECK_FALSE(batch.events[0].truncated);
  CHECK(batch.received_bytes == 50);
}

TEST_CASE("batch: what was published as one event stays one, whatever line feeds it holds") {
  BlockPool pool(1 << 20);
  BlockPtr block = test::block_of(pool, "one\n two\nthree\n");
  block->segments[0].kind = SegmentKind::rewritten;
  block->origins = {{0, 0, 7}, {9, 0, 20}};
  block->topics = std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"x"});
  Batch batch;
  batch.open(freeze(std::move(block)));
  REQUIRE(batch.events.size() == 2);
  CHECK(batch.raw(batch.events[0]) == "one\n two");
  CHECK(batch.file_offset(batch.events[0]) == 7);
  CHECK(batch.raw(batch.events[1]) == "three");
}
