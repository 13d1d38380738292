#include <doctest/doctest.h>

#include <string>

#include "tests/e2e/process.hpp"

using namespace logpipe::test;

namespace {

std::string numbered(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += "{\"seq\":" + std::to_string(i) + ",\"level\":\"info\"}\n";
  return text;
}

Result verified(const TempDir& dir, std::vector<std::string> more = {}) {
  more.insert(more.begin(), {"verify", "--source", (dir / "app.log*").string(), "--sink", (dir / "out.log*").string()});
  return run(more);
}

}  // namespace

TEST_CASE("verify: what a pipeline delivered is what it read, changed by stages or not") {
  const TempDir dir;
  write_file(dir / "app.log.1", numbered(0, 5000));
  write_file(dir / "app.log", numbered(5000, 9000));
  write_file(dir / "config.yaml", "sources: {app: {type: file, include: '" + (dir / "app.log*").string() +
                                      "'}}\nstages: [{parse: json}, {enrich: {set: {env: prod}}}]\nsinks: {out: {type: "
                                      "file, path: " +
                                      (dir / "out.log").string() + "}}\n");
  CHECK(run({"run", "--once", "--config", (dir / "config.yaml").string()}).exit.status == 0);
  const Result by_number = verified(dir, {"--key", ".seq"});
  CHECK(by_number.exit.status == 0);
  CHECK(contains(by_number.out, "equal\n"));
  const Result by_line = verified(dir, {"--json"});
  CHECK(by_line.exit.status == 1);
  CHECK(contains(by_line.out, "\"missing\":9000,\"doubled\":0,\"reordered\":0,\"foreign\":9000"));
}

TEST_CASE("verify: planted faults are found, each of its kind") {
  const TempDir dir;
  write_file(dir / "app.log", numbered(0, 1000));
  write_file(dir / "out.log", numbered(0, 1000));
  CHECK(verified(dir).exit.status == 0);
  write_file(dir / "out.log", numbered(0, 500) + numbered(490, 500) + numbered(520, 1000));
  const Result lost = verified(dir, {"--key", ".seq", "--json"});
  CHECK(lost.exit.status == 1);
  CHECK(contains(lost.out, "\"missing\":20,\"doubled\":10,\"reordered\":0,\"foreign\":0"));
  CHECK(contains(verified(dir).out, "app.log:501  {\"seq\":500,"));
  write_file(dir / "out.log", numbered(0, 500) + numbered(520, 1000));
  CHECK(verified(dir, {"--allow-filtered"}).exit.status == 0);
  write_file(dir / "out.log", numbered(500, 1000) + numbered(0, 500));
  const Result turned = verified(dir, {"--key", "\"seq\":(\\d+)", "--json"});
  CHECK(turned.exit.status == 1);
  CHECK(contains(turned.out, "\"missing\":0,\"doubled\":0,\"reordered\":500,\"foreign\":0"));
  CHECK(contains(verified(dir).out, "reordered     500"));
}

TEST_CASE("verify: mistakes on the command line are 64, files that cannot be read are 74") {
  const TempDir dir;
  CHECK(run({"verify", "--sink", "x"}).exit.status == 64);
  CHECK(verified(dir).exit.status == 64);
  write_file(dir / "app.log", "a\n");
  CHECK(verified(dir, {"--memory", "1"}).exit.status == 64);
  CHECK(verified(dir, {"--key", "(a"}).exit.status == 64);
  const Result no_sink = verified(dir);
  CHECK(no_sink.exit.status == 74);
  CHECK(contains(no_sink.err, "no file matches --sink"));
  write_file(dir / "out.log.gz", std::string("\x1F\x8B\x08\x00garbage", 11));
  CHECK(verified(dir).exit.status == 74);
}
