#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "event/expression.hpp"
#include "event/expression_ast.hpp"
#include "tests/event/expression_naive.hpp"
#include "tests/event/expression_support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

constexpr const char* kFields[] = {"a", "b", "c", "d"};
constexpr const char* kTexts[] = {"x", "xyz", "XyZ", "", "5", "-1.5", "true", "zz"};
constexpr const char* kNumbers[] = {"0", "1", "5", "-1.5", "12", "2.25"};
constexpr const char* kLevels[] = {"trace", "debug", "info", "warn", "error", "fatal", "unknown"};

/// Random conditions and events in which they have something to find.
class Writer {
 public:
  explicit Writer(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  template <std::size_t N>
  std::string one_of(const char* const (&all)[N]) {
    return all[below(N)];
  }

  std::string condition(int depth) {
    if (depth > 0 && below(3) != 0) {
      switch (below(4)) {
        case 0:
          return "not (" + condition(depth - 1) + ")";
        case 1:
          return "(" + joined(" or ", depth) + ")";
        case 2:
          return "(" + joined(" and ", depth) + ")";
        default:
          return joined(below(2) == 0 ? " and " : " or ", depth);
      }
    }
    return test();
  }

  std::map<std::string, Plain> event(std::string& line, Level& level) {
    std::map<std::string, Plain> fields;
    line = "{";
    for (const char* name : kFields) {
      Plain value;
      std::string json;
      switch (below(6)) {
        case 0:
          continue;
        case 1:
          value.kind = Plain::Kind::null;
          json = "null";
          break;
        case 2:
          value.kind = Plain::Kind::boolean;
          value.boolean = below(2) == 0;
          json = value.boolean ? "true" : "false";
          break;
        case 3:
          value.kind = Plain::Kind::text;
          value.text = one_of(kTexts);
          json = '"' + value.text + '"';
          break;
        default:
          value.kind = Plain::Kind::number;
          value.text = one_of(kNumbers);
          value.number = std::stod(value.text);
          json = value.text;
          break;
      }
      line += (line.size() > 1 ? "," : "") + ('"' + std::string(name)) + "\":" + json;
      fields[name] = value;
    }
    const std::string name = one_of(kLevels);
    level = level_from_name(name).value_or(Level::unknown);
    if (level != Level::unknown) line += (line.size() > 1 ? ",\"level\":\"" : "\"level\":\"") + name + '"';
    line += '}';
    return fields;
  }

 private:
  std::string joined(const char* word, int depth) {
    std::string text = condition(depth - 1);
    for (std::size_t n = 1 + below(3); n > 0; --n) text += word + condition(depth - 1);
    return text;
  }
  std::string text() { return '\'' + one_of(kTexts) + '\''; }
  std::string constant() {
    switch (below(5)) {
      case 0:
        return "true";
      case 1:
        return "null";
      case 2:
        return text();
      default:
        return one_of(kNumbers);
    }
  }
  std::string comparison() {
    constexpr const char* kSigns[] = {" == ", " != ", " < ", " <= ", " > ", " >= "};
    return one_of(kSigns);
  }
  std::string number(int depth = 2) {
    if (depth == 0 || below(2) == 0) return below(2) == 0 ? one_of(kFields) : one_of(kNumbers);
    constexpr const char* kSigns[] = {" + ", " - ", " * "};
    return "(" + number(depth - 1) + one_of(kSigns) + number(depth - 1) + ")";
  }
  std::string test() {
    constexpr const char* kWords[] = {" contains ",   " icontains ", " starts_with ",  " istarts_with ",  " ends_with ",
                                      " iends_with ", " iequals ",   " not contains ", " not iends_with "};
    constexpr const char* kGlobs[] = {"'x*'", "'*z'", "'?'", "'*y*'", "'*'", "'x?z'", "''", "'*5*'"};
    constexpr const char* kPatterns[] = {"'^x'", "'y'", "'^\\d'", "'z$'", "'^$'", "'.'"};
    constexpr const char* kEqual[] = {" == ", " != "};
    const std::string field = one_of(kFields);
    switch (below(12)) {
      case 0:
        return field + comparison() + one_of(kFields);
      case 1:
        return field + comparison() + text();
      case 2:
        return field + one_of(kEqual) + constant();
      case 3:
        return number() + comparison() + number();
      case 4:
        return field + one_of(kWords) + (below(4) == 0 ? one_of(kFields) : text());
      case 5:
        return field + (below(2) == 0 ? " like " : " not ilike ") + one_of(kGlobs);
      case 6:
        return field + (below(2) == 0 ? " =~ " : " !~ ") + one_of(kPatterns);
      case 7: {
        std::string list = field + (below(2) == 0 ? " in [" : " not in [") + constant();
        for (std::size_t n = below(12); n > 0; --n) list += ", " + constant();
        return list + "]";
      }
      case 8:
        return "exists(" + field + ")";
      case 9:
        return "level" + comparison() + one_of(kLevels);
      case 10:
        return (below(2) == 0 ? "level in [" : "level not in [") + one_of(kLevels) + ", " + one_of(kLevels) + "]";
      default:
        return below(3) == 0 ? constant() + one_of(kEqual) + field : field;
    }
  }

  std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("condition: random conditions hold for random events as the naive interpreter says") {
  const char* const given = std::getenv("LOGPIPE_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  MESSAGE("LOGPIPE_SEED=", seed);
  Writer writer(seed);
  ExpressionScratch scratch;
  std::size_t compared = 0;
  std::size_t held = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::string text = writer.condition(3);
    ExpressionProblem problem;
    const expr::Tree tree = expr::parse_unfolded(text, problem);
    const auto condition = EventCondition::parse(text, &problem);
    // Sums of literals too large or types that exclude each other are told, and by both.
    if (!condition) {
      CHECK_FALSE(problem.message.empty());
      continue;
    }
    REQUIRE(tree.root);
    for (int j = 0; j < 4; ++j) {
      std::string line;
      Level level = Level::unknown;
      const auto fields = writer.event(line, level);
      OpenedEvent opened(line);
      const bool naive = Naive(fields, level).holds(*tree.root);
      const bool ours = condition->holds(opened.batch, opened.event(), scratch);
      ++compared;
      held += ours ? 1 : 0;
      CHECK_MESSAGE(ours == naive, text, "\n", line);
      if (condition->only_level()) CHECK(condition->holds(level) == ours);
    }
  }
  // Most are accepted, and both outcomes are common.
  CHECK(compared > 4000);
  CHECK(held > compared / 10);
  CHECK(held < compared * 9 / 10);
}
