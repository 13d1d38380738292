#include "stages/enrich.hpp"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <latch>
#include <thread>

#include "tests/stages/support.hpp"

using namespace logpipe;
using test::Directory;
using test::Pipeline;

TEST_CASE("enrich: constants are set with their types, and replace what is there") {
  Pipeline pipeline(
      "stages:\n  - parse: auto\n  - enrich: {set: {env: prod, n: 12, s: '12', yes: true, off: null, z: 010, e: "
      "''}}\n");
  CHECK(pipeline.run("{\"a\":1}\n{\"env\":\"test\",\"n\":0}\nplain\na=b\n{}\n") ==
        "{\"a\":1,\"env\":\"prod\",\"n\":12,\"s\":\"12\",\"yes\":true,\"off\":null,\"z\":\"010\",\"e\":\"\"}\n"
        "{\"env\":\"prod\",\"n\":12,\"s\":\"12\",\"yes\":true,\"off\":null,\"z\":\"010\",\"e\":\"\"}\n"
        "{\"message\":\"plain\",\"env\":\"prod\",\"n\":12,\"s\":\"12\",\"yes\":true,\"off\":null,\"z\":\"010\",\"e\":"
        "\"\"}\n"
        "{\"a\":\"b\",\"env\":\"prod\",\"n\":12,\"s\":\"12\",\"yes\":true,\"off\":null,\"z\":\"010\",\"e\":\"\"}\n"
        "{\"env\":\"prod\",\"n\":12,\"s\":\"12\",\"yes\":true,\"off\":null,\"z\":\"010\",\"e\":\"\"}\n");
}

TEST_CASE("enrich: a row of a CSV table is set on the events with its key") {
  const Directory directory;
  const std::string file = directory.write("services.csv", "service,team,tier\nweb,\"front, end\",1\ndb,data,\n");
  Pipeline pipeline("stages:\n  - parse: json\n  - enrich: {lookup: [{file: " + file + ", key: service}]}\n");
  CHECK(pipeline.run("{\"service\":\"web\"}\n{\"service\":\"db\",\"team\":\"x\"}\n{\"service\":\"no\"}\n{\"a\":1}\n"
                     "{\"service\":{\"x\":1}}\n{\"service\":\"\\u0077eb\"}\nplain\n") ==
        "{\"service\":\"web\",\"team\":\"front, end\",\"tier\":\"1\"}\n{\"service\":\"db\",\"team\":\"data\"}\n"
        "{\"service\":\"no\"}\n{\"a\":1}\n{\"service\":{\"x\":1}}\n"
        "{\"service\":\"\\u0077eb\",\"team\":\"front, end\",\"tier\":\"1\"}\n{\"message\":\"plain\"}\n");
  const Labels labels{{"component", "enrich"}, {"table", "services.csv"}};
  CHECK(pipeline.metrics.value("logpipe_lookup_hits_total", labels) == 3);
  CHECK(pipeline.metrics.value("logpipe_lookup_misses_total", labels) == 4);
}

TEST_CASE("enrich: JSON tables keep their types, numbers are keys too") {
  const Directory directory;
  const std::string list = directory.write(
      "users.json",
      "[\n {\"id\": 7, \"name\": \"Ann\", \"tags\": [ \"a\", {\"b\" : 1} ]},\n {\"id\": \"x\", \"vip\": true}\n]\n");
  const std::string map = directory.write("hosts.json", "{\"h1\": {\"rack\": 12, \"note\": null}}");
  Pipeline pipeline("stages:\n  - parse: auto\n  - enrich:\n      lookup:\n        - {file: " + list +
                    ", key: .user.id, column: id, prefix: user_}\n        - {file: " + map + ", key: host}\n");
  CHECK(pipeline.run("{\"user\":{\"id\":7},\"host\":\"h1\"}\nid=1 host=h1\n{\"user\":{\"id\":\"x\"}}\n") ==
        "{\"user\":{\"id\":7},\"host\":\"h1\",\"user_name\":\"Ann\",\"user_tags\":[\"a\",{\"b\":1}],\"rack\":12,"
        "\"note\":null}\n"
        "{\"id\":1,\"host\":\"h1\",\"rack\":12,\"note\":null}\n{\"user\":{\"id\":\"x\"},\"user_vip\":true}\n");
}

TEST_CASE("enrich: columns are chosen and renamed, a default stands in for a missing row") {
  const Directory directory;
  const std::string file = directory.write("t.csv", "k,a,b,c\n1,x,y,z\n");
  Pipeline pipeline("stages:\n  - parse: json\n  - enrich:\n      set: {k: 1}\n      lookup:\n        - {file: " +
                    file + ", key: k, fields: [b]}\n        - {file: " + file +
                    ", key: none, column: k, fields: {alpha: a}, default: {alpha: 0}}\n");
  CHECK(pipeline.run("{}\n{\"none\":1}\n") ==
        "{\"k\":1,\"b\":\"y\",\"alpha\":0}\n{\"none\":1,\"k\":1,\"b\":\"y\",\"alpha\":\"x\"}\n");
  CHECK(pipeline.metrics.value("logpipe_lookup_hits_total", {{"component", "enrich"}, {"table", "t.csv#2"}}) == 1);
}

TEST_CASE("enrich: the pool is asked for only when something was said") {
  CHECK_FALSE(test::Decoded("stages: [{enrich: {set: {a: 1}}}]").plans[0]->pool());
  const auto workers = test::Decoded("stages: [{enrich: {workers: 4}}]").plans[0]->pool();
  REQUIRE(workers);
  CHECK(workers->workers == 4);
  CHECK(workers->min_workers == 4);
  CHECK(workers->order == Order::source);
  const auto order = test::Decoded("stages: [{enrich: {order: none}}]").plans[0]->pool();
  REQUIRE(order);
  CHECK(order->workers == 0);
  CHECK(order->order == Order::none);
}

TEST_CASE("enrich: workers may be a range that the pool moves in") {
  const auto range = test::Decoded("stages: [{enrich: {workers: {min: 2, max: 8}}}]").plans[0]->pool();
  REQUIRE(range);
  CHECK(range->workers == 8);
  CHECK(range->min_workers == 2);
  CHECK(test::findings("stages: [{enrich: {workers: {min: 3, max: 3}}}]").empty());
  CHECK(test::findings("stages: [{enrich: {workers: {min: 9, max: 8}}}]") ==
        "1:35 LP0106 stages[0].enrich.workers.min: expected no more than max, which is 8 | min threads are always "
        "there, up to max while there is much to do\n");
  CHECK(test::findings("stages: [{enrich: {workers: {min: 1}}}]") ==
        "1:20 LP0102 stages[0].enrich.workers: missing option \"max\" | Threads while there is much to do.\n");
  CHECK(test::findings("stages: [{enrich: {workers: {min: 0, max: 257}}}]") ==
        "1:35 LP0104 stages[0].enrich.workers.min: expected a value from 1 to 256, got \"0\"\n1:43 LP0104 "
        "stages[0].enrich.workers.max: expected a value from 1 to 256, got \"257\"\n");
  CHECK(test::findings("stages: [{enrich: {workers: 257}}]") ==
        "1:29 LP0104 stages[0].enrich.workers: expected a value from 1 to 256, got \"257\"\n");
  CHECK(test::findings("stages: [{enrich: {workers: [1, 8]}}]") ==
        "1:29 LP0103 stages[0].enrich.workers: expected a number, or a map of min and max, got a list\n");
  CHECK(test::findings("stages: [{enrich: {workers: {min: 1, max: 2, most: 3}}}]") ==
        "1:46 LP0101 stages[0].enrich.workers.most: unknown option | known: min, max\n");
  CHECK(test::findings("stages: [{enrich: {workers: many}}]") ==
        "1:29 LP0103 stages[0].enrich.workers: expected a whole number, got \"many\"\n");
}

TEST_CASE("enrich: several workers may apply one stage at once") {
  const Directory directory;
  const std::string file = directory.write("t.csv", "k,v\n1,one\n2,two\n");
  Pipeline pipeline("stages: [{enrich: {set: {env: prod}, lookup: [{file: " + file + ", key: k}]}}]");
  constexpr int kThreads = 4;
  constexpr int kRounds = 200;
  std::latch start(kThreads);
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      BlockPool pool(16 * 1024 * 1024);
      Batch batch;
      start.arrive_and_wait();
      for (int round = 0; round < kRounds; ++round) {
        batch.open(freeze(test::block_of(pool, "{\"k\":1}\n{\"k\":\"2\"}\n{\"k\":3}\n")));
        (void)parse_json(batch, false);
        pipeline.stage(0).apply(batch, {});
      }
      batch.close();
    });
  }
  threads.clear();
  const Labels labels{{"component", "enrich"}, {"table", "t.csv"}};
  CHECK(pipeline.metrics.value("logpipe_lookup_hits_total", labels) == 2 * kThreads * kRounds);
  CHECK(pipeline.metrics.value("logpipe_lookup_misses_total", labels) == kThreads * kRounds);
}

TEST_CASE("enrich: a table that changes is read again, and one that cannot be used leaves the one before") {
  const Directory directory;
  const std::string file = directory.write("t.csv", "k,v\n1,one\n");
  Pipeline pipeline("stages:\n  - parse: json\n  - enrich: {lookup: [{file: " + file +
                    ", key: k, refresh_interval: 1ms}]}\n");
  const Labels labels{{"component", "enrich"}, {"table", "t.csv"}};
  const auto until = [&](const char* metric, double value) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (pipeline.metrics.value(metric, labels) != value && std::chrono::steady_clock::now() < deadline) {
      pipeline.run("{\"k\":1}\n");
    }
    return pipeline.metrics.value(metric, labels);
  };
  CHECK(pipeline.run("{\"k\":1}\n") == "{\"k\":1,\"v\":\"one\"}\n");
  directory.write("next.csv", "k,v\n1,another\n");
  std::filesystem::rename(directory.path("next.csv"), file);
  CHECK(until("logpipe_lookup_table_reloads_total", 1) == 1);
  CHECK(pipeline.run("{\"k\":1}\n") == "{\"k\":1,\"v\":\"another\"}\n");

  directory.write("t.csv", "other,v\n1,x\n");
  CHECK(until("logpipe_lookup_table_failures_total", 1) == 1);
  CHECK(pipeline.run("{\"k\":1}\n") == "{\"k\":1,\"v\":\"another\"}\n");
  std::filesystem::remove(file);
  CHECK(pipeline.run("{\"k\":1}\n") == "{\"k\":1,\"v\":\"another\"}\n");
  directory.write("t.csv", "k,v\n1,last\n");
  CHECK(until("logpipe_lookup_table_reloads_total", 2) == 2);
  CHECK(pipeline.run("{\"k\":1}\n") == "{\"k\":1,\"v\":\"last\"}\n");
}

TEST_CASE("enrich: metadata says where an event comes from") {
  char host[256] = "";
  REQUIRE(::gethostname(host, sizeof(host) - 1) == 0);
  Pipeline pipeline(
      "stages:\n  - parse: auto\n"
      "  - enrich: {metadata: [host.name, log.file.path, log.file.name, logpipe.source, logpipe.offset]}\n");
  // The file of these blocks is called test.log, which is no path.
  CHECK(pipeline.run("{\"a\":1}\nplain\n") == "{\"a\":1,\"host.name\":\"" + std::string(host) +
                                                  "\",\"logpipe.source\":\"test\",\"logpipe.offset\":0}\n" +
                                                  "{\"message\":\"plain\",\"host.name\":\"" + std::string(host) +
                                                  "\",\"logpipe.source\":\"test\",\"logpipe.offset\":8}\n");
}

TEST_CASE("metadata: files of one batch are told apart") {
  BlockPool pool(1 << 20);
  BlockPtr block = test::block_of(pool, "one\ntwo\nthree\n");
  const auto file = [](const char* path) {
    auto made = std::make_shared<SourceFile>();
    made->source = "s";
    made->path = path;
    return made;
  };
  block->segments = {{file("/var/log/a.log"), 100, 104, 0, 4, SegmentKind::lines},
                     {file("/b.log"), 0, 10, 4, 14, SegmentKind::lines}};
  Batch batch;
  batch.open(freeze(std::move(block)));
  MetadataWriter({Metadata::file_path, Metadata::file_name, Metadata::offset}).apply(batch);
  std::string text;
  for (const Event& event : batch.events) {
    for (const char* name : {"log.file.path", "log.file.name", "logpipe.offset"}) {
      const auto value = find(batch, event, *FieldPath::parse(name));
      REQUIRE(value);
      text += std::string(value->text) + " ";
    }
  }
  CHECK(text == "/var/log/a.log a.log 100 /b.log b.log 0 /b.log b.log 4 ");
}

TEST_CASE("enrich: counts outlive the stage, so a reload does not turn a counter back") {
  MetricsRegistry metrics;
  const Directory directory;
  const std::string file = directory.write("t.csv", "k,v\n1,one\n");
  const test::Decoded decoded("stages: [{enrich: {lookup: [{file: " + file + ", key: k}]}}]");
  REQUIRE(decoded.diagnostics.ok());
  BlockPool pool(16 * 1024 * 1024);
  for (int run = 0; run < 2; ++run) {
    const auto stage = decoded.plans[0]->make({"enrich", 0, &metrics, nullptr});
    Batch batch;
    batch.open(freeze(test::block_of(pool, "{\"k\":1}\n")));
    (void)parse_json(batch, false);
    stage->apply(batch, {});
    batch.close();
  }
  CHECK(metrics.value("logpipe_lookup_hits_total", {{"component", "enrich"}, {"table", "t.csv"}}) == 2);
}

TEST_CASE("enrich: a wrong configuration is told with its place") {
  const Directory directory;
  const std::string file = directory.write("t.csv", "k,a\n1,x\n");
  const std::string missing = directory.path("missing.csv");
  CHECK(test::findings("stages:\n  - enrich: {set: {a: [1]}}\n") ==
        "2:23 LP0103 stages[0].enrich.set.a: expected a text, a number, true, false or null, got a list\n");
  CHECK(
      test::findings("stages:\n  - enrich: {set: {.a.b: 1}}\n") ==
      "2:20 LP0103 stages[0].enrich.set: expected the name of a top-level field | fields inside others cannot be set; "
      "write the name without a dot\n");
  CHECK(test::findings("stages:\n  - enrich: {workers: 0}\n") ==
        "2:23 LP0104 stages[0].enrich.workers: expected a value from 1 to 256, got \"0\"\n");
  CHECK(test::findings("stages:\n  - enrich:\n      lookup:\n        - {file: " + missing + ", key: k}\n") ==
        "4:18 LP0501 stages[0].enrich.lookup[0].file: cannot read " + missing + ": No such file or directory\n");
  CHECK(test::findings("stages:\n  - enrich:\n      lookup:\n        - file: " + file +
                       "\n          key: k\n          fields: [a, b]\n") ==
        "6:23 LP0501 stages[0].enrich.lookup[0].file: no column \"b\" in " + file + " | columns are k a\n");
  CHECK(test::findings("stages:\n  - enrich:\n      lookup:\n        - {file: " + file + ", key: other}\n") ==
        "4:18 LP0501 stages[0].enrich.lookup[0].file: " + file + ", line 1: no column \"other\" in the header\n");
  CHECK(test::findings("stages:\n  - enrich:\n      lookup:\n        - {key: k}\n") ==
        "4:11 LP0102 stages[0].enrich.lookup[0]: expected `file` or `service`\n");
}
