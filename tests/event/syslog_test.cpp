#include "event/syslog.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/event/scanned.hpp"

using namespace logpipe;
using test::kRefused;

namespace {

struct Row {
  std::string_view line;
  std::string_view fields;
};

}  // namespace

TEST_CASE("syslog: RFC 5424, its examples and its edges") {
  const Row rows[] = {
      // Section 6.5.
      {"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xEF\xBB\xBF'su root' failed for lonvick on "
       "/dev/pts/8",
       R"~({"facility":"auth","severity":"crit","time":"2003-10-11T22:14:15.003Z","host":"mymachine.example.com","app":"su","msgid":"ID47","message":"'su root' failed for lonvick on /dev/pts/8"})~"},
      {"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
       R"~({"facility":"local4","severity":"notice","time":"2003-08-24T05:14:15.000003-07:00","host":"192.0.2.1","app":"myproc","pid":8710,"message":"%% It's time to make the do-nuts."})~"},
      {R"~(<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] An application event log entry...)~",
       R"~({"facility":"local4","severity":"notice","time":"2003-10-11T22:14:15.003Z","host":"mymachine.example.com","app":"evntslog","msgid":"ID47","sd":{"exampleSDID@32473":{"iut":"3","eventSource":"Application","eventID":"1011"}},"message":"An application event log entry..."})~"},
      {R"~(<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3"][examplePriority@32473 class="high"])~",
       R"~({"facility":"local4","severity":"notice","time":"2003-10-11T22:14:15.003Z","host":"mymachine.example.com","app":"evntslog","msgid":"ID47","sd":{"exampleSDID@32473":{"iut":"3"},"examplePriority@32473":{"class":"high"}}})~"},
      {"<0>1 - - - - - -", R"~({"facility":"kern","severity":"emerg"})~"},
      {"<191>1 - - - - - - ", R"~({"facility":"local7","severity":"debug","message":""})~"},
      // Escapes, elements without parameters, parameters of one name.
      {R"~(<14>1 - h a p-1 m [x k="a\"b\\c\]d\e"] t)~",
       R"~({"facility":"user","severity":"info","host":"h","app":"a","pid":"p-1","msgid":"m","sd":{"x":{"k":"a\"b\\c]d\\e"}},"message":"t"})~"},
      {R"~(<14>1 - - - - - [x][y ip="1" port="2" ip="3" ip="4"])~",
       R"~({"facility":"user","severity":"info","sd":{"x":{},"y":{"ip":["1","3","4"],"port":"2"}}})~"},
      {R"~(<14>1 - - - - - [x k=""] a [b] c)~",
       R"~({"facility":"user","severity":"info","sd":{"x":{"k":""}},"message":"a [b] c"})~"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    CHECK(test::scanned(row.line, scan_syslog) == row.fields);
  }
}

TEST_CASE("syslog: RFC 3164 and what is written in its place") {
  const Row rows[] = {
      // Section 5.4.
      {"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
       R"~({"facility":"auth","severity":"crit","time":"Oct 11 22:14:15","host":"mymachine","app":"su","message":"'su root' failed for lonvick on /dev/pts/8"})~"},
      {"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
       R"~({"facility":"user","severity":"notice","time":"Feb  5 17:32:18","host":"10.0.0.99","message":"Use the BFG!"})~"},
      {"Use the BFG!", kRefused},
      {"<13>Use the BFG!", R"~({"facility":"user","severity":"notice","message":"Use the BFG!"})~"},
      // Files: no PRI.
      {"Nov 21 13:00:02 host app[4711]: something else",
       R"~({"time":"Nov 21 13:00:02","host":"host","app":"app","pid":4711,"message":"something else"})~"},
      {"Nov 21 13:00:02 mx postfix/smtpd[12]: connect from unknown[1.2.3.4]",
       R"~({"time":"Nov 21 13:00:02","host":"mx","app":"postfix/smtpd","pid":12,"message":"connect from unknown[1.2.3.4]"})~"},
      {"Nov  1 13:00:02 host kernel: [    0.000000] Linux version",
       R"~({"time":"Nov  1 13:00:02","host":"host","app":"kernel","message":"[    0.000000] Linux version"})~"},
      {"Nov 1 13:00:02 host (systemd)[1]: x",
       R"~({"time":"Nov 1 13:00:02","host":"host","app":"(systemd)","pid":1,"message":"x"})~"},
      {"Nov 21 13:00:02 host last message repeated 3 times",
       R"~({"time":"Nov 21 13:00:02","host":"host","message":"last message repeated 3 times"})~"},
      {"Nov 21 13:00:02 fe80::1 app: x", R"~({"time":"Nov 21 13:00:02","host":"fe80::1","app":"app","message":"x"})~"},
      {"Nov 21 13:00:02 host ns::app: x",
       R"~({"time":"Nov 21 13:00:02","host":"host","app":"ns::app","message":"x"})~"},
      {"Nov 21 13:00:02 host GET http://x/ done",
       R"~({"time":"Nov 21 13:00:02","host":"host","message":"GET http://x/ done"})~"},
      {"Nov 21 13:00:02 host app:", R"~({"time":"Nov 21 13:00:02","host":"host","app":"app","message":""})~"},
      // No host; times of other spellings.
      {"<30>Nov 21 13:00:02 dhcpd[7]: x",
       R"~({"facility":"daemon","severity":"info","time":"Nov 21 13:00:02","app":"dhcpd","pid":7,"message":"x"})~"},
      {"2026-11-21T13:00:02.123456+01:00 host app[1]: x",
       R"~({"time":"2026-11-21T13:00:02.123456+01:00","host":"host","app":"app","pid":1,"message":"x"})~"},
      {"<30>2026-11-21T13:00:02Z host app: x",
       R"~({"facility":"daemon","severity":"info","time":"2026-11-21T13:00:02Z","host":"host","app":"app","message":"x"})~"},
      {"2026-11-21 13:00:02 host app: x",
       R"~({"time":"2026-11-21 13:00:02","host":"host","app":"app","message":"x"})~"},
      {"<30>Nov 21 13:00:02.123 host app: x",
       R"~({"facility":"daemon","severity":"info","time":"Nov 21 13:00:02.123","host":"host","app":"app","message":"x"})~"},
      {"<30>2026 Nov 21 13:00:02 host app: x",
       R"~({"facility":"daemon","severity":"info","time":"2026 Nov 21 13:00:02","host":"host","app":"app","message":"x"})~"},
      // Cisco.
      {"<189>29: *Mar  1 18:48:50.483 UTC: %SYS-5-CONFIG_I: Configured from console by vty2 (10.34.195.36)",
       R"~({"facility":"local7","severity":"notice","sequence":"29","time":"Mar  1 18:48:50.483 UTC","msgid":"SYS-5-CONFIG_I","message":"Configured from console by vty2 (10.34.195.36)"})~"},
      {"<189>237: router1: *Mar  1 18:46:11: %SYS-5-CONFIG_I: x",
       R"~({"facility":"local7","severity":"notice","sequence":"237","time":"Mar  1 18:46:11","host":"router1","msgid":"SYS-5-CONFIG_I","message":"x"})~"},
      {"<166>Oct 11 2026 22:14:15: %ASA-6-302013: Built inbound",
       R"~({"facility":"local4","severity":"info","time":"Oct 11 2026 22:14:15","msgid":"ASA-6-302013","message":"Built inbound"})~"},
      {"<166>Oct 11 2026 22:14:15 fw1 : %ASA-6-302013: Built inbound",
       R"~({"facility":"local4","severity":"info","time":"Oct 11 2026 22:14:15","host":"fw1","msgid":"ASA-6-302013","message":"Built inbound"})~"},
      {"*Mar  1 18:46:11: %LINK-3-UPDOWN: x",
       R"~({"time":"Mar  1 18:46:11","severity":"err","msgid":"LINK-3-UPDOWN","message":"x"})~"},
      // Neither; a PRI that is none.
      {"", kRefused},
      {"<", kRefused},
      {"<34", kRefused},
      {"<192>Oct 11 22:14:15 h a: x", kRefused},
      {"<>x", kRefused},
      {"Okt 11 22:14:15 host app: x", kRefused},
      {"Oct 11 22:14 host app: x", kRefused},
      {"{\"time\":1}", kRefused},
      {"<34>", R"~({"facility":"auth","severity":"crit","message":""})~"},
      // What begins as RFC 5424 and is not is read as the older one, which demands less.
      {"<34>1 x", R"~({"facility":"auth","severity":"crit","message":"1 x"})~"},
      {"<14>1 - - - - - [x k=\"open", R"~({"facility":"user","severity":"info","message":"1 - - - - - [x k=\"open"})~"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    CHECK(test::scanned(row.line, scan_syslog) == row.fields);
  }
}

TEST_CASE("syslog: structured data comes back as it was written") {
  std::mt19937_64 random(5);
  const auto text = [&](std::string_view alphabet, std::size_t least, std::size_t most) {
    std::string made;
    for (std::size_t i = least + random() % (most - least + 1); i > 0; --i)
      made += alphabet[random() % alphabet.size()];
    return made;
  };
  for (int round = 0; round < 5000; ++round) {
    std::string written;
    std::string expected;
    for (std::size_t i = 0, elements = 1 + random() % 3; i < elements; ++i) {
      const std::string id = std::to_string(i) + text("abc@.", 0, 20);
      written += "[" + id;
      expected += (i == 0 ? "\"" : ",\"") + id + "\":{";
      for (std::size_t k = 0, parameters = random() % 4; k < parameters; ++k) {
        const std::string value = text("ab \\\"]=[\n\x01", 0, 30);
        std::string escaped;
        for (const char c : value) {
          if (c == '"' || c == '\\' || c == ']') escaped += '\\';
          escaped += c;
        }
        written += " k" + std::to_string(k) + "=\"" + escaped + "\"";
        expected += (k == 0 ? "\"k" : ",\"k") + std::to_string(k) + "\":" + json_string(value);
      }
      written += "]";
      expected += "}";
    }
    CAPTURE(written);
    REQUIRE(test::scanned("<14>1 - - - - - " + written, scan_syslog) ==
            "{\"facility\":\"user\",\"severity\":\"info\",\"sd\":{" + expected + "}}");
  }
}

TEST_CASE("syslog: structured data with two elements of one name is none, and neither are more than 256 of them") {
  const auto has_data = [](const std::string& data) {
    return test::scanned("<34>1 - - - - - " + data + " m", scan_syslog).find("\"sd\":") != std::string::npos;
  };
  CHECK(has_data("[a x=\"1\"][b y=\"2\"]"));
  CHECK_FALSE(has_data("[a x=\"1\"][a y=\"2\"]"));
  std::string many;
  for (int i = 0; i < 256; ++i) many += "[e" + std::to_string(i) + "]";
  CHECK(has_data(many));
  CHECK_FALSE(has_data(many + "[one]"));
}

TEST_CASE("syslog: structured data takes no more memory than its JSON") {
  Arena arena;
  std::vector<FieldRef> fields;
  REQUIRE(scan_syslog("<34>1 - - - - - [a x=\"1\" y=\"23456789\"] m", ScanOut{fields, arena}));
  CHECK(arena.used() <= 40);
}

TEST_CASE("syslog: names of severities and facilities") {
  CHECK(syslog_severity_name(0) == "emerg");
  CHECK(syslog_severity_name(7) == "debug");
  CHECK(syslog_severity_name(8).empty());
  CHECK(syslog_facility_name(0) == "kern");
  CHECK(syslog_facility_name(23) == "local7");
  CHECK(syslog_facility_name(24).empty());
}
