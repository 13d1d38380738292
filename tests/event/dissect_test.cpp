#include "event/dissect.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/event/scanned.hpp"

using namespace logpipe;
using test::kRefused;

namespace {

std::string dissected(std::string_view pattern, std::string_view line) {
  Dissect::Problem problem;
  const auto dissect = Dissect::parse(pattern, &problem);
  REQUIRE_MESSAGE(dissect.has_value(), problem.message);
  return test::scanned(line, [&](std::string_view text, const ScanOut& out) { return dissect->scan(text, out); });
}

std::string problem_of(std::string_view pattern) {
  Dissect::Problem problem;
  CHECK_FALSE(Dissect::parse(pattern, &problem).has_value());
  return std::to_string(problem.offset) + "+" + std::to_string(problem.length) + " " + problem.message;
}

/// The same by the definition: fields without modifiers, one after the other.
std::string naive(const std::vector<std::string>& delimiters, std::string line) {
  std::string out = "{";
  for (std::size_t i = 0; i < delimiters.size(); ++i) {
    const bool last = i + 1 == delimiters.size();
    std::size_t end = last ? line.size() - std::min(line.size(), delimiters[i].size()) : line.find(delimiters[i]);
    if (last && line.substr(end) != delimiters[i]) return std::string(kRefused);
    if (end == std::string::npos) return std::string(kRefused);
    out += (i == 0 ? "\"f" : ",\"f") + std::to_string(i) + "\":\"" + line.substr(0, end) + "\"";
    line.erase(0, end + delimiters[i].size());
  }
  return out + "}";
}

}  // namespace

TEST_CASE("dissect: fields are what stands between the texts") {
  struct Row {
    std::string_view pattern;
    std::string_view line;
    std::string_view fields;
  };
  const Row rows[] = {
      {R"(%{ip} %{} [%{ts}] "%{verb} %{path} %{proto}" %{status} %{bytes})",
       R"(10.0.0.1 - [21/Nov/2026:13:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 512)",
       R"({"ip":"10.0.0.1","ts":"21/Nov/2026:13:00:00 +0000","verb":"GET","path":"/a?b=c","proto":"HTTP/1.1","status":200,"bytes":512})"},
      {"%{a} %{b}", "x y z", R"({"a":"x","b":"y z"})"},
      {"%{a} %{b}", "x ", R"({"a":"x","b":""})"},
      {"%{a},%{b},%{c}", ",,", R"({"a":"","b":"","c":""})"},
      {"%{a}", "", R"({"a":""})"},
      {"%{a}", "whole line", R"({"a":"whole line"})"},
      {"<%{pri}>%{text}", "<34>oops", R"({"pri":34,"text":"oops"})"},
      {"<%{pri}>%{text}", "34>oops", kRefused},
      {"%{a} - %{b}", "x -y", kRefused},
      {"%{a} - %{b}", "x- - y", R"({"a":"x-","b":"y"})"},
      {"%{a}--%{b}", "x---y", R"({"a":"x","b":"-y"})"},
      // The text that ends the pattern ends the line.
      {"[%{a}]", "[x]", R"({"a":"x"})"},
      {"[%{a}]", "[x]y]", R"({"a":"x]y"})"},
      {"[%{a}]", "[x] ", kRefused},
      {"[%{a}]", "[", kRefused},
      // Padding.
      {"%{level->} %{text}", "WARN    disk full", R"({"level":"WARN","text":"disk full"})"},
      {"%{level} %{text}", "WARN    disk full", R"({"level":"WARN","text":"   disk full"})"},
      {"%{a->}, %{b}", "x, , , y, z", R"({"a":"x","b":"y, z"})"},
      {"[%{->}] %{b}", "[ts]] y", R"({"b":"y"})"},
      // Skipped.
      {"%{?ignored} %{b}", "x y", R"({"b":"y"})"},
      {"%{} %{}", "x y", "{}"},
      // Joined.
      {"%{+ts} %{+ts} %{+ts} %{host} %{text}", "Nov 21 13:00:00 web1 started",
       R"({"ts":"Nov 21 13:00:00","host":"web1","text":"started"})"},
      {"%{a} %{b} %{+a}", "x y z", R"({"a":"x z","b":"y"})"},
      {"%{+n/2} %{+n/1}", "Ada Lovelace", R"({"n":"Lovelace Ada"})"},
      {"%{+n/3}/%{+n/1}-%{+n/2}", "c/a-b", R"({"n":"a-b c"})"},
      {"%{a->} %{+a} %{b}", "x   y z", R"({"a":"x y","b":"z"})"},
      {"%{a}|%{+a}", "1|2", R"({"a":"1|2"})"},
      // Values that are no text.
      {"%{a} %{b} %{c} %{d}", "true null -1.5e3 007", R"({"a":true,"b":null,"c":-1.5e3,"d":"007"})"},
      {"100%%{a}%", "100%5%", R"({"a":5})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.pattern);
    CAPTURE(row.line);
    CHECK(dissected(row.pattern, row.line) == row.fields);
  }
}

TEST_CASE("dissect: a pattern that is none is told with its place") {
  CHECK(problem_of("") == "0+1 the pattern is empty");
  CHECK(problem_of("no field") == "0+8 there is no field");
  CHECK(problem_of("%{a} %{b") == "5+2 the field is not closed");
  CHECK(problem_of("%{a}%{b}") == "4+4 no text stands between this field and the one before it");
  CHECK(problem_of("%{a} %{a}") == "5+4 the field is there twice");
  CHECK(problem_of("%{+a} %{a}") == "6+4 the field is there twice");
  CHECK(problem_of("%{a} %{+}") == "5+4 the field has no name");
  CHECK(problem_of("%{a} %{+a/0}") == "5+7 expected a number from 1 to 999 behind the slash");
  CHECK(problem_of("%{a} %{+a/x}") == "5+7 expected a number from 1 to 999 behind the slash");
  CHECK(problem_of("%{*k} %{&k}") == "0+5 fields that are named by other fields are not supported");
  std::string many;
  for (int i = 0; i <= 128; ++i) many += "%{f" + std::to_string(i) + "} ";
  CHECK(problem_of(many).ends_with("more than 128 fields"));
  CHECK(problem_of(std::string(4097, 'x')) == "4096+1 longer than 4096 bytes");
}

TEST_CASE("dissect: finds what a naive reading of the definition finds") {
  std::mt19937_64 random(7);
  const std::string alphabet = "ab-,";
  const auto text = [&](std::size_t most) {
    std::string made;
    for (std::size_t i = random() % (most + 1); i > 0; --i) made += alphabet[random() % alphabet.size()];
    return made;
  };
  std::size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> delimiters;
    std::string pattern;
    for (std::size_t i = 0, fields = 1 + random() % 4; i < fields; ++i) {
      std::string delimiter = text(3);
      if (i + 1 != fields && delimiter.empty()) delimiter = ",";
      pattern += "%{f" + std::to_string(i) + "}" + delimiter;
      delimiters.push_back(delimiter);
    }
    std::string line = text(20);
    if (random() % 2 == 0) {
      line.clear();
      for (const std::string& delimiter : delimiters) line += text(20) + delimiter;
    }
    CAPTURE(pattern);
    CAPTURE(line);
    const std::string expected = naive(delimiters, line);
    accepted += expected == kRefused ? 0 : 1;
    REQUIRE(dissected(pattern, line) == expected);
  }
  CHECK(accepted > 5000);
}
