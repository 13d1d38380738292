#include "stages/lookup_service.hpp"

#include <latch>
#include <thread>

#include "delivery/http_client.hpp"
#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"
#include "tests/stages/http_server.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using logpipe::testing::await;
using test::HttpServer;
using test::Pipeline;
using Reply = HttpServer::Reply;

namespace {

const Context kBackground = Context::background();

/// A stage that asks this server for the field `id`, with more options.
std::string stage(const std::string& address, const std::string& more = {}) {
  return "stages:\n  - parse: json\n  - enrich: {lookup: [{service: 'http://" + address +
         "/u?id={key}', key: id, timeout: 10s, retry: {initial: 1ms}" + (more.empty() ? "" : ", " + more) + "}]}\n";
}

double requests(const Pipeline& pipeline, const HttpServer& server, const char* outcome) {
  const Labels labels{{"component", "enrich"}, {"service", server.address()}, {"outcome", outcome}};
  return pipeline.metrics.value("logpipe_lookup_requests_total", labels).value_or(-1);
}

ServiceOptions asking(const HttpServer& server) {
  ServiceOptions options;
  options.service = "http://" + server.address() + "/u?id={key}";
  options.timeout = 10s;
  options.retry.attempts = 1;
  return options;
}

}  // namespace

TEST_CASE("lookup service: the members of the answer are set, with their types, and other events go on as they are") {
  HttpServer server([](const std::string& target) -> Reply {
    if (target == "/u?id=7") return {200, "{\"name\": \"Ann\", \"tags\": [1, {\"a\": null}], \"id\": 8}"};
    if (target == "/u?id=a%20b%2F%26%C3%A9") return {200, "{\"name\":\"odd\"}"};
    return {404, "no"};
  });
  Pipeline pipeline(stage(server.address()));
  CHECK(
      pipeline.run(
          "{\"id\":7}\n{\"id\":\"a b/&\\u00e9\"}\n{\"id\":9}\n{\"x\":1}\nplain\n{\"id\":{}}\n{\"id\":\"\"}\n") ==
      "{\"id\":8,\"name\":\"Ann\",\"tags\":[1,{\"a\":null}]}\n{\"id\":\"a b/&\\u00e9\",\"name\":\"odd\"}\n{\"id\":9}\n"
      "{\"x\":1}\n{\"message\":\"plain\"}\n{\"id\":{}}\n{\"id\":\"\"}\n");
  const Labels labels{{"component", "enrich"}, {"table", server.address()}};
  CHECK(pipeline.metrics.value("logpipe_lookup_hits_total", labels) == 2);
  CHECK(pipeline.metrics.value("logpipe_lookup_misses_total", labels) == 5);
  CHECK(requests(pipeline, server, "found") == 2);
  CHECK(requests(pipeline, server, "absent") == 1);
}

TEST_CASE("lookup service: members are chosen and renamed, and a default stands in where there is none") {
  HttpServer server([](const std::string& target) -> Reply {
    return target == "/u?id=1" ? Reply{200, "{\"a\":1,\"b\":2,\"c\":3}"} : Reply{204};
  });
  Pipeline pipeline(stage(server.address(), "fields: {alpha: a, cc: c}, prefix: u_, default: {u_alpha: none}"));
  CHECK(pipeline.run("{\"id\":1}\n{\"id\":2}\n{}\n") ==
        "{\"id\":1,\"u_alpha\":1,\"u_cc\":3}\n{\"id\":2,\"u_alpha\":\"none\"}\n{\"u_alpha\":\"none\"}\n");
}

TEST_CASE("lookup service: a key is asked for once, in a batch and after it, known absence included") {
  HttpServer server([](const std::string& target) -> Reply {
    return target == "/u?id=1" ? Reply{200, "{\"n\":1}"} : Reply{404};
  });
  Pipeline pipeline(stage(server.address()));
  for (int batch = 0; batch < 3; ++batch) {
    CHECK(pipeline.run("{\"id\":1}\n{\"id\":2}\n{\"id\":\"1\"}\n{\"id\":2}\n") ==
          "{\"id\":1,\"n\":1}\n{\"id\":2}\n{\"id\":\"1\",\"n\":1}\n{\"id\":2}\n");
  }
  CHECK(server.requests() == 2);
  const Labels labels{{"component", "enrich"}, {"service", server.address()}};
  CHECK(pipeline.metrics.value("logpipe_lookup_cache_misses_total", labels) == 2);
  CHECK(pipeline.metrics.value("logpipe_lookup_cache_hits_total", labels) == 4);
}

TEST_CASE("lookup service: what goes wrong is tagged with its reason, and tried again where that may help") {
  std::atomic<bool> over{false};
  HttpServer server([&](const std::string& target) -> Reply {
    const char what = target.back();
    if (what == 's') return {503};
    if (what == 'f') return {403};
    if (what == 'j') return {200, "[1]"};
    if (what == 't') return {200, "{\"a\":tru}"};
    if (what == 'l') return {200, "{\"a\":\"" + std::string(70'000, 'x') + "\"}"};
    if (what == 'h') return {.hang_up = true};
    while (!over) std::this_thread::yield();  // 'q': no answer in time
    return {};
  });
  Pipeline pipeline(stage(server.address(), "breaker: {failures: 0}"));
  const auto error = [&](const std::string& key) {
    const std::string line = pipeline.run("{\"id\":\"" + key + "\"}\n");
    const std::size_t begin = line.find("\"lookup_error\":\"");
    return begin == line.npos ? line : line.substr(begin + 16, line.find('"', begin + 16) - begin - 16);
  };
  CHECK(error("s") == "status_503");
  CHECK(error("f") == "status_403");
  CHECK(error("j") == "not_json");
  CHECK(error("t") == "not_json");
  CHECK(error("l") == "too_large");
  CHECK(error("h") == "hung_up");
  CHECK(error(std::string(2000, 'k')) == "key_too_long");
  CHECK(server.requests("/u?id=s") == 2);
  CHECK(server.requests("/u?id=f") == 1);
  CHECK(server.requests("/u?id=j") == 1);
  CHECK(requests(pipeline, server, "status") == 3);
  CHECK(requests(pipeline, server, "hung_up") == 2);
  CHECK(pipeline.metrics.value("logpipe_lookup_failed_events_total",
                               {{"component", "enrich"}, {"service", server.address()}}) == 7);
  {
    Pipeline impatient("stages: [{parse: json}, {enrich: {lookup: [{service: 'http://" + server.address() +
                       "/u?id={key}', key: id, timeout: 20ms, retry: {attempts: 1}}]}}]");
    CHECK(impatient.run("{\"id\":\"q\"}\n") == "{\"id\":\"q\",\"lookup_error\":\"timeout\"}\n");
  }
  over = true;
  Pipeline nobody(stage("127.0.0.1:1"));
  CHECK(nobody.run("{\"id\":1}\n") == "{\"id\":1,\"lookup_error\":\"unreachable\"}\n");
}

TEST_CASE("lookup service: an event whose lookup failed may be put aside or kept as it is") {
  HttpServer server([](const std::string& target) -> Reply {
    return target == "/u?id=1" ? Reply{200, "{\"n\":1}"} : Reply{400};
  });
  Pipeline keep(stage(server.address(), "on_error: keep"));
  CHECK(keep.run("{\"id\":1}\n{\"id\":2}\n{}\n") == "{\"id\":1,\"n\":1}\n{\"id\":2}\n{}\n");
  Pipeline discard(stage(server.address(), "on_error: discard"));
  CHECK(discard.run("{\"id\":2}\n{\"id\":1}\n{}\n") == "{\"id\":1,\"n\":1}\n{}\n");
  REQUIRE(discard.batch.tallies.size() == 1);
  CHECK(discard.batch.tallies[0].reason == Reason::lookup);
  CHECK_FALSE(discard.batch.tallies[0].intentional);
  CHECK(discard.batch.tallies[0].events == 1);
}

TEST_CASE("lookup service: one that keeps failing is left alone") {
  HttpServer server([](const std::string&) -> Reply { return {500}; });
  Pipeline pipeline(stage(server.address(), "breaker: {failures: 4, open_for: 1h}, concurrency: 1"));
  for (int i = 0; i < 10; ++i) {
    const std::string line = pipeline.run("{\"id\":" + std::to_string(i) + "}\n");
    CHECK(line.find(i < 2 ? "status_500" : "breaker_open") != line.npos);
  }
  CHECK(server.requests() == 4);
  CHECK(requests(pipeline, server, "refused") == 8);
  CHECK(pipeline.metrics.value("logpipe_lookup_breaker_opened_total",
                               {{"component", "enrich"}, {"service", server.address()}}) == 1);
}

TEST_CASE("lookup service: keys of a batch are asked for at the same time, as many as allowed") {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::latch together(4);
  HttpServer server([&](const std::string&) -> Reply {
    const int now = ++inside;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    together.count_down();
    together.wait();  // the first four have to meet
    --inside;
    return {200, "{\"n\":1}"};
  });
  Pipeline pipeline(stage(server.address(), "concurrency: 4, connections: 4"));
  std::string lines;
  for (int i = 0; i < 4; ++i) lines += "{\"id\":" + std::to_string(i) + "}\n";
  pipeline.run(lines);
  CHECK(most == 4);
  CHECK(server.connections() == 4);
  CHECK(requests(pipeline, server, "found") == 4);
}

TEST_CASE("lookup service: never more requests and connections than allowed, and connections are used again") {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  HttpServer server([&](const std::string&) -> Reply {
    const int now = ++inside;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    --inside;
    return {200, "{\"n\":1}"};
  });
  Pipeline pipeline(stage(server.address(), "concurrency: 3, connections: 2"));
  std::string lines;
  for (int i = 0; i < 300; ++i) lines += "{\"id\":" + std::to_string(i) + "}\n";
  pipeline.run(lines);
  CHECK(most <= 2);
  CHECK(server.connections() <= 2);
  CHECK(server.requests() == 300);
}

TEST_CASE("lookup service: the end of the run ends what is asked, and the threads go with the stage") {
  std::atomic<bool> over{false};
  std::atomic<int> asked{0};
  HttpServer server([&](const std::string&) -> Reply {
    ++asked;
    while (!over) std::this_thread::yield();
    return {.hang_up = true};
  });
  const auto run = with_cancel(kBackground);
  std::thread stopper([&] {
    await([&] { return asked == 4; });
    run.cancel("drain deadline");
  });
  {
    ServiceOptions options = asking(server);
    options.concurrency = 4;
    options.timeout = 1h;
    LookupService service(options, {}, {}, {"enrich", 0, nullptr, nullptr});
    std::vector<LookupService::Query> queries(20);
    for (std::size_t i = 0; i < queries.size(); ++i) queries[i].key = std::to_string(i);
    service.find_all(run.context, queries);  // returns: that is the test
    for (const auto& query : queries) CHECK_FALSE(query.answer);
  }
  stopper.join();
  over = true;
  CHECK(asked == 4);
}

TEST_CASE("lookup service: a second request is sent when the first takes long, and its answer taken") {
  std::atomic<bool> over{false};
  std::atomic<int> asked{0};
  HttpServer server([&](const std::string&) -> Reply {
    if (++asked == 1) {
      while (!over) std::this_thread::yield();
    }
    return {200, "{\"n\":1}"};
  });
  Pipeline pipeline(stage(server.address(), "hedge_after: 5ms"));
  CHECK(pipeline.run("{\"id\":1}\n") == "{\"id\":1,\"n\":1}\n");
  over = true;
  CHECK(asked == 2);
  CHECK(pipeline.metrics.value("logpipe_lookup_hedged_total",
                               {{"component", "enrich"}, {"service", server.address()}}) == 1);
  CHECK(requests(pipeline, server, "canceled") == 1);
}

TEST_CASE("lookup service: an answer past its time is better than none") {
  std::atomic<bool> broken{false};
  HttpServer server([&](const std::string&) -> Reply { return broken ? Reply{500} : Reply{200, "{\"n\":1}"}; });
  testing::ManualClock clock;
  ServiceOptions options = asking(server);
  options.cache = {.max_entries = 10, .ttl = 1s, .negative_ttl = 1s, .stale = 1h};
  LookupService service(options, {}, {}, {"enrich", 0, nullptr, nullptr}, clock);
  CHECK(service.find(kBackground, "a").value()->members.size() == 1);
  broken = true;
  clock.advance(2s);
  CHECK(service.find(kBackground, "a").value()->members.size() == 1);
  CHECK(server.requests() == 2);
  clock.advance(2h);
  CHECK(service.find(kBackground, "a").error().message == "status_500");
}

TEST_CASE("lookup service: by a socket of the file system, too") {
  const test::Directory directory;
  const std::string path = directory.path("s");
  HttpServer server([](const std::string&) -> Reply { return {200, "{\"n\":1}"}; }, path);
  Pipeline pipeline(stage("lookups", "unix_socket: " + path));
  CHECK(pipeline.run("{\"id\":1}\n") == "{\"id\":1,\"n\":1}\n");
}

TEST_CASE("lookup service: requests are paced") {
  HttpServer server([](const std::string&) -> Reply { return {200, "{\"n\":1}"}; });
  Pipeline pipeline(stage(server.address(), "rate_limit: 1000/s"));
  std::string lines;
  for (int i = 0; i < 1020; ++i) lines += "{\"id\":" + std::to_string(i) + "}\n";
  const auto begin = std::chrono::steady_clock::now();
  pipeline.run(lines);
  CHECK(std::chrono::steady_clock::now() - begin >= 20ms);  // a burst of a second's, then a thousandth each
  CHECK(server.requests() == 1020);
}

TEST_CASE("lookup service: several workers may ask at once, and share what they learn") {
  HttpServer server([](const std::string&) -> Reply { return {200, "{\"n\":1}"}; });
  {
    Pipeline pipeline(stage(server.address(), "hedge_after: 1m, concurrency: 4"));
    std::vector<std::jthread> workers;
    for (int t = 0; t < 4; ++t) {
      workers.emplace_back([&, t] {
        BlockPool pool(16 * 1024 * 1024);
        Batch batch;
        for (int round = 0; round < 10; ++round) {
          std::string lines;
          for (int i = 0; i < 20; ++i) lines += "{\"id\":" + std::to_string((t + i + round) % 40) + "}\n";
          batch.open(freeze(test::block_of(pool, lines)));
          (void)parse_json(batch, false);
          pipeline.stage(1).apply(batch, {});
          CHECK(batch.events.size() == 20);
        }
        batch.close();
      });
    }
  }
  CHECK(server.requests() <= 40);
}

TEST_CASE("lookup service: a wrong configuration is told with its place") {
  const auto finding = [](const std::string& lookup) {
    return test::findings("stages:\n  - enrich:\n      lookup:\n        - {" + lookup + "}\n");
  };
  CHECK(finding("service: 'http://h/{key}', key: id").empty());
  CHECK(finding("service: 'ftp://h/{key}', key: id").find("expected a URL that begins with http://") !=
        std::string::npos);
  CHECK(finding("service: 'http://h/', key: id").find("expected `{key}` in the URL, once") != std::string::npos);
  CHECK(finding("service: 'http://{key}/', key: id").find("behind the host") != std::string::npos);
  CHECK(finding("service: 'http:///{key}', key: id").find("expected a host") != std::string::npos);
  CHECK(finding("service: 'http://h/{key} x', key: id").find("without blanks") != std::string::npos);
  CHECK(finding("key: id").find("expected `file` or `service`") != std::string::npos);
  CHECK(finding("service: 'http://h/{key}', file: t.csv, key: id").find("got both") != std::string::npos);
  CHECK(finding("service: 'http://h/{key}', column: a, key: id").find("for tables only") != std::string::npos);
  CHECK(finding("file: none.csv, timeout: 1s, key: id").find("with `service` only") != std::string::npos);
}

TEST_CASE("url: everything but the unreserved is encoded") {
  CHECK(url_encoded("aZ9-_.~") == "aZ9-_.~");
  CHECK(url_encoded("a b&c=\xC3\xA9/%") == "a%20b%26c%3D%C3%A9%2F%25");
}
