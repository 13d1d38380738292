#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "event/batch.hpp"
#include "event/clf.hpp"
#include "event/columns.hpp"
#include "event/dissect.hpp"
#include "event/expression.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"
#include "event/scan_lines.hpp"
#include "event/syslog.hpp"
#include "tests/event/json_corpus.hpp"
#include "tests/support/blocks.hpp"

namespace {
std::atomic<std::uint64_t> g_allocations{0};
}

// This program counts what it allocates.
void* operator new(std::size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* place = std::malloc(size == 0 ? 1 : size)) return place;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size) {
  return operator new(size);
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
  return operator new(size, tag);
}
void operator delete[](void* place) noexcept {
  std::free(place);
}
void operator delete[](void* place, std::size_t) noexcept {
  std::free(place);
}
void operator delete(void* place) noexcept {
  std::free(place);
}
void operator delete(void* place, std::size_t) noexcept {
  std::free(place);
}

using namespace logpipe;

TEST_CASE("batch: nothing is allocated once warm, through parse, lookup, set and write") {
  BlockPool pool(64 << 20);
  test::JsonCorpus corpus(11);
  std::vector<BlockRef> blocks;
  for (int i = 0; i < 4; ++i) {
    std::string text;
    while (text.size() < 200'000) text += (i == 3 && corpus.one_in(20) ? corpus.garbage() : corpus.line()) + '\n';
    blocks.push_back(freeze(test::block_of(pool, text)));
  }
  FieldSet members;
  members.add("host", "\"web1\"");
  members.add("level", "\"warn\"");
  const FieldPath level = FieldPath::parse("level").value();
  Batch batch;
  Encoded out;
  std::size_t bytes = 0;
  const auto work = [&] {
    for (const BlockRef& block : blocks) {
      batch.open(block);
      parse_json(batch, false);
      out.clear();
      for (Event& event : batch.events) {
        bytes += find(batch, event, level) ? 1 : 0;
        set(batch, event, members);
        set(batch, event, "a", "1");
        write_json(batch, event, out);
      }
      batch.retain(0, true, [](Event&) { return std::optional<Reason>(Reason::level); });
      bytes += out.size();
      batch.close();
    }
  };
  work();
  work();
  const std::uint64_t before = g_allocations;
  work();
  CHECK(g_allocations - before == 0);
  CHECK(bytes != 0);
}

TEST_CASE("expression: nothing is allocated for an event once warm") {
  BlockPool pool(64 << 20);
  test::JsonCorpus corpus(13);
  std::string text;
  while (text.size() < 200'000) text += corpus.line() + '\n';
  const BlockRef block = freeze(test::block_of(pool, text));
  const auto condition = EventCondition::parse(
      "level >= info and (status >= 1 or msg =~ 'a.*b' or user contains 'x' or a in ['x', 'y']) and not (key == 5) or "
      "lower(msg) like '*value*' or len(concat(level, a, msg)) > 3s / 1s");
  const auto expression = Expression::parse("if(exists(user), coalesce(status, 1) * 2, substr(upper(msg), 0, 3))");
  REQUIRE(condition);
  REQUIRE(expression);
  Batch batch;
  ExpressionScratch scratch;
  std::size_t seen = 0;
  const auto work = [&] {
    batch.open(block);
    parse_json(batch, false);
    for (Event& event : batch.events) {
      seen += condition->holds(batch, event, scratch) ? 1 : 0;
      seen += json_of(expression->evaluate(batch, event, scratch), batch.arena).size();
    }
    batch.close();
  };
  work();
  work();
  const std::uint64_t before = g_allocations;
  work();
  CHECK(g_allocations - before == 0);
  CHECK(seen != 0);
}

TEST_CASE("batch: nothing is allocated once warm, through every scanner") {
  BlockPool pool(64 << 20);
  std::string text;
  for (int i = 0; i < 500; ++i) {
    text += R"~(::1 - - [10/Oct/2000:13:55:36 -0700] "GET /\"x\" HTTP/1.1" 200 23 "-" "a b")~"
            "\n";
    text += R"~(<165>1 2003-10-11T22:14:15.003Z h a - ID47 [x@1 a="1" b="\"2" a="3"] An event)~"
            "\n";
    text += "Nov 21 13:00:02 host app[4711]: something else\n";
    text += "a: 1; b: 'x \\' y'; c: z\n";
    text += "1,\"a \"\"b\"\"\",3,4\n";
    text += "2016-10-06T00:17:09.669794202Z stdout P text\n";
    text += "{\"a\":1,\"b\":\"x\\ny\"}\n";
  }
  const BlockRef block = freeze(test::block_of(pool, text));
  const Dissect dissect = Dissect::parse("%{+a/2} %{+a/1} %{b->} %{c}").value();
  const CsvScanner csv({"a", "b"}, ',', CsvScanner::Columns::loose);
  const KeyValueScanner pairs(";", ":");
  Batch batch;
  Encoded out;
  std::size_t parsed = 0;
  const auto with = [&](auto scan) {
    batch.open(block);
    parsed += scan_lines(batch, scan).parsed;
    out.clear();
    for (const Event& event : batch.events) write_json(batch, event, out);
    batch.close();
  };
  const auto work = [&] {
    with(&scan_clf);
    with(&scan_syslog);
    with(&scan_cri);
    with([&](std::string_view line, const ScanOut& to) { return dissect.scan(line, to); });
    with([&](std::string_view line, const ScanOut& to) { return csv.scan(line, to); });
    with([&](std::string_view line, const ScanOut& to) { return pairs.scan(line, to); });
    with([&](std::string_view line, const ScanOut& to) { return scan_json(line, true, to); });
  };
  work();
  work();
  const std::uint64_t before = g_allocations;
  parsed = 0;
  work();
  CHECK(g_allocations - before == 0);
  CHECK(parsed > 500 * 7);
}
