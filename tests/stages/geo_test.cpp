#include <chrono>
#include <filesystem>
#include <string>

#include "stages/geo_database.hpp"
#include "tests/stages/mmdb_writer.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using test::Directory;
using test::MmdbWriter;
using test::Pipeline;

namespace {

using W = MmdbWriter;

/// 203.0.113.0/24 is a city, 198.51.100.0/25 an organization, 2001:db8::/32 a country.
std::string database(const std::string& city) {
  MmdbWriter writer;
  writer.add_v4(0xCB007100, 24,
                W::map({{"city", W::map({{"names", W::map({{"en", W::text(city)}})}})},
                        {"country", W::map({{"iso_code", W::text("DE")}, {"in_eu", W::boolean(true)}})},
                        {"location", W::map({{"latitude", W::number(52.5)}, {"longitude", W::number(-13.25)}})},
                        {"subdivisions", W::array({W::map({{"iso_code", W::text("BE")}})})},
                        {"big", W::u64(18446744073709551615ull)}}));
  writer.add_v4(
      0xC6336400, 25,
      W::map({{"autonomous_system_number", W::u32(64500)}, {"autonomous_system_organization", W::text("An \"org\"")}}));
  writer.add({0x20, 0x01, 0x0d, 0xb8}, 32, W::map({{"country", W::map({{"iso_code", W::text("NZ")}})}}));
  return writer.finish();
}

std::string stages_of(const std::string& rest) {
  return "stages:\n  - parse: json\n  - enrich: {lookup: [{key: ip, " + rest + "}]}\n";
}

}  // namespace

TEST_CASE("geo: what a database says of an address is set under the usual names") {
  const Directory directory;
  const std::string file = directory.write("city.mmdb", database("Berlin"));
  Pipeline pipeline(stages_of("file: " + file));
  CHECK(
      pipeline.run(
          "{\"ip\":\"203.0.113.9\"}\n{\"ip\":\"198.51.100.127\"}\n{\"ip\":\"2001:db8::1\"}\n"
          "{\"ip\":\"::ffff:203.0.113.9\"}\n{\"ip\":\"198.51.100.128\"}\n{\"ip\":\"no address\"}\n{}\n{\"ip\":7}\n") ==
      "{\"ip\":\"203.0.113.9\",\"geo.country.iso_code\":\"DE\",\"geo.region.iso_code\":\"BE\","
      "\"geo.locality.name\":\"Berlin\",\"geo.location.lat\":52.5,\"geo.location.lon\":-13.25}\n"
      "{\"ip\":\"198.51.100.127\",\"as.number\":64500,\"as.organization.name\":\"An \\\"org\\\"\"}\n"
      "{\"ip\":\"2001:db8::1\",\"geo.country.iso_code\":\"NZ\"}\n"
      "{\"ip\":\"::ffff:203.0.113.9\"}\n{\"ip\":\"198.51.100.128\"}\n{\"ip\":\"no address\"}\n{}\n{\"ip\":7}\n");
  const Labels labels{{"component", "enrich"}, {"table", "city.mmdb"}};
  CHECK(pipeline.metrics.value("logpipe_lookup_hits_total", labels) == 3);
  CHECK(pipeline.metrics.value("logpipe_lookup_misses_total", labels) == 5);
}

TEST_CASE("geo: fields are chosen by their path, prefixed, and have a default") {
  const Directory directory;
  const std::string file = directory.write("city.mmdb", database("Berlin"));
  Pipeline pipeline(stages_of("file: " + file +
                              ", prefix: src_, fields: {eu: country.in_eu, big: big, none: country.names.en, "
                              "part: country, first: subdivisions.0.iso_code}, default: {src_eu: false}"));
  CHECK(pipeline.run("{\"ip\":\"203.0.113.9\"}\n{\"ip\":\"10.0.0.1\"}\n") ==
        "{\"ip\":\"203.0.113.9\",\"src_eu\":true,\"src_big\":18446744073709551615,\"src_first\":\"BE\"}\n"
        "{\"ip\":\"10.0.0.1\",\"src_eu\":false}\n");
}

TEST_CASE("geo: a database that changes is read again, and nothing happens while its file is overwritten") {
  const Directory directory;
  const std::string file = directory.write("city.mmdb", database("Berlin"));
  Pipeline pipeline(stages_of("file: " + file + ", fields: {c: city.names.en}, refresh_interval: 1ms"));
  const Labels labels{{"component", "enrich"}, {"table", "city.mmdb"}};
  const std::string line = "{\"ip\":\"203.0.113.9\"}\n";
  const auto until = [&](const char* metric) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (pipeline.metrics.value(metric, labels) != 1 && std::chrono::steady_clock::now() < deadline)
      pipeline.run(line);
    return pipeline.metrics.value(metric, labels);
  };
  directory.write("city.mmdb", "x");  // shorter than what is in use
  CHECK(until("logpipe_lookup_table_failures_total") == 1);
  CHECK(pipeline.run(line) == "{\"ip\":\"203.0.113.9\",\"c\":\"Berlin\"}\n");
  directory.write("city.mmdb", database("Potsdam"));
  CHECK(until("logpipe_lookup_table_reloads_total") == 1);
  CHECK(pipeline.run(line) == "{\"ip\":\"203.0.113.9\",\"c\":\"Potsdam\"}\n");
}

TEST_CASE("geo: what is no database is an error of the configuration") {
  const Directory directory;
  const std::string file = directory.write("x.mmdb", "not a database");
  CHECK(test::findings(stages_of("file: " + file)).find("LP0501 stages[1].enrich.lookup[0].file: " + file) !=
        std::string::npos);
  CHECK(test::findings(stages_of("file: /nowhere.mmdb")).find("cannot read /nowhere.mmdb") != std::string::npos);
}
