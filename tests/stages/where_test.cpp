#include "stages/where.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/stages/one_stage.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

using Lines = std::vector<std::string>;

std::unique_ptr<Stage> where(std::string_view options) {
  return make_where_stage(options_of<WhereOptions>(options), {"where", 0, nullptr, nullptr});
}

}  // namespace

TEST_CASE("where: events for which the condition holds are kept, the others counted") {
  const auto stage = where("'status >= 500 and path =~ \"^/a\"'");
  Batches batches;
  const std::string kept = R"({"status":500,"path":"/a"})";
  CHECK(batches.through(*stage, kept + "\n" + R"({"status":499,"path":"/a"})" + "\n" + R"({"path":"/a"})" + "\n" +
                                    R"({"status":500,"path":"/b"})" + "\nplain\n") == Lines{kept});
  CHECK(batches.put_aside(Reason::where) == 4);
}

TEST_CASE("where: lines without a parser have a message and a level, which nobody behind it is told") {
  Batches batches;
  CHECK(batches.through(*where("{condition: message contains 'disk' and level >= error}"),
                        "[ERROR] disk full\n[INFO] disk full\n[ERROR] cpu\n") == Lines{"[ERROR] disk full"});
  CHECK_FALSE(batches.batch.events.at(0).level_known);
}

TEST_CASE("where: it says why") {
  const auto stage = where("'level >= warn and .user.id == 7'");
  Batches batches;
  batches.through(*where("'true'"), R"({"level":"info","user":{"id":8}})"
                                    "\n");
  CHECK(stage->why(batches.batch, batches.batch.events.at(0)) ==
        "level >= warn and .user.id == 7 does not hold, level is info, .user.id is 8");
  CHECK(where("gone == 1")->why(batches.batch, batches.batch.events.at(0)) ==
        "gone == 1 does not hold, gone is missing");
  CHECK(where("level == info")->why(batches.batch, batches.batch.events.at(0)) == "");
}

TEST_CASE("where: a wrong condition is told with its place in the file") {
  CHECK(findings("stages:\n  - where: 'status = 5'\n") ==
        "2:20 LP0401 stages[0].where: unknown operator `=` | did you mean ==?\n");
  CHECK(findings("stages:\n  - where: {condition: status > 5 adn ok}\n") ==
        "2:35 LP0401 stages[0].where.condition: expected an operator or the end, got `adn` | did you mean and?\n");
  CHECK(findings("stages: [where]\n").find("condition") != std::string::npos);
  CHECK(findings("stages:\n  - where: level >= error or lwer(a) == 'b'\n") ==
        "2:30 LP0401 stages[0].where: unknown function `lwer` | did you mean lower?\n");
}
