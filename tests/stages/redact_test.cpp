#include "stages/redact.hpp"

#include <doctest/doctest.h>

#include <string>

#include "tests/stages/support.hpp"

using namespace logpipe;

namespace {

/// A text with what is found in it put into angle brackets.
std::string marked(std::string_view text, Sensitive kind) {
  std::vector<Finding> findings;
  find_sensitive(text, kind, findings);
  settle(findings);
  std::string out;
  std::size_t copied = 0;
  for (const Finding& finding : findings) {
    out.append(text.substr(copied, finding.begin - copied));
    out.append("<").append(text.substr(finding.begin, finding.end - finding.begin)).append(">");
    copied = finding.end;
  }
  return out.append(text.substr(copied));
}

std::string through(const std::string& stages, std::string_view lines) {
  return test::Pipeline("stages: [{parse: auto}, " + stages + "]").run(lines);
}

}  // namespace

TEST_CASE("redact: e-mail addresses, and what only looks like one") {
  const auto email = [](std::string_view text) { return marked(text, Sensitive::email); };
  CHECK(email("to ann.b+x@mail.example.com, or <bob@x.org>.") == "to <ann.b+x@mail.example.com>, or <<bob@x.org>>.");
  CHECK(email("email=a@b.de") == "email=<a@b.de>");
  CHECK(email("jürgen@müller.de") == "<jürgen@müller.de>");
  CHECK(email("a@b.co@c.org") == "<a@b.co>@c.org");
  CHECK(email("user@host @x.com a@ @ a@.com a@b.1") == "user@host @x.com a@ @ a@.com a@b.1");
  CHECK(email("ann@example.com.1 bob@x.org.20261122") == "<ann@example.com>.1 <bob@x.org>.20261122");
  CHECK(email("https://u:secret@db.example.com/x") == "https://u:<secret@db.example.com>/x");
}

TEST_CASE("redact: card numbers have a right check digit") {
  const auto card = [](std::string_view text) { return marked(text, Sensitive::card); };
  CHECK(card("4111111111111111") == "<4111111111111111>");
  CHECK(card("pay 4111 1111 1111 1111 now") == "pay <4111 1111 1111 1111> now");
  CHECK(card("5500-0000-0000-0004,") == "<5500-0000-0000-0004>,");
  CHECK(card("3782 822463 10005") == "<3782 822463 10005>");
  CHECK(card("order 12 4111 1111 1111 1111 12") == "order 12 <4111 1111 1111 1111> 12");
  CHECK(card("22 4111 1111 1111 1111").find("111 1111 1111 1111>") != std::string::npos);
  CHECK(card("\u201c4111111111111111\u201d") == "\u201c<4111111111111111>\u201d");
  CHECK(card("4111111111111112") == "4111111111111112");
  CHECK(card("x4111111111111111 41111111111111111111") == "x4111111111111111 41111111111111111111");
  CHECK(card("1700000000000 0000000000000000") == "1700000000000 0000000000000000");
}

TEST_CASE("redact: addresses of both kinds, and what is none") {
  const auto ip = [](std::string_view text) { return marked(text, Sensitive::ip); };
  CHECK(ip("from 10.0.0.1:8080 to 255.255.255.255.") == "from <10.0.0.1>:8080 to <255.255.255.255>.");
  CHECK(ip("ip%3D10.0.0.1 \x1b[31m10.0.0.2\x1b[0m v10.0.0.3") == "ip%3D<10.0.0.1> \x1b[31m<10.0.0.2>\x1b[0m v10.0.0.3");
  CHECK(ip("peer:10.0.0.1 a=1.2.3.4") == "peer:<10.0.0.1> a=<1.2.3.4>");
  CHECK(ip("[2001:db8::1]:443 ::1 ::ffff:10.0.0.1") == "[<2001:db8::1>]:443 <::1> <::ffff:10.0.0.1>");
  CHECK(ip("fe80:0:0:0:1:2:3:4, fe80::1: up") == "<fe80:0:0:0:1:2:3:4>, <fe80::1>: up");
  CHECK(ip("12:34:56 aa:bb:cc:dd:ee:ff std::string 1.2.3 1.2.3.4.5 256.1.1.1 v1.2.3.4 ::") ==
        "12:34:56 aa:bb:cc:dd:ee:ff std::string 1.2.3 1.2.3.4.5 256.1.1.1 v1.2.3.4 ::");
}

TEST_CASE("redact: tokens") {
  const auto token = [](std::string_view text) { return marked(text, Sensitive::token); };
  CHECK(token("Authorization: bearer abc.def-123_456 x") == "Authorization: bearer <abc.def-123_456> x");
  CHECK(token("the bearer authentication failed") == "the bearer authentication failed");
  CHECK(token("t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln;") == "t=<eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln>;");
  CHECK(token("AKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLE1") == "<AKIAIOSFODNN7EXAMPLE> AKIAIOSFODNN7EXAMPLE1");
  CHECK(token("ghp_0123456789abcdefghijABCDEFGHIJ012345") == "<ghp_0123456789abcdefghijABCDEFGHIJ012345>");
  CHECK(token("xoxb-123456789012-abc") == "<xoxb-123456789012-abc>");
  CHECK(token("bearer ") == "bearer ");
}

TEST_CASE("redact: long texts of what nearly matches take no more than their length's time") {
  for (const std::string_view piece :
       {"1.1.", "1:1:", "@", "a@", "eyJ-", "4", "4 ", "xoxb-", "bearer ", "::", "fe80."}) {
    std::string text;
    while (text.size() < 1'000'000) text += piece;
    std::vector<Finding> findings;
    for (const Sensitive kind : {Sensitive::email, Sensitive::card, Sensitive::ip, Sensitive::token}) {
      find_sensitive(text, kind, findings);
    }
    settle(findings);
    for (const Finding& finding : findings) REQUIRE(finding.end <= text.size());
  }
}

TEST_CASE("redact: values of every depth and form, however they are escaped, but no keys") {
  CHECK(through("redact", "{\"a\":{\"b@c.de\":[\"x@y.de\",{\"n\":\"10.0.0.1\"}]},\"n\":4111111111111111}\n") ==
        "{\"a\":{\"b@c.de\":[\"[email]\",{\"n\":\"[ip]\"}]},\"n\":\"[card]\"}\n");
  CHECK(through("redact", "{\"a\":\"x\\u0040y.de\\n\",\"b\":[\"q\\\"x\\u0040y.de\"]}\n") ==
        "{\"a\":\"[email]\\n\",\"b\":[\"q\\\"[email]\"]}\n");
  CHECK(through("redact", "user=x@y.de ok=1\n") == "{\"user\":\"[email]\",\"ok\":1}\n");
  CHECK(through("{set: {m: '{u}@y.de'}}, redact", "{\"u\":\"x\"}\n") == "{\"u\":\"x\",\"m\":\"[email]\"}\n");
  CHECK(through("redact", "{\"a\":\"x@y.de\",\"a\":\"z@y.de\"}\n") == "{\"a\":\"[email]\",\"a\":\"[email]\"}\n");
}

TEST_CASE("redact: only in the named fields") {
  CHECK(through("{redact: {fields: [.u.mail, ip]}}",
                "{\"u\":{\"mail\":\"a@b.de\",\"x\":\"a@b.de\"},\"ip\":\"::1\",\"m\":\"::1\"}\n") ==
        "{\"u\":{\"mail\":\"[email]\",\"x\":\"a@b.de\"},\"ip\":\"[ip]\",\"m\":\"::1\"}\n");
}

TEST_CASE("redact: patterns of one's own, by their first group or as a whole") {
  CHECK(through("{redact: {kinds: email, patterns: {id: 'id=(\\d+)', pw: 'pw=\\S+'}}}",
                "plain id=1 id=22 pw=x id=3 ::1\n") == "{\"message\":\"plain id=[id] id=[id] [pw] id=[id] ::1\"}\n");
}

TEST_CASE("redact: removed, or a hash that is the same for the same text and another with another key") {
  CHECK(through("{redact: {kinds: email, with: remove}}", "{\"a\":\"<x@y.de>\"}\n") == "{\"a\":\"<>\"}\n");
  const std::string line = "{\"a\":\"x@y.de\",\"b\":\"x@y.de\",\"c\":\"z@y.de\"}\n";
  const std::string one = through("{redact: {kinds: email, with: hash, key: one}}", line);
  const std::string two = through("{redact: {kinds: email, with: hash, key: two}}", line);
  CHECK(one != two);
  const std::string hash = one.substr(6, 40);
  CHECK(hash.starts_with("[email:"));
  CHECK(hash.back() == ']');
  CHECK(one.find(hash, 10) != std::string::npos);
  CHECK(one.rfind(hash) < one.find("\"c\""));
}

TEST_CASE("redact: what is redacted is counted by its kind, and marked so that it never leaves as it came") {
  test::Pipeline pipeline("stages: [redact]");
  CHECK(pipeline.run("a@b.de 10.0.0.1 ::1\nnothing\n") ==
        "{\"message\":\"[email] [ip] [ip]\"}\n{\"message\":\"nothing\"}\n");
  CHECK(pipeline.metrics.value("logpipe_redacted_total", {{"component", "redact"}, {"kind", "email"}}) == 1);
  CHECK(pipeline.metrics.value("logpipe_redacted_total", {{"component", "redact"}, {"kind", "ip"}}) == 2);
  CHECK(bool(pipeline.batch.events.at(0).redacted));
  CHECK_FALSE(bool(pipeline.batch.events.at(1).redacted));
}

TEST_CASE("redact: what is wrong with the options is said") {
  CHECK(test::findings("stages: [{redact: {with: hash}}]").find("a hash needs a `key`") != std::string::npos);
  CHECK(test::findings("stages: [{redact: {key: x}}]").find("`with: hash` only") != std::string::npos);
  CHECK(test::findings("stages: [{redact: {kinds: []}}]").find("nothing to redact") != std::string::npos);
  CHECK_FALSE(test::findings("stages: [{redact: {patterns: {a: '('}}}]").empty());
}

TEST_CASE("replace: groups, texts, empty matches, and only the first") {
  CHECK(through("{replace: {field: m, pattern: '(\\w+)-(?<b>\\w+)', with: '$<b>-$1-$0-$$'}}",
                "{\"m\":\"a-b, c-d\"}\n") == "{\"m\":\"b-a-a-b-$, d-c-c-d-$\"}\n");
  CHECK(through("{replace: {field: m, text: 'a', with: '$1'}}", "{\"m\":\"banana\"}\n") == "{\"m\":\"b$1n$1n$1\"}\n");
  CHECK(through("{replace: {field: m, text: 'a', with: '', times: first}}", "{\"m\":\"banana\"}\n") ==
        "{\"m\":\"bnana\"}\n");
  CHECK(through("{replace: {field: m, pattern: 'x*', with: '-'}}", "{\"m\":\"éxb\"}\n") == "{\"m\":\"-é--b\"}\n");
  CHECK(through("{replace: {field: m, pattern: '2', with: 'two'}}", "{\"m\":1.25}\n") == "{\"m\":\"1.two5\"}\n");
  CHECK(through("{replace: {pattern: '\\s+', with: ' '}}", "many   blanks\n") == "{\"message\":\"many blanks\"}\n");
}

TEST_CASE("replace: what is wrong with the options is said") {
  CHECK(test::findings("stages: [{replace: {pattern: 'a', with: '$1'}}]").find("has no group 1") != std::string::npos);
  CHECK(test::findings("stages: [{replace: {pattern: 'a', with: '$<n>'}}]").find("no group called") !=
        std::string::npos);
  CHECK(test::findings("stages: [{replace: {with: b}}]").find("expected `pattern` or `text`") != std::string::npos);
}

TEST_CASE("route: the first rule that holds takes an event out, in order") {
  test::Pipeline pipeline(
      "stages: [{parse: json}, {route: {rules: [{when: 's >= 500', to: 'a'}, {when: 's >= 400', to: 'b.{s}'}], "
      "unmatched: discard}}]");
  CHECK(pipeline.run("{\"s\":503}\n{\"s\":200}\n{\"s\":404}\n{\"s\":500}\n").empty());
  CHECK(pipeline.tallies() == "1/routed/discarded 3 30\n1/when/discarded 1 10\n");
  REQUIRE(pipeline.batch.routed.size() == 3);
  CHECK(pipeline.batch.routed[0].topic->spelling() == "a");
  CHECK(pipeline.batch.routed[1].topic->spelling() == "b.{s}");
  CHECK(pipeline.batch.routed[2].topic->spelling() == "a");
  CHECK(pipeline.batch.routed[1].event.offset > pipeline.batch.routed[0].event.offset);
}

TEST_CASE("route: what no rule takes goes on, or to a topic of its own") {
  test::Pipeline kept("stages: [{parse: json}, {route: [{when: 's >= 500', to: a}]}]");
  CHECK(kept.run("{\"s\":503}\n{\"s\":200}\n") == "{\"s\":200}\n");
  const test::Decoded decoded("stages: [{route: {rules: [{when: 's >= 500', to: a}], unmatched: route, to: rest}}]");
  REQUIRE(decoded.diagnostics.ok());
  const auto topics = decoded.plans[0]->publishes();
  REQUIRE(topics.size() == 2);
  CHECK(topics[1].spelling() == "rest");
  CHECK(test::findings("stages: [{route: {rules: [{when: 's >= 500', to: a}], unmatched: route}}]")
            .find("expected a topic") != std::string::npos);
}

TEST_CASE("redact: a pattern that gives up lets nothing of the rest out") {
  const std::string line = "{\"a\":\"" + std::string(60, 'a') + "b\"}\n";
  CHECK(through("{redact: {kinds: email, patterns: {p: '^(a+)+$'}}}", line) == "{\"a\":\"[p]\"}\n");
}

TEST_CASE("redact: what a scanner took out of a line is looked at by itself") {
  CHECK(test::Pipeline("stages: [{parse: {dissect: 'host%{ip} %{rest}'}}, {redact: ip}]").run("host10.1.2.3 x\n") ==
        "{\"ip\":\"[ip]\",\"rest\":\"x\"}\n");
}
