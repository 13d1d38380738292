#include "sources/line_rule.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace logpipe;

namespace {

MultilineOptions preset(MultilinePreset value) {
  MultilineOptions options;
  options.preset = value;
  return options;
}

MultilineOptions patterns(std::string_view start, std::string_view continuation) {
  MultilineOptions options;
  if (!start.empty()) options.start.pattern = Pattern::parse(start);
  if (!continuation.empty()) options.continuation.pattern = Pattern::parse(continuation);
  return options;
}

/// How many lines each event of the text has.
std::vector<int> events_of(const MultilineOptions& options, std::string_view text) {
  const auto rule = make_line_rule(options);
  REQUIRE(rule);
  std::vector<int> events;
  std::uint8_t phase = 0;
  bool open = false;
  while (!text.empty()) {
    const std::size_t feed = text.find('\n');
    const LinePart part = rule->part_of(text.substr(0, feed), phase);
    if (part == LinePart::continues && open) {
      ++events.back();
    } else {
      events.push_back(1);
    }
    open = part != LinePart::alone;
    text.remove_prefix(feed == std::string_view::npos ? text.size() : feed + 1);
  }
  return events;
}

using Sizes = std::vector<int>;

}  // namespace

TEST_CASE("line rule: with a start, everything up to the next start is one event") {
  CHECK(events_of(patterns("^\\d{4}-", ""), "lost\nmore\n2026-a\n  b\nc\n2026-d\n2026-e\n") == Sizes{2, 3, 1, 1});
}

TEST_CASE("line rule: with a continuation, what does not match begins an event") {
  CHECK(events_of(patterns("", "^\\s"), " lost\na\n b\n\tc\nd\n\n e\n") == Sizes{1, 3, 1, 2});
}

TEST_CASE("line rule: with both, only an event that began with a start is continued, and other lines are alone") {
  CHECK(events_of(patterns("^ERROR", "^\\s"), "info\n indented\nERROR x\n  at a\n  at b\ninfo\n  not of it\nERROR\n") ==
        Sizes{1, 1, 3, 1, 1, 1});
}

TEST_CASE("line rule: a stack trace of the JVM is one event with the line that logged it") {
  CHECK(events_of(preset(MultilinePreset::java), R"(2026-01-01 INFO  App - started
2026-01-01 ERROR App - request failed
java.lang.IllegalStateException: no connection
	at com.example.Pool.get(Pool.java:42)
	at com.example.App.main(App.java:7) ~[app.jar:1.0]
	Suppressed: java.io.IOException: close
		at com.example.Pool.close(Pool.java:50)
Caused by: java.net.ConnectException: refused
	at java.base/sun.nio.ch.Net.connect(Net.java)
	... 12 common frames omitted
2026-01-01 INFO  App - going on
2026-01-01 ERROR App - without a message
com.example.Broken$InnerException
	at com.example.Broken.run(Broken.java:1)
Exception in thread "main" java.lang.Error: x
	at com.example.App.main(App.java:9)
java.util.concurrent.ExecutionException is mentioned here
2026-01-01 INFO  App - end
)") == Sizes{1, 9, 1, 3, 2, 1, 1});
}

TEST_CASE("line rule: a traceback, chained ones too, is one event with the line that logged it") {
  CHECK(events_of(preset(MultilinePreset::python), R"(INFO:root:started
ERROR:root:request failed
Traceback (most recent call last):
  File "app.py", line 3, in handle
    connect()
    ~~~~~~~^^
  File "app.py", line 9, in connect
    raise OSError("refused")
OSError: refused

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "app.py", line 5, in handle
    raise RuntimeError("failed")
RuntimeError: failed
INFO:root:going on
INFO:root:end
)") == Sizes{1, 15, 1, 1});
}

TEST_CASE("line rule: what follows a traceback behind an empty line begins an event") {
  CHECK(events_of(preset(MultilinePreset::python),
                  "e\nTraceback (most recent call last):\n  f\nX: y\n\nINFO a\nINFO b\n") == Sizes{5, 1, 1});
}

TEST_CASE("line rule: a panic with all its goroutines is one event") {
  CHECK(events_of(preset(MultilinePreset::go), R"(2026/01/01 started
panic: runtime error: invalid memory address or nil pointer dereference
	panic: again [recovered]
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]

goroutine 1 [running]:
main.(*Server).handle(0x0, {0x1, 0x2})
	/app/main.go:12 +0x1d
main.main()
	/app/main.go:5 +0x20

goroutine 17 [chan receive, 2 minutes]:
created by main.main in goroutine 1
	/app/main.go:4 +0x33
exit status 2
2026/01/01 http: panic serving 10.0.0.1: boom
goroutine 7 [running]:
net/http.(*conn).serve.func1()
	/usr/lib/go/src/net/http/server.go:1850 +0xbf
2026/01/01 end (of it)
)") == Sizes{1, 13, 1, 4, 1});
}

TEST_CASE("line rule: the registers of a fatal signal belong to it") {
  CHECK(events_of(preset(MultilinePreset::go), R"(SIGQUIT: quit
PC=0x46b2a1 m=0 sigcode=0

goroutine 0 [idle]:
runtime.futex()
	/usr/lib/go/src/runtime/sys_linux_amd64.s:557 +0x21

rax    0xca
rip    0x46b2a1
next
)") == Sizes{9, 1});
}

TEST_CASE("line rule: a CRI line has a stream, a tag and a text") {
  const auto piece = read_cri_line("2026-01-01T00:00:00.000000001Z stdout P one two");
  REQUIRE(piece);
  CHECK(piece->stream == "stdout");
  CHECK(piece->head == "2026-01-01T00:00:00.000000001Z stdout P ");
  CHECK(piece->head[piece->tag] == 'P');
  CHECK(piece->text == "one two");
  CHECK(piece->partial);
  CHECK_FALSE(read_cri_line("2026-01-01T00:00:00Z stderr F x")->partial);
  CHECK(read_cri_line("2026-01-01T00:00:00Z stderr F")->text.empty());
  CHECK(read_cri_line("2026-01-01T00:00:00Z stderr P:tag x")->partial);
  CHECK(read_cri_line("2026-01-01T00:00:00Z stderr F ")->text.empty());
  for (const char* line : {"", "x", "a b c", "2026 stdin F x", "2026 stdout", "2026 stdout ", "2026 stdout X y",
                           "2026 stdout Pfui", " stdout P x", "time stdout P x", "2026 stdoutP x"}) {
    CAPTURE(line);
    CHECK_FALSE(read_cri_line(line));
  }
}

TEST_CASE("line rule: a line of the json-file driver is a piece when its text has no line feed at the end") {
  const auto piece = read_docker_line(R"({"log":"one \"two\"","stream":"stderr","time":"2026"})");
  REQUIRE(piece);
  CHECK(piece->stream == "stderr");
  CHECK(piece->text == R"(one \"two\")");
  CHECK(piece->tail == R"(","stream":"stderr","time":"2026"})");
  CHECK(piece->partial);
  CHECK_FALSE(read_docker_line(R"({"log":"one\n","stream":"stdout","time":"2026"})")->partial);
  CHECK(read_docker_line(R"({"log":"one\\n","stream":"stdout","time":"2026"})")->partial);
  CHECK_FALSE(read_docker_line(R"({"log":"one\\\n","stream":"stdout","time":"2026"})")->partial);
  CHECK(read_docker_line(R"({"log":"n","stream":"stdout","time":"2026"})")->partial);
  CHECK(read_docker_line(R"({"log":"","stream":"stdout","time":"2026"})")->partial);
  CHECK(read_docker_line(R"({"log":"a\",\"stream\":\"x","stream":"stdout","time":"2026"})")->stream == "stdout");
  for (const char* line : {"", "{}", R"({"log":1})", R"({"stream":"stdout","log":"x"})", R"({"log":"x","stream":")"}) {
    CAPTURE(line);
    CHECK_FALSE(read_docker_line(line));
  }
}
