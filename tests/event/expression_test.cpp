#include "event/expression.hpp"

#include <doctest/doctest.h>

#include <string>

#include "tests/event/expression_support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

constexpr const char* kLine =
    R"({"status":503,"path":"/api/v1/users","user":{"id":17,"name":"Ann"},"tags":["a","urgent"],"ok":true,"no":false,)"
    R"("none":null,"ms":1500,"took":"1.5s","bytes":"10MiB","text":"500","http.status":404,"neg":-2.5,"empty":"",)"
    R"("ts":"2024-03-01T11:59:00Z","epoch":1709294340,"ip":"10.1.2.3","esc":"a\tb","big":9007199254740993})";

void check_all(bool expected, std::initializer_list<const char*> conditions) {
  for (const char* condition : conditions) {
    CAPTURE(condition);
    CHECK(holds(condition, kLine) == expected);
  }
}

}  // namespace

TEST_CASE("condition: fields compare with literals") {
  check_all(true, {"status == 503",
                   "status >= 500",
                   "status > 502.5",
                   "status < 1e3",
                   "status != 500",
                   "path == '/api/v1/users'",
                   "path == \"/api/v1/users\"",
                   "path > '/aaa'",
                   "ok",
                   "ok == true",
                   "no == false",
                   "none == null",
                   "path != null",
                   "neg < 0",
                   "neg == -2.5",
                   "-neg == 2.5",
                   "empty == ''",
                   "esc == 'a\\tb'",
                   "503 == status",
                   "500 <= status",
                   "big == 9007199254740993",
                   "big != 9007199254740992"});
  check_all(false, {"status == 500", "status < 503", "path == 'x'", "no", "status == null", "none != null",
                    "empty != ''", "big == 9007199254740992"});
}

TEST_CASE("condition: the literal says how a field is read") {
  check_all(true, {"text == 500", "text >= 499", "status == '503'", "ms > 1s", "took == 1500ms", "took > 1s",
                   "took < 1m", "bytes == 10MiB", "bytes > 10MB", "status < 1KiB", "took == 1.5s", "text == '500'",
                   "bytes + 1MiB > 10MiB", "bytes >= 2 * 5MiB", "bytes < 1GiB / 2", "bytes % 1MiB == 0"});
  check_all(false, {"path > 5", "path == 5", "ok == 1", "none == 0", "took > 2s"});
  // What is there and no number is not equal to one.
  check_all(true, {"path != 5", "none != 5", "user != 5", "ok != 1"});
}

TEST_CASE("condition: what is missing makes every comparison false, negated ones too") {
  check_all(false, {"gone == 1",
                    "gone != 1",
                    "gone < 1",
                    "gone == null",
                    "gone != null",
                    "gone",
                    "gone =~ 'x'",
                    "gone !~ 'x'",
                    "gone in [1]",
                    "gone not in [1]",
                    "gone contains 'x'",
                    "gone not contains 'x'",
                    "path not contains gone",
                    "path not contains concat(gone)",
                    "path not iequals .user.gone",
                    "gone == gone",
                    "gone != gone",
                    "lower(gone) != 'x'",
                    "gone + 1 != 5",
                    ".user.gone != 1",
                    ".status.deep != 1",
                    "tags[7] != 1",
                    "status != gone",
                    "exists(gone)",
                    "gone exists"});
  check_all(true, {"not (gone == 1)", "not gone", "not exists(gone)", "!exists(gone)", "none exists", "exists(none)",
                   "exists(.user.id)", "coalesce(gone, 'x') == 'x'", "coalesce(none, 'x') == 'x'"});
}

TEST_CASE("condition: fields by path, index and quoted name") {
  check_all(true,
            {".user.id == 17", ".user.name == 'Ann'", "tags[0] == 'a'", ".tags[1] == 'urgent'", "`http.status` == 404",
             ".`http.status` == 404", ".user.`name` == 'Ann'", "`status` == 503", ".status == 503"});
  CHECK(holds("a[0].b[1] == 2", R"({"a":[{"b":[1,2]}]})"));
  CHECK(holds(".in == 1 and `and` == 2", R"({"in":1,"and":2})"));
  CHECK(holds("überlänge == 1 and @timestamp == 2 and $x == 3", R"({"überlänge":1,"@timestamp":2,"$x":3})"));
}

TEST_CASE("condition: and binds tighter than or, not tighter than and") {
  check_all(true, {"ok or no and no", "(ok or no) and ok", "not no and ok", "not (no or no)", "ok && !no", "no || ok",
                   "not not ok", "ok and ok and ok and not no", "true", "not false", "true or gone", "!(no) && (ok)"});
  check_all(false,
            {"(ok or no) and no", "not ok or no", "not (ok and ok)", "false", "false and ok", "ok and no or no"});
}

TEST_CASE("condition: texts are searched, with and without case") {
  check_all(true, {"path contains 'v1'",
                   "path starts_with '/api'",
                   "path ends_with 'users'",
                   "path like '/api/*/users'",
                   "path like '*'",
                   "path like '/api/v?/users'",
                   "path icontains 'V1'",
                   "path istarts_with '/API'",
                   "path iends_with 'USERS'",
                   "path ilike '/API/*'",
                   "path iequals '/API/v1/USERS'",
                   "path equals '/api/v1/users'",
                   "path =~ '^/api/v\\d+'",
                   "path matches 'users$'",
                   "path imatches 'USERS$'",
                   "path !~ '^/x'",
                   "path not contains 'x9'",
                   "path not like 'x*'",
                   "path not matches 'zz'",
                   "status contains '50'",
                   "tags contains 'urgent'",
                   "tags icontains 'URGENT'",
                   "tags not contains 'urg'",
                   "status =~ '^5..$'",
                   "path contains .user.missing or true",
                   "empty not contains 'a'",
                   "path contains ''",
                   "none !~ 'x'",
                   "path not equals 'x'",
                   "path contains concat('v', 1)"});
  check_all(false, {"path contains 'V1'", "path like '/api'", "path starts_with 'api'", "none contains 'x'",
                    "user contains 'Ann'", "path like '?'", "path iequals '/api'", "tags contains 'urg'",
                    "path not contains 'v1'"});
}

TEST_CASE("condition: globs know escapes, characters and no other signs") {
  CHECK(holds(R"(message like '100\*')", "100*"));
  CHECK_FALSE(holds(R"(message like '100\*')", "100x"));
  CHECK(holds(R"(message like 'a?c')",
              "a\xC3\xA4"
              "c"));
  CHECK(holds(R"(message like '*a*b*c')", "xxabxbxc"));
  CHECK_FALSE(holds(R"(message like '*a*b*c')", "xxabxbx"));
  CHECK(holds(R"(message like '[a]')", "[a]"));
  CHECK(holds(R"(message like '')", ""));
  CHECK(holds(R"(message like 'C:\dir*')", R"(C:\dir1)"));
  CHECK_FALSE(holds(R"(message like 'C:\dir*')", "C:dir1"));
  CHECK(holds(R"(message like 'a\\*')", R"(a\b)"));
  CHECK(holds(R"(message like 'a\?')", "a?"));
}

TEST_CASE("condition: searches take steps in proportion to the text") {
  const std::string run(1 << 20, 'x');
  const std::string line = R"({"a":")" + run + R"(","b":")" + std::string(1 << 19, 'x') + R"(y","c":1})";
  CHECK_FALSE(holds("a icontains .b", line));
  CHECK(holds("a icontains 'XX' and b icontains 'xY'", line));
  CHECK(value_of("split(a, b, 1)", line) == "");
  CHECK(value_of("split(a, b, -2)", line) == "");
  CHECK(value_of("len(replace(a, b, ''))", line) == std::to_string(run.size()));
  CHECK_FALSE(holds("a like '*" + std::string(1000, 'x') + "y*'", line));
  CHECK(holds("a like '*xx*' and b like '*x?y' and not (b like '*z')", line));
}

TEST_CASE("expression: computed texts have a limit, beyond which they are missing") {
  const std::string line = R"({"a":")" + std::string(5000, 'a') + R"(","b":")" + std::string(4000, 'b') + R"("})";
  CHECK(value_of("len(replace(a, 'a', b))", line) == "");
  CHECK(value_of("len(replace(a, 'a', substr(b, 0, 3000)))", line) == "15000000");
  CHECK(value_of("len(replace(replace(a, 'a', a), 'a', a))", line) == "");
  CHECK(value_of("coalesce(replace(a, 'a', b), 'none')", line) == R"("none")");
  std::string many = "a";
  for (int i = 0; i < 2; ++i) {
    std::string list = many;
    for (int k = 0; k < 59; ++k) list += ", " + many;
    many = "concat(" + list + ")";
  }
  CHECK(value_of("len(" + many + ")", line) == "");
  // All of a run together, too.
  const std::string large = "replace(a, 'a', substr(b, 0, 2000))";
  CHECK(value_of("len(" + large + ") + len(upper(" + large + "))", line) == "");
  const std::string literal = "'" + std::string(3000, 'x') + "'";
  CHECK(problem_of("replace(replace(" + literal + ", 'x', " + literal + "), 'x', " + literal + ") == 'a'")
            .find("this has no value") != std::string::npos);
}

TEST_CASE("expression: what the edges of values come to") {
  CHECK(value_of("weekday(t)", R"({"t":-9223372036854775808})") == "2");
  CHECK(value_of("string(time(t))", R"({"t":-9223372036854775808})") == R"("1677-09-21T00:12:43.145224192Z")");
  CHECK(value_of("string(time(t))", R"({"t":-1})") == R"("1969-12-31T23:59:59Z")");
  const std::string digits =
      R"({"took":"1)" + std::string(400, '0') + R"(s","bytes":"1)" + std::string(400, '0') + "B\"}";
  CHECK_FALSE(holds("took == 0s", digits));
  CHECK_FALSE(holds("bytes == 0B", digits));
  CHECK(value_of("-if(true, '5', 3)", "x") == "-5");
  CHECK(holds("t == time('2023-11-14T22:13:20.123Z')", R"({"t":1700000000.123})"));
  CHECK(holds("t == time('2023-11-14T22:13:20.123456789Z')", R"({"t":1700000000.123456789})"));
  CHECK(holds("t == time('1969-12-31T23:59:58.5Z')", R"({"t":-1.5})"));
  CHECK(holds("b == 9007199254740993B", R"({"b":9007199254740993})"));
  CHECK(value_of("9007199254740993B + 0", "x") == "9007199254740993");
  const std::string accents = "{\"a\":\"" + std::string(78, 'x') + "\u00e9\u00e9\"}";
  OpenedEvent opened(accents);
  CHECK(EventCondition::parse("a == 1")->facts(opened.batch, opened.event()) ==
        "a is \"" + std::string(78, 'x') + "\u2026");
  CHECK_FALSE(holds("is_ip(a)", R"({"a":"10.0.0.1\u0000x"})"));
  CHECK_FALSE(holds("in_cidr(a, '10.0.0.0/8')", R"({"a":"10.0.0.1\u0000x"})"));
}

TEST_CASE("condition: membership in lists, short and long, of one kind or several") {
  check_all(true, {"status in [500, 503]", "path in ['x', '/api/v1/users']", "status in ['503']",
                   "status not in [1, 2]", "text in [500]", "status in [1,2,3,4,5,6,7,8,9,503]",
                   "text in [1,2,3,4,5,6,7,8,9,500]", "path in ['a','b','c','d','e','f','g','h','i','/api/v1/users']",
                   "took in [1.5s]", "neg in [-2.5, 1]", "none in [null, 1]", "ok in [true]",
                   "path not in ['a','b','c','d','e','f','g','h','i']", "status in [502, 503,]"});
  check_all(false, {"status in [500, 502]", "status not in [503]", "text in [1,2,3,4,5,6,7,8,9,10]"});
}

TEST_CASE("condition: the level is the event's, by name") {
  CHECK(holds("level >= warn", R"({"severity":"ERROR"})"));
  CHECK(holds("level == error", "2024-01-01 [ERROR] broken"));
  CHECK(holds("warn <= level", R"({"severity":"ERROR"})"));
  CHECK(holds("level == 'error'", R"({"severity":"ERROR"})"));
  CHECK(holds("level in [warn, error]", R"({"severity":"ERROR"})"));
  CHECK(holds("level not in [info, 'debug']", R"({"severity":"ERROR"})"));
  CHECK(holds("level == unknown", R"({"a":1})"));
  CHECK(holds("level < trace", R"({"a":1})"));
  CHECK(holds("level == .wanted", R"({"level":"warn","wanted":"WARNING"})"));
  CHECK(holds("level contains 'err'", R"({"level":"ERROR"})"));
  CHECK(holds("upper(level) == 'ERROR'", R"({"level":"err"})"));
  CHECK(holds(".level == 'ERR'", R"({"level":"ERR"})"));
  CHECK(holds("`level` == 'ERR' and level == error", R"({"level":"ERR"})"));
  CHECK(holds("error == 'x'", R"({"error":"x"})"));
  CHECK_FALSE(holds("level >= warn and level != error", R"({"level":"error"})"));
  OpenedEvent opened(R"({"level":"error","a":1})");
  ExpressionScratch scratch;
  // The event is as before: whoever asks next may have an edited field to look at.
  CHECK(EventCondition::parse("a == 1 and level > warn")->holds(opened.batch, opened.event(), scratch));
  CHECK(EventCondition::parse("level > warn")->holds(opened.batch, opened.event(), scratch));
  CHECK_FALSE(opened.event().level_known);
  set(opened.batch, opened.event(), "level", "\"debug\"");
  CHECK_FALSE(EventCondition::parse("level > warn")->holds(opened.batch, opened.event(), scratch));
  CHECK_FALSE(EventCondition::parse("a == 1 and level > warn")->holds(opened.batch, opened.event(), scratch));
  CHECK(EventCondition::parse("true")->holds(Level::unknown));
  CHECK(holds("level >= coalesce(.min, 'warn')", R"({"level":"error"})"));
  CHECK(holds("level == if(exists(.min), 'warn', 'error')", R"({"level":"error"})"));
}

TEST_CASE("condition: what depends on the level alone is known by level") {
  for (const char* text : {"level >= warn", "level >= warn and level != fatal", "not (level < warn)", "level in [warn]",
                           "level == warn or level == error", "true", "level >= warn or false"}) {
    CAPTURE(text);
    const auto condition = EventCondition::parse(text);
    REQUIRE(condition);
    CHECK(condition->only_level());
    CHECK(condition->holds(Level::warn));
  }
  CHECK_FALSE(EventCondition::parse("level >= warn")->holds(Level::unknown));
  CHECK(EventCondition::parse("level < warn")->holds(Level::unknown));
  CHECK_FALSE(EventCondition::parse("level >= warn or ok")->only_level());
  CHECK(EventCondition().only_level());
  CHECK(EventCondition().holds(Level::unknown));
  CHECK(EventCondition::parse("level >= warn or a == 1 and a < b")->fields().size() == 2);
  CHECK(EventCondition::parse("level >= warn or a == 1")->uses_level());
  CHECK_FALSE(EventCondition::parse("a == 1")->uses_level());
}

TEST_CASE("expression: arithmetic of numbers, durations and times") {
  CHECK(value_of("status + 1", kLine) == "504");
  CHECK(value_of("ms / 1000", kLine) == "1.5");
  CHECK(value_of("ms / 500", kLine) == "3");
  CHECK(value_of("ms * 2 - 1", kLine) == "2999");
  CHECK(value_of("2 + 3 * 4", kLine) == "14");
  CHECK(value_of("(2 + 3) * 4", kLine) == "20");
  CHECK(value_of("7 % 4", kLine) == "3");
  CHECK(value_of("-ms", kLine) == "-1500");
  CHECK(value_of("10 - 2 - 3", kLine) == "5");
  CHECK(value_of("ms / 0", kLine) == "");
  CHECK(value_of("ms / no", kLine) == "");
  CHECK(value_of("9223372036854775807 + ms", kLine) == "9223372036854777856");
  CHECK(value_of("ms * 1ms", kLine) == "1.5");
  CHECK(value_of("took + 500ms", kLine) == "2");
  CHECK(value_of("time(ts) + 1m", kLine) == R"("2024-03-01T12:00:00Z")");
  CHECK(value_of("now() - ts", kLine) == "60");
  CHECK(value_of("now() - epoch", kLine) == "60");
  CHECK(value_of("seconds(90s) / 60", kLine) == "1.5");
  CHECK(value_of("bytes / 1KiB", kLine) == "10240");
  CHECK(value_of("bytes + 1MiB", kLine) == "11534336");
  CHECK(value_of("bytes - 1", kLine) == "");  // no literal says that it is a size
  CHECK(value_of("1MiB / 2", kLine) == "524288");
  CHECK(value_of("ms * 1KiB", kLine) == "1536000");
  CHECK(value_of("size(bytes) / 1KiB", kLine) == "10240");
  check_all(true,
            {"now() - ts == 1m", "age(ts) < 2m", "age(ts) > 59s", "ts > time('2024-01-01T00:00:00Z')",
             "time(ts) < '2025-01-01T00:00:00+02:00'", "ms * 1ms > 1s", "ms + status > 2000", "epoch == time(ts)"});
}

TEST_CASE("expression: values keep their spelling and type") {
  CHECK(value_of("neg", R"({"neg":-2.50})") == "-2.50");
  CHECK(value_of("user", kLine) == R"({"id":17,"name":"Ann"})");
  CHECK(value_of("none", kLine) == "null");
  CHECK(value_of("gone", kLine) == "");
  CHECK(value_of("esc", kLine) == R"("a\tb")");
  CHECK(value_of("status >= 500", kLine) == "true");
  CHECK(value_of("not ok", kLine) == "false");
  CHECK(value_of("level", R"({"level":"warning"})") == R"("warn")");
  CHECK(value_of("raw()", "a line") == R"("a line")");
  CHECK(value_of("message", "a line") == R"("a line")");
  CHECK(value_of("'a\\u00e9\\x41\\n\\u{1F600}'", "x") == "\"a\u00e9A\\n\U0001F600\"");
}

TEST_CASE("expression: functions") {
  struct Row {
    const char* expression;
    const char* value;
  };
  for (const Row& row : {Row{"lower('ABC')", R"("abc")"},
                         Row{"upper(path)", R"("/API/V1/USERS")"},
                         Row{"trim(' a b\t')", R"("a b")"},
                         Row{"trim('  ')", R"("")"},
                         Row{"len('äb')", "2"},
                         Row{"len(status)", "3"},
                         Row{"len(user)", ""},
                         Row{"int('12')", "12"},
                         Row{"int(2.9)", "2"},
                         Row{"int(-2.9)", "-2"},
                         Row{"int(path)", ""},
                         Row{"int(ok)", "1"},
                         Row{"float('1e3')", "1000"},
                         Row{"string(status)", R"("503")"},
                         Row{"string(1.5)", R"("1.5")"},
                         Row{"string(1s)", R"("1")"},
                         Row{"bool('true')", "true"},
                         Row{"bool(path)", ""},
                         Row{"round(2.5)", "3"},
                         Row{"round(2.345, 2)", "2.35"},
                         Row{"round(neg)", "-3"},
                         Row{"floor(neg)", "-3"},
                         Row{"ceil(neg)", "-2"},
                         Row{"abs(neg)", "2.5"},
                         Row{"abs(-3)", "3"},
                         Row{"min(3, 1, 2)", "1"},
                         Row{"max(3, status, 2.5)", "503"},
                         Row{"substr('häuser', 1, 2)", R"("äu")"},
                         Row{"substr('abc', -2)", R"("bc")"},
                         Row{"substr('abc', 5)", R"("")"},
                         Row{"split(path, '/', 1)", R"("api")"},
                         Row{"split(path, '/', -1)", R"("users")"},
                         Row{"split(path, '/', -2)", R"("v1")"},
                         Row{"split(path, '/', 9)", ""},
                         Row{"replace(path, '/', '-')", R"("-api-v1-users")"},
                         Row{"split('a--b--c', '--', -3)", R"("a")"},
                         Row{"split(path, '/', -4)", R"("")"},
                         Row{"split(path, '/', -5)", ""},
                         Row{"split('', '-', 0)", R"("")"},
                         Row{"split('a-', '-', -1)", R"("")"},
                         Row{"replace('aaa', 'aa', 'b')", R"("ba")"},
                         Row{"replace(path, '/', status)", R"("503api503v1503users")"},
                         Row{"replace(path, '/', string(status + 1))", R"("504api504v1504users")"},
                         Row{"replace(path, '/', ok)", R"("trueapitruev1trueusers")"},
                         Row{"replace(path, none, 'x')", ""},
                         Row{"replace(path, '/', user)", ""},
                         Row{"concat(path, '?', status)", R"("/api/v1/users?503")"},
                         Row{"coalesce(gone, none, status)", "503"},
                         Row{"coalesce(gone, none)", ""},
                         Row{"if(status >= 500, 'bad', 'good')", R"("bad")"},
                         Row{"if(gone, 1, 2)", "2"},
                         Row{"if(ok and not no, status, gone)", "503"},
                         Row{"hour(ts)", "11"},
                         Row{"minute(ts)", "59"},
                         Row{"weekday(ts)", "5"},
                         Row{"type(ts)", R"("string")"},
                         Row{"type(tags)", R"("array")"},
                         Row{"type(none)", R"("null")"},
                         Row{"type(gone)", ""},
                         Row{"duration('250ms')", "0.25"},
                         Row{"duration('1h30m')", "5400"},
                         Row{"size('1KiB')", "1024"},
                         Row{"time(1709294340000)", R"("2024-03-01T11:59:00Z")"},
                         Row{"time('2024-03-01 12:00:00.25+01:00')", R"("2024-03-01T11:00:00.250Z")"},
                         Row{"in_cidr(ip, '10.0.0.0/8')", "true"},
                         Row{"in_cidr(ip, '192.168.0.0/16', '10.1.2.0/30')", "true"},
                         Row{"in_cidr(ip, '10.1.2.0/31')", "false"},
                         Row{"in_cidr('2001:db8::1', '2001:db8::/32')", "true"},
                         Row{"in_cidr('::ffff:10.0.0.1', '10.0.0.0/8')", "true"},
                         Row{"in_cidr('::ffff:10.0.0.1', '::ffff:10.0.0.0/104')", "true"},
                         Row{"in_cidr(ip, '::ffff:0:0/96')", "true"},
                         Row{"in_cidr(ip, '::ffff:192.168.0.0/112')", "false"},
                         Row{"in_cidr(path, '10.0.0.0/8')", "false"},
                         Row{"in_cidr(gone, '10.0.0.0/8')", ""},
                         Row{"is_ip(ip)", "true"},
                         Row{"is_ip(path)", "false"}}) {
    CAPTURE(row.expression);
    CHECK(value_of(row.expression, kLine) == row.value);
  }
}

TEST_CASE("condition: what is wrong is told with its place and a suggestion") {
  struct Row {
    const char* text;
    const char* problem;
  };
  for (const Row& row : {
           Row{"", "0+1 expected a condition such as `level >= error`"},
           Row{"level error", "6+5 expected an operator: > >= < <= == !="},
           Row{"level", "0+5 expected a condition, got a level | for example level >= error"},
           Row{"level = error", "6+1 unknown operator `=` | did you mean ==?"},
           Row{"level => error", "6+2 unknown operator `=>` | did you mean >=?"},
           Row{"level <> error", "6+2 unknown operator `<>` | operators are > >= < <= == !="},
           Row{"level >= eror2", "9+5 unknown level `eror2` | did you mean error?"},
           Row{"level >= xyzzy",
               "9+5 unknown level `xyzzy` | levels are trace debug info notice warn error critical alert fatal "
               "unknown"},
           Row{"level >= ",
               "9+1 expected a level after `>=` | levels are trace debug info notice warn error critical alert "
               "fatal unknown"},
           Row{"level >= error x", "15+1 expected an operator or the end, got `x`"},
           Row{"level >= 5", "9+1 a level is never a number | levels are compared with levels: level >= warn"},
           Row{"status >= 5 adn ok", "12+3 expected an operator or the end, got `adn` | did you mean and?"},
           Row{"status >= 5 and", "15+1 expected a value, got nothing"},
           Row{"status = 5", "7+1 unknown operator `=` | did you mean ==?"},
           Row{"status", "accepted"},
           Row{"status + 1", "0+10 expected a condition, got a number | compare it: status >= 500"},
           Row{"status > 5 > 3", "0+12 comparisons cannot be chained | join them: a < b and b < c"},
           Row{"(status > 5", "0+1 `(` is not closed"},
           Row{"status > 5)", "10+1 `)` without its beginning"},
           Row{"path == 'x", "8+2 a quote that is not closed | write \\' for the character itself"},
           Row{"path == '\\d'",
               "9+2 unknown escape `\\d` | write \\\\ for a backslash; in patterns behind =~ it stands for itself"},
           Row{"path =~ 'a(b'", "12+1 no pattern: missing closing parenthesis"},
           Row{"path =~ '\\'(b'", "13+1 no pattern: missing closing parenthesis"},
           Row{"path =~ x", "8+1 expected a pattern in quotes behind `=~`, got `x` | for example path =~ '^/api/'"},
           Row{"user.id == 1",
               "0+7 a dot inside a name | write .user.id for a field inside another, `user.id` in backquotes for one "
               "name"},
           Row{"request-id == 1",
               "0+10 `request-id` reads as a difference | a name with a minus stands in backquotes; a difference has "
               "blanks around the minus"},
           Row{"lwer(path) == 'x'", "0+4 unknown function `lwer` | did you mean lower?"},
           Row{"lower() == 'x'", "0+7 `lower` does not take 0 arguments | it reads lower(text)"},
           Row{"lower(5) == 'x'", "6+1 expected a text, got a number | it reads lower(text)"},
           Row{"lower(path) == 5",
               "15+1 a text is never a number | int(…) and float(…) make a number of a text, string(…) a text of a "
               "number"},
           Row{"len(path) == 'x'",
               "13+3 a number is never a text | int(…) and float(…) make a number of a text, string(…) a text of a "
               "number"},
           Row{"age(ts) > 5", "10+1 a duration is never a number | write the number with a unit, for example 5s"},
           Row{"ok < true", "0+9 a bool is not more or less than another | use == or !="},
           Row{"a > null", "0+8 a null is not more or less than another | use == or !="},
           Row{"5 + 'x' > 1",
               "0+7 `+` of a number and a text | concat(…) joins texts, int(…) and float(…) make numbers of them"},
           Row{"ms > 5x", "6+1 unknown unit `x` | units are ns us ms s m h d and B kB KiB MB MiB GB GiB TB TiB"},
           Row{"status in 5",
               "10+1 expected a list behind `in`, got `5` | for example status in [500, 502]; for an element of an "
               "array: tags contains 'x'"},
           Row{"status in []", "10+2 an empty list"},
           Row{"status in [x]", "11+1 expected a constant in the list | compare with other fields by ==, joined by or"},
           Row{"status in [1", "10+1 `[` is not closed"},
           Row{"exists(1)", "0+6 only a field can be asked whether it exists | for example exists(.user.id)"},
           Row{"time('x') > ts", "0+9 this has no value, whatever the event | it reads time(value)"},
           Row{"time(ts) > 'x'", "11+3 not a time | for example '2024-03-01T12:00:00Z'"},
           Row{"1 / 0 == a", "0+5 this has no value, whatever the event"},
           Row{".a.", "2+1 expected a name behind the dot | a name with odd characters stands in backquotes"},
           Row{"a[x]", "2+1 expected an index, got `x` | elements are counted from 0: tags[0]"},
           Row{"a # b", "2+1 unexpected character `#` | names with odd characters stand in backquotes"},
           Row{"in_cidr(ip, '10.0.0.0/33')", "12+13 not a network | for example '10.0.0.0/8' or 'fd00::/8'"},
           Row{"in_cidr(ip, '::ffff:10.0.0.0/80')", "12+20 not a network | for example '10.0.0.0/8' or 'fd00::/8'"},
           Row{"replace(path, '/', 1 + ms) == 'x'",
               "19+6 expected a text, got a number | it reads replace(text, from, to)"},
           Row{"status contains 5", "16+1 looks for a text, got a number | string(…) makes a text of it"},
           Row{"not", "3+1 expected a value, got nothing"},
           Row{"a not b", "6+1 expected a word such as `in` or `contains` behind `not`, got `b`"},
           Row{"and", "0+3 expected a value, got `and` | a field of that name stands in backquotes"},
       }) {
    CAPTURE(row.text);
    CHECK(problem_of(row.text) == row.problem);
  }
  CHECK(problem_of(std::string(300, '(') + "a" + std::string(300, ')')).ends_with("nested more than 200 deep"));
  CHECK(problem_of(std::string(300, '!') + "a").ends_with("nested more than 200 deep"));
  CHECK(problem_of("a == " + std::string(300, '-') + "1").ends_with("nested more than 200 deep"));
  std::string sum = "a == 1";
  for (int i = 0; i < 300; ++i) sum += " + b";
  CHECK(problem_of(sum).ends_with("nested more than 200 deep"));
  CHECK(problem_of("a == '" + std::string(70'000, 'x') + "'").ends_with("longer than 64KiB"));
  std::string chain = "a == 1";
  for (int i = 0; i < 3000; ++i) chain += " or a == " + std::to_string(i);
  CHECK(problem_of(chain) == "accepted");
  CHECK(holds(chain, R"({"a":2999})"));
  CHECK_FALSE(holds(chain, R"({"a":3000})"));
  for (int i = 0; i < 2000; ++i) chain += " or b==" + std::to_string(i);
  CHECK(problem_of(chain).find("more than 4096") != std::string::npos);
}

TEST_CASE("condition: fields of logfmt lines, edited and appended ones too") {
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(block_of(pool, "service=api status=503 msg=\"a b\"\n")));
  parse_logfmt(batch);
  ExpressionScratch scratch;
  const auto check = [&](std::string_view text) {
    return EventCondition::parse(text)->holds(batch, batch.events.at(0), scratch);
  };
  CHECK(check("status >= 500 and service == 'api' and msg contains 'a b'"));
  set(batch, batch.events.at(0), "status", "200");
  set(batch, batch.events.at(0), "host", "\"web\"");
  CHECK(check("status < 500 and host == 'web'"));
  batch.close();
}
