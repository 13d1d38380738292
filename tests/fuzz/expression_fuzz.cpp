// Texts of expressions: none may do more than be refused with a place inside the text, and one that is accepted must
// come to the same when it runs twice, and hold for an event in the same way folded and not.

#include <cstdlib>
#include <string>
#include <string_view>

#include "event/expression.hpp"
#include "event/json.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/support/blocks.hpp"

namespace {

using namespace logpipe;

constexpr std::string_view kLine =
    R"({"a":1,"b":"x","c":{"d":[1,"two",null]},"level":"warn","t":"1.5s","n":null,"ok":true,"e":"\u00e9\n","f":-2.5e3})"
    "\n";

void require(bool holds) {
  if (!holds) std::abort();
}

struct Opened {
  Opened() {
    batch.open(freeze(test::block_of(pool, kLine)));
    parse_json(batch, true);
  }
  ~Opened() { batch.close(); }
  BlockPool pool{1 << 20};
  Batch batch;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Opened opened;
  static ExpressionScratch scratch;
  scratch.clock = [] { return std::int64_t{1'700'000'000'000'000'000}; };
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ExpressionProblem problem;
  const auto expression = Expression::parse(text, &problem);
  if (!expression) {
    require(!problem.message.empty() && problem.length >= 1 && problem.offset <= text.size());
    require(!EventCondition::parse(text));
    return 0;
  }
  Event& event = opened.batch.events.front();
  Arena arena;
  const std::string first(json_of(expression->evaluate(opened.batch, event, scratch), arena));
  require(first == json_of(expression->evaluate(opened.batch, event, scratch), arena));
  if (const auto condition = EventCondition::parse(text, &problem)) {
    require(condition->holds(opened.batch, event, scratch) == (first == "true" || first == "\"true\""));
  }
  return 0;
}

std::vector<std::string> logpipe::fuzz::seeds() {
  return {"a == 1 and b =~ '^x' or not (.c.d[1] == 'two')",
          "level >= warn and level in [warn, error, 'fatal'] or level != unknown",
          "status not in [500, 502.5, -3, 1e9, 5s, 10MiB, null, true, 'x']",
          "lower(b) == 'X' and upper(b) icontains \"x\" and len(b) < 3",
          "if(ok, a + 1, f * 2 - 3 / 4 % 5) > 2.5",
          "coalesce(gone, n, a, 'none') != null",
          "t > 1s and t * 2 < 4s and duration(t) + 500ms == 2s",
          "time('2024-03-01T12:00:00Z') < now() and age(time(a)) > 1h30m",
          "in_cidr('10.1.2.3', '10.0.0.0/8', 'fd00::/8') && is_ip(b) || exists(.c) && !(n exists)",
          "split(b, '/', -1) like '*?\\*' and substr(b, -2, 1) ends_with replace(b, 'x', 'yy')",
          "`http.status` == 5 and .`a b`[0].c starts_with concat(a, b, level) and raw() contains '\\u00e9\\x41\\n'",
          "round(f, 2) == floor(a) or ceil(f) >= abs(min(a, f, 3)) or max(a, 2) == hour(now()) + weekday(now())",
          "b matches 'a|b' and b not imatches \"(?i)c\\\"\" and c contains 'two' and type(c) == 'object'",
          "((((a))))",
          "- - -a",
          "!!!ok",
          "a.b == 1",
          "a-b == 1"};
}
