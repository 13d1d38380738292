#include "sinks/registry.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "config/document.hpp"
#include "config/load.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;

TEST_CASE("sink registry: it is sorted, and finds what it lists") {
  const auto sinks = sink_registry();
  CHECK(std::is_sorted(sinks.begin(), sinks.end(), [](const auto& a, const auto& b) { return a.name < b.name; }));
  for (const SinkEntry& entry : sinks) CHECK(find_sink(entry.name) == &entry);
  CHECK(find_sink("no such sink") == nullptr);
}

TEST_CASE("sink registry: the table on every page is the one that the options print") {
  for (const SinkEntry& entry : sink_registry()) {
    CAPTURE(entry.name);
    const std::string page = test::content(std::string(LOGPIPE_SOURCE_DIR) + "/" + std::string(entry.page));
    const std::string begin = "<!-- options -->\n";
    const std::size_t from = page.find(begin);
    const std::size_t to = page.find("<!-- /options -->");
    REQUIRE(from != std::string::npos);
    REQUIRE(to != std::string::npos);
    CHECK(page.substr(from + begin.size(), to - from - begin.size()) == config::document(entry.schema()));
  }
}

TEST_CASE("sink registry: a sink is decoded beside the options that all sinks have, then made") {
  test::TempDir dir;
  config::Diagnostics diagnostics;
  const config::FixedEnvironment environment;
  const config::Node node = config::load_text(
      "t.yaml", "type: file\nwhen: level >= error\nqueue: {max_events: 5}\npath: " + dir.file("out") + "\n",
      environment, diagnostics);
  config::Object object(config::Decoder(node, diagnostics, "sinks.out"));
  for (const char* key : {"type", "when", "queue"}) object.reserve(key);
  const auto plan = find_sink("file")->decode(object);
  CHECK(object.finish());
  CHECK(config::render_text(diagnostics) == "");
  CHECK_FALSE(std::filesystem::exists(dir.file("out")));  // decoding touches nothing
  test::FakeProgress progress;
  test::SinkRun run(plan->make(test::services(progress)));
  CHECK(run.send("x\n") == SendStatus::sent);
  CHECK(run.finish().has_value());
  CHECK(test::content(dir.file("out")) == "x\n");
}

TEST_CASE("sink registry: a plan tells the only file it writes to, and whether it writes to stdout") {
  const auto plan_of = [](const std::string& type, const std::string& options) {
    config::Diagnostics diagnostics;
    const config::FixedEnvironment environment;
    const config::Node node = config::load_text("t.yaml", "type: " + type + "\n" + options, environment, diagnostics);
    config::Object object(config::Decoder(node, diagnostics, "sinks.out"));
    object.reserve("type");
    auto plan = find_sink(type)->decode(object);
    CHECK(object.finish());
    return plan;
  };
  const std::string here = std::filesystem::current_path().lexically_normal().string();
  CHECK(plan_of("file", "path: /var//log/./x/../out.log\n")->constant_path() == "/var/log/out.log");
  CHECK(plan_of("file", "path: /var/log/{{a}}%%.log\n")->constant_path() == "/var/log/{a}%.log");
  CHECK(plan_of("file", "path: ./out.log\n")->constant_path() == here + "/out.log");
  CHECK(plan_of("file", "path: '/var/log/{service}.log'\n")->constant_path() == "");
  CHECK(plan_of("file", "path: '/var/log/%Y.log'\n")->constant_path() == "");
  CHECK_FALSE(plan_of("file", "path: /var/log/out.log\n")->writes_stdout());
  CHECK(plan_of("stdout", "")->constant_path() == "");
  CHECK(plan_of("stdout", "")->writes_stdout());
}

TEST_CASE("sink registry: an option that a sink does not have is told") {
  config::Diagnostics diagnostics;
  const config::FixedEnvironment environment;
  const config::Node node = config::load_text("t.yaml", "type: stdout\nencodng: raw\n", environment, diagnostics);
  config::Object object(config::Decoder(node, diagnostics, "sinks.out"));
  object.reserve("type");
  static_cast<void>(find_sink("stdout")->decode(object));
  CHECK_FALSE(object.finish());
  const std::string text = config::render_text(diagnostics);
  CHECK(text.starts_with("t.yaml:2:1:"));
  CHECK(text.find("encoding") != std::string::npos);
}
