#include "event/level_text.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "event/level_detect.hpp"

using namespace logpipe;

namespace {

struct Line {
  std::string_view text;
  Level level;
};

void check_all(std::initializer_list<Line> lines) {
  for (const Line& line : lines) {
    CAPTURE(line.text);
    CHECK(level_name(level_of_text(line.text)) == level_name(line.level));
  }
}

}  // namespace

TEST_CASE("level of text: a syslog PRI at the beginning decides") {
  check_all({
      {"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8", Level::critical},
      {"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time", Level::notice},
      {"<0>kernel panic", Level::fatal},
      {"<191>x ERROR y", Level::debug},
      {"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!", Level::notice},
      {"<192>Oct 11 22:14:15 host app: no such priority", Level::unknown},
      {"<1234>too long", Level::unknown},
      {"<>empty", Level::unknown},
      {"<3", Level::unknown},
      {"<info>  [1700000000.1234] device (eth0): state change", Level::info},
      {"<warn>  [1700000000.1234] dns: failed", Level::warn},
  });
}

TEST_CASE("level of text: a JSON line nobody parsed is read at its top level only") {
  check_all({
      {R"({"level":"warn","msg":"x"})", Level::warn},
      {R"({"time":"2026-11-21T13:00:00Z","level":"ERROR","msg":"boom"})", Level::error},
      {R"({"level":30,"time":1531171074631,"msg":"hello world","pid":657,"hostname":"h"})", Level::info},
      {R"({ "msg" : "x" , "severity" : "CRITICAL" })", Level::critical},
      {R"({"msg":"level","x":"error"})", Level::unknown},
      {R"({"msg":"\"level\":\"error\"","lvl":"dbug"})", Level::debug},
      {R"({"inner":{"level":"fatal"},"msg":"x"})", Level::unknown},
      {R"({"inner":{"level":"fatal","a":[{"level":"fatal"}]},"level":"info"})", Level::info},
      {R"({"list":["level","fatal",{"level":"fatal"}],"level":"debug"})", Level::debug},
      {R"({"text":"a } ] \\","level":"notice"})", Level::notice},
      {R"({"text":"ends in a backslash\\\\","level":"notice"})", Level::notice},
      {R"({"le\u0076el":"alert"})", Level::alert},
      {R"({"le\vvel":"alert"})", Level::unknown},
      {R"({"lvl":"info","level":"error"})", Level::error},
      {R"({"level":null,"severity":"warning"})", Level::warn},
      {R"({"level":"gold","severity":"warning"})", Level::warn},
      {R"({"level":"warn","level":"error"})", Level::warn},
      {R"({"log.level":"warn","message":"ecs"})", Level::warn},
      {R"({"levelname":"WARNING","name":"root"})", Level::warn},
      {R"({"severity_text":"INFO","severity_number":9})", Level::info},
      {R"({"PRIORITY":"3","MESSAGE":"journald"})", Level::error},
      {R"({"priority":3,"job":"queued"})", Level::unknown},
      {R"({"level":"35"})", Level::unknown},
      {R"({"level":true})", Level::unknown},
      {R"({"level":{"name":"error"}})", Level::unknown},
      {R"({"level":INFO})", Level::info},
      {R"({"level":"warn","torn":"rest is miss)", Level::warn},
      {R"({"torn":"rest is miss)", Level::unknown},
      {R"({"a":[1,2,{"b":)", Level::unknown},
      {R"({})", Level::unknown},
      {R"({)", Level::unknown},
      {R"(  {"level":"warn"})", Level::warn},
      {R"({main} ERROR: not JSON)", Level::error},
  });
}

TEST_CASE("level of text: logfmt pairs count outside quotes") {
  check_all({
      {"time=\"2026-11-21T13:00:00Z\" level=warning msg=\"disk is nearly full\" disk=/dev/sda1", Level::warn},
      {"level=error ts=2026-11-21T13:00:00.123Z caller=main.go:12 msg=boom", Level::error},
      {"ts=2026-11-21T13:00:00Z lvl=dbug msg=\"level=error\"", Level::debug},
      {"msg=\"level=error\" code=5", Level::unknown},
      {"msg=\"a \\\" level=error\" severity=\"info\"", Level::info},
      {"at=info method=GET path=/ host=example.org status=200", Level::unknown},
      {"STATE=ERROR unit=x", Level::unknown},
      {"url=/x?level=error ok", Level::unknown},
      {"sublevel=error x=y", Level::unknown},
      {"sub.level=error x=y", Level::unknown},
      {"time=13:00 PRIORITY=4 msg=x", Level::warn},
      {"2026-11-21 13:00:00 app[1]: level=crit msg=x", Level::critical},
      {"level= msg=x", Level::unknown},
  });
}

TEST_CASE("level of text: the usual layouts of loggers") {
  check_all({
      {"2026-11-21 13:00:00,123 [main] INFO  com.example.App - started", Level::info},                 // log4j
      {"2026-11-21T13:00:00.123+01:00  WARN 4711 --- [nio-8080-exec-1] c.e.Web : slow", Level::warn},  // Spring Boot
      {"ERROR:root:something broke", Level::error},                                                    // Python
      {"2026-11-21 13:00:00,123 - my.module - DEBUG - details", Level::debug},
      {"WARNING: Running pip as root", Level::warn},
      {"2026/11/21 13:00:00 [error] 4711#0: *1 open() failed", Level::error},  // nginx
      {"2026/11/21 13:00:00 [crit] 4711#0: *1 connect() failed", Level::critical},
      {"[Sat Nov 21 13:00:00.123456 2026] [core:error] [pid 1:tid 2] AH00124: x", Level::error},  // Apache 2.4
      {"[Sat Nov 21 13:00:00.123456 2026] [:warn] [pid 1] x", Level::warn},
      {"[Sat Nov 21 13:00:00 2026] [notice] Apache configured", Level::notice},
      {"2026-11-21 13:00:00.123 UTC [4711] ERROR:  relation \"x\" does not exist", Level::error},  // PostgreSQL
      {"2026-11-21 13:00:00.123 UTC [4711] user@db FATAL:  terminating connection", Level::fatal},
      {"2026-11-21T13:00:00.123456Z 0 [Warning] [MY-010068] [Server] CA certificate", Level::warn},  // MySQL
      {"4711:M 21 Nov 2026 13:00:00.123 # Warning: 32 bit instance detected", Level::warn},          // Redis
      {"[2026-11-21 13:00:00,123] INFO [KafkaServer id=0] started (kafka.server.KafkaServer)", Level::info},
      {"[2026-11-21 13:00:00 +0000] [12] [INFO] Listening at: http://0.0.0.0:8000", Level::info},  // gunicorn
      {"INFO:     127.0.0.1:51234 - \"GET / HTTP/1.1\" 200 OK", Level::info},                      // uvicorn
      {"[2026-11-21 13:00:00,123: WARNING/MainProcess] task slow", Level::warn},                   // Celery
      {"E, [2026-11-21T13:00:00.123456 #4711] ERROR -- : boom", Level::error},                     // Ruby
      {"[2026-11-21T13:00:00Z WARN  app::db] slow", Level::warn},                                  // env_logger
      {"2026-11-21T13:00:00.123456Z ERROR app::db: pool exhausted", Level::error},                 // tracing
      {"2026-11-21T13:00:00.123Z\tinfo\tmain.go:10\tstarted", Level::info},                        // zap
      {"2026-11-21T13:00:00.123Z\tWARN\tmain.go:10\tslow", Level::warn},
      {"[2026-11-21 13:00:00.123][1][warning][main] [source/server.cc:1] x", Level::warn},  // Envoy
      {"[WARNING]  (4711) : config : missing timeouts", Level::warn},                       // HAProxy
      {"[ALERT] 324/130000 (1) : Starting frontend", Level::alert},
      {"13:00:00.123 [error] GenServer terminating", Level::error},  // Elixir
      {"info: Microsoft.Hosting.Lifetime[0]", Level::info},          // .NET
      {"fail: Microsoft.AspNetCore.Server.Kestrel[13]", Level::error},
      {"warn: Microsoft.AspNetCore[1]", Level::warn},
      {"SEVERE: Servlet.service() for servlet threw exception", Level::error},  // java.util.logging
      {"FINE: details", Level::debug},
      {"W1121 13:00:00.123456    4711 reflector.go:1] watch closed", Level::warn},  // glog, klog
      {"E1121 13:00:00.123456    4711 main.go:1] boom", Level::error},
      {"D/ActivityManager( 123): start", Level::debug},                          // Android
      {"2026-11-21 13:00:00.123 | WARNING  | app:main:10 - slow", Level::warn},  // loguru
      {"|WARN| pipes", Level::warn},
      {"[I 13:00:00.123 NotebookApp] Serving notebooks", Level::info},  // Jupyter
      {"[E] short", Level::error},
      {"[ warn ] blanks inside", Level::warn},
      {"[13:00:00 warn] time first", Level::warn},
      {"[WARN] x", Level::warn},
      {"(WARN) x", Level::warn},
      {"ERROR", Level::error},
      {"ERROR: x", Level::error},
      {"panic: runtime error: index out of range", Level::fatal},  // Go
      {"Nov 21 13:00:00 host sshd[1]: error: PAM: Authentication failure", Level::error},
      {"main.c:12:3: warning: unused variable", Level::warn},
      {"\x1b[32mINFO\x1b[0m[0000] started", Level::info},  // logrus on a terminal
      {"\x1b[2m2026-11-21T13:00:00Z\x1b[0m \x1b[33m WARN\x1b[0m slow", Level::warn},
      {"\x1b[1m[\x1b[31merror\x1b[0m]\x1b[0m x", Level::error},
      {"13:00PM \x1b[31mERR\x1b[0m boom", Level::error},  // zerolog's console
      {"[13:00:00 INF] Serilog", Level::info},
      {"[13:00:00 FTL] Serilog", Level::fatal},
  });
}

TEST_CASE("level of text: words of a sentence are no levels") {
  check_all({
      {"", Level::unknown},
      {" ", Level::unknown},
      {"no error found", Level::unknown},
      {"everything fine, no warning issued", Level::unknown},
      {"the parser found an ERROR in the middle", Level::unknown},
      {"request failed with error", Level::unknown},
      {"Information about the debug build", Level::unknown},
      {"std::error::Error raised", Level::unknown},
      {"error::Kind", Level::unknown},
      {"GET /ERROR/index.html", Level::unknown},
      {"127.0.0.1 - - [21/Nov/2026:13:00:00 +0000] \"TRACE /debug HTTP/1.1\" 200 5", Level::unknown},
      {"say \"ERROR: not really\" again", Level::unknown},
      {"ERROR_CODE is 5", Level::unknown},
      {"MYERROR x", Level::unknown},
      {"ERRORS: 0", Level::unknown},
      {"[error in module] x", Level::unknown},
      {"Config: loaded from disk", Level::unknown},
      {"fine: thank you", Level::unknown},
      {"E short", Level::unknown},
      {"D/x", Level::unknown},
      {"[N] no such letter", Level::unknown},
      {"=======", Level::unknown},
      {"-----BEGIN CERTIFICATE-----", Level::unknown},
      {"\x1b", Level::unknown},
      {"\x1b[", Level::unknown},
      {"\"unclosed ERROR", Level::error},
  });
}

TEST_CASE("level of text: only the beginning of a long line is searched for words") {
  const std::string filler(300, '.');
  CHECK(level_of_text(filler + " ERROR") == Level::unknown);
  CHECK(level_of_text(filler + " level=error") == Level::unknown);
  CHECK(level_of_text(std::string(200, '.') + " ERROR") == Level::error);
  // A word that begins inside the window is read to its end.
  CHECK(level_of_text(std::string(254, '.') + " ERROR") == Level::error);
  CHECK(level_of_text(std::string(254, '.') + " ERRORS") == Level::unknown);
}

TEST_CASE("level of text: a key of one's own is looked for in JSON and logfmt only") {
  CHECK(level_of_key(R"({"level":"error","sev":"info"})", "sev") == Level::info);
  CHECK(level_of_key(R"({"level":"error"})", "sev") == Level::unknown);
  CHECK(level_of_key("level=error sev=info", "sev") == Level::info);
  CHECK(level_of_key("ERROR: sev", "sev") == Level::unknown);
  CHECK(level_of_key(std::string(300, '.') + " sev=warn", "sev") == Level::warn);
}

TEST_CASE("level of text: any bytes are read within their bounds") {
  // Each text has an allocation of exactly its own size, so that the address sanitizer sees one byte too many.
  const std::string_view pieces[] = {
      "level",  "\"",   "{",     "}",  "[", "]", ":",  "=",       "\\",  " ",
      "\x1b[3", "m",    "ERROR", "<1", ">", ",", "\t", "E1121 1", "W/a", std::string_view("\0", 1),
      "\xff",   "\\u0", "warn"};
  std::mt19937 random(20260721);
  for (int round = 0; round < 60000; ++round) {
    std::string text;
    const std::size_t count = random() % 12;
    for (std::size_t i = 0; i < count; ++i) text += pieces[random() % std::size(pieces)];
    if (round % 3 == 0) text.insert(0, "{\"");
    const std::unique_ptr<char[]> exact(new char[text.size()]);
    if (!text.empty()) std::memcpy(exact.get(), text.data(), text.size());
    const std::string_view view(exact.get(), text.size());
    const Level level = level_of_text(view);
    CHECK_MESSAGE((level == Level::unknown || level_from_name(level_name(level)) == level), text);
    (void)level_of_key(view, "level");
  }
}
