#include "event/clf.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "tests/event/scanned.hpp"

using namespace logpipe;
using test::kRefused;

TEST_CASE("clf: lines of access logs, as servers write them") {
  struct Row {
    std::string_view line;
    std::string_view fields;
  };
  const Row rows[] = {
      // Apache's own example of the common format, then of the combined one.
      {R"~(127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326)~",
       R"~({"client":"127.0.0.1","user":"frank","time":"10/Oct/2000:13:55:36 -0700","method":"GET","path":"/apache_pb.gif","protocol":"HTTP/1.0","status":200,"bytes":2326})~"},
      {R"~(127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)")~",
       R"~({"client":"127.0.0.1","user":"frank","time":"10/Oct/2000:13:55:36 -0700","method":"GET","path":"/apache_pb.gif","protocol":"HTTP/1.0","status":200,"bytes":2326,"referer":"http://www.example.com/start.html","agent":"Mozilla/4.08 [en] (Win98; I ;Nav)"})~"},
      {R"~(::1 ident - [01/Jan/2026:00:00:00 +0000] "HEAD / HTTP/2.0" 304 - "-" "-")~",
       R"~({"client":"::1","ident":"ident","time":"01/Jan/2026:00:00:00 +0000","method":"HEAD","path":"/","protocol":"HTTP/2.0","status":304})~"},
      {R"~(web-1.example - - [t] "POST /a b HTTP/1.1" 201 0 "" "curl/8.0")~",
       R"~({"client":"web-1.example","time":"t","method":"POST","path":"/a b","protocol":"HTTP/1.1","status":201,"bytes":0,"referer":"","agent":"curl/8.0"})~"},
      // A user's name with a blank.
      {R"~(h - Ada Lovelace [t] "GET / HTTP/1.1" 200 1)~",
       R"~({"client":"h","user":"Ada Lovelace","time":"t","method":"GET","path":"/","protocol":"HTTP/1.1","status":200,"bytes":1})~"},
      // What is no request stays whole.
      {R"~(h - - [t] "\x16\x03\x01" 400 226)~", "{\"client\":\"h\",\"time\":\"t\",\"request\":\"\\u0016\\u0003\\u0001\",\"status\":400,\"bytes\":226}"},
      {R"~(h - - [t] "-" 408 -)~", R"~({"client":"h","time":"t","status":408})~"},
      {R"~(h - - [t] "" 400 0)~", R"~({"client":"h","time":"t","request":"","status":400,"bytes":0})~"},
      {R"~(h - - [t] "GET /" 400 0)~", R"~({"client":"h","time":"t","request":"GET /","status":400,"bytes":0})~"},
      {R"~(h - - [t] "GET HTTP/1.1" 400 0)~", R"~({"client":"h","time":"t","request":"GET HTTP/1.1","status":400,"bytes":0})~"},
      {R"~(h - - [t] "hello world HTTP/1.1" 400 0)~", R"~({"client":"h","time":"t","request":"hello world HTTP/1.1","status":400,"bytes":0})~"},
      // Escapes: Apache's, then nginx's.
      {R"~(h - - [t] "GET /\"x\"\\ HTTP/1.1" 404 9 "-" "a \"quoted\" agent\t")~",
       "{\"client\":\"h\",\"time\":\"t\",\"method\":\"GET\",\"path\":\"/\\\"x\\\"\\\\\",\"protocol\":\"HTTP/1.1\",\"status\":404,\"bytes\":9,\"agent\":\"a \\\"quoted\\\" agent\\t\"}"},
      {R"~(h - - [t] "GET /\x22\xC3\xA9 HTTP/1.1" 404 9)~",
       "{\"client\":\"h\",\"time\":\"t\",\"method\":\"GET\",\"path\":\"/\\\"é\",\"protocol\":\"HTTP/1.1\",\"status\":404,\"bytes\":9}"},
      {R"~(h - - [t] "GET /\xZZ HTTP/1.1" 404 9)~",
       R"~({"client":"h","time":"t","method":"GET","path":"/\\xZZ","protocol":"HTTP/1.1","status":404,"bytes":9})~"},
      // More than the combined format has.
      {R"~(h - - [t] "GET / HTTP/1.1" 200 5 "-" "x" "10.1.1.1" 0.005)~",
       R"~({"client":"h","time":"t","method":"GET","path":"/","protocol":"HTTP/1.1","status":200,"bytes":5,"agent":"x","rest":"\"10.1.1.1\" 0.005"})~"},
      {R"~(h - - [t] "GET / HTTP/1.1" 200 5 1234)~",
       R"~({"client":"h","time":"t","method":"GET","path":"/","protocol":"HTTP/1.1","status":200,"bytes":5,"rest":"1234"})~"},
      {R"~(h - - [t] "GET / HTTP/1.1" 200)~",
       R"~({"client":"h","time":"t","method":"GET","path":"/","protocol":"HTTP/1.1","status":200})~"},
      // Something else.
      {"", kRefused},
      {"h", kRefused},
      {"h - -", kRefused},
      {R"~(h - - [t "GET / HTTP/1.1" 200 5)~", kRefused},
      {R"~(h - - [] "GET / HTTP/1.1" 200 5)~", kRefused},
      {R"~(h - - [t] "GET / HTTP/1.1 200 5)~", kRefused},
      {R"~(h - - [t] "GET / HTTP/1.1\)~", kRefused},
      {R"~(h - - [t] "GET / HTTP/1.1"200 5)~", kRefused},
      {R"~(h - - [t] "GET / HTTP/1.1" 2000 5)~", kRefused},
      {R"~(h - - [t] "GET / HTTP/1.1" 200 five)~", kRefused},
      {R"~(h - - [t] "GET / HTTP/1.1" 200 5 "open)~", kRefused},
      {R"~({"level":"info","msg":"[x] "})~", kRefused},
      {"Nov 21 13:00:02 host app[4711]: something else", kRefused},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    CHECK(test::scanned(row.line, scan_clf) == row.fields);
  }
}

TEST_CASE("clf: what was written comes back") {
  std::mt19937_64 random(3);
  const auto text = [&](std::string_view alphabet, std::size_t least, std::size_t most) {
    std::string made;
    for (std::size_t i = least + random() % (most - least + 1); i > 0; --i)
      made += alphabet[random() % alphabet.size()];
    return made;
  };
  const auto escaped = [](const std::string& plain) {
    std::string out;
    for (const char c : plain) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  };
  for (int round = 0; round < 5000; ++round) {
    const std::string client = text("abc.:0123456789", 1, 40);
    const std::string path = "/" + text("abc/?&=\"\\ []", 0, 60);
    const std::string agent = "M" + text("abc/ ()\"\\;[]", 0, 80);
    const std::string status = std::to_string(100 + random() % 500);
    const std::string bytes = std::to_string(random());
    const std::string line = client + " - - [10/Oct/2000:13:55:36 -0700] \"GET " + escaped(path) + " HTTP/1.1\" " +
                             status + " " + bytes.substr(0, 19) + " \"-\" \"" + escaped(agent) + "\"";
    CAPTURE(line);
    REQUIRE(test::scanned(line, scan_clf) ==
            "{\"client\":" + json_string(client) +
                ",\"time\":\"10/Oct/2000:13:55:36 -0700\",\"method\":\"GET\",\"path\":" + json_string(path) +
                ",\"protocol\":\"HTTP/1.1\",\"status\":" + status + ",\"bytes\":" + bytes.substr(0, 19) +
                ",\"agent\":" + json_string(agent) + "}");
  }
}
