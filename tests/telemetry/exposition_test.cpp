#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <ctime>
#include <limits>
#include <string>
#include <vector>

#include "telemetry/metrics.hpp"
#include "telemetry/process.hpp"
#include "tests/telemetry/exposition_check.hpp"

using namespace logpipe;

namespace {

struct Filled {
  MetricsRegistry registry;
  Counter received{registry.counter({"logpipe_received_bytes_total", "Bytes \\ and\nlines \"read\"."},
                                    {{"source", "a\"b\\c\nd"}, {"kind", "file"}})};
  Gauge memory{registry.gauge({"logpipe_memory_used_bytes", "Memory."})};
  Histogram latency{
      registry.histogram({"logpipe_event_latency_seconds", "Latency."}, std::vector<double>{0.0001, 2.5})};

  Filled() {
    registry.info({"logpipe_app_info", "Build."}, {{"version", "0.1.0"}});
    received.add(1024);
    memory.set(2621440);
    latency.observe(0.5);
  }
};

}  // namespace

TEST_CASE("exposition: Prometheus text has the documented form") {
  const Filled filled;
  CHECK(filled.registry.expose(ExpositionFormat::prometheus) ==
        "# HELP logpipe_app_info Build.\n"
        "# TYPE logpipe_app_info gauge\n"
        "logpipe_app_info{version=\"0.1.0\"} 1\n"
        "# HELP logpipe_event_latency_seconds Latency.\n"
        "# TYPE logpipe_event_latency_seconds histogram\n"
        "logpipe_event_latency_seconds_bucket{le=\"0.0001\"} 0\n"
        "logpipe_event_latency_seconds_bucket{le=\"2.5\"} 1\n"
        "logpipe_event_latency_seconds_bucket{le=\"+Inf\"} 1\n"
        "logpipe_event_latency_seconds_sum 0.5\n"
        "logpipe_event_latency_seconds_count 1\n"
        "# HELP logpipe_memory_used_bytes Memory.\n"
        "# TYPE logpipe_memory_used_bytes gauge\n"
        "logpipe_memory_used_bytes 2621440\n"
        "# HELP logpipe_received_bytes_total Bytes \\\\ and\\nlines \"read\".\n"
        "# TYPE logpipe_received_bytes_total counter\n"
        "logpipe_received_bytes_total{kind=\"file\",source=\"a\\\"b\\\\c\\nd\"} 1024\n");
}

TEST_CASE("exposition: OpenMetrics has units, families without suffixes and an end") {
  const Filled filled;
  CHECK(filled.registry.expose(ExpositionFormat::openmetrics) ==
        "# HELP logpipe_app Build.\n"
        "# TYPE logpipe_app info\n"
        "logpipe_app_info{version=\"0.1.0\"} 1\n"
        "# HELP logpipe_event_latency_seconds Latency.\n"
        "# TYPE logpipe_event_latency_seconds histogram\n"
        "# UNIT logpipe_event_latency_seconds seconds\n"
        "logpipe_event_latency_seconds_bucket{le=\"0.0001\"} 0\n"
        "logpipe_event_latency_seconds_bucket{le=\"2.5\"} 1\n"
        "logpipe_event_latency_seconds_bucket{le=\"+Inf\"} 1\n"
        "logpipe_event_latency_seconds_sum 0.5\n"
        "logpipe_event_latency_seconds_count 1\n"
        "# HELP logpipe_memory_used_bytes Memory.\n"
        "# TYPE logpipe_memory_used_bytes gauge\n"
        "# UNIT logpipe_memory_used_bytes bytes\n"
        "logpipe_memory_used_bytes 2621440\n"
        "# HELP logpipe_received_bytes Bytes \\\\ and\\nlines \\\"read\\\".\n"
        "# TYPE logpipe_received_bytes counter\n"
        "# UNIT logpipe_received_bytes bytes\n"
        "logpipe_received_bytes_total{kind=\"file\",source=\"a\\\"b\\\\c\\nd\"} 1024\n"
        "# EOF\n");
}

TEST_CASE("exposition: both formats pass the strict reader, process metrics included") {
  Filled filled;
  const auto handles = register_process_metrics(filled.registry, {"0.1.0", "abc"});
  for (const auto format : {ExpositionFormat::prometheus, ExpositionFormat::openmetrics}) {
    test::ExpositionCheck check(format);
    CHECK(check.run(filled.registry.expose(format)) == "");
    CHECK(check.values.contains("process_cpu_seconds_total"));
    CHECK(check.values.contains("process_open_fds"));
  }
}

TEST_CASE("exposition: the order does not depend on the order of registration or of labels") {
  MetricsRegistry one;
  MetricsRegistry two;
  const Counter a1 = one.counter({"a_total", "A."}, {{"x", "1"}, {"y", "2"}});
  const Counter a2 = one.counter({"a_total", "A."}, {{"x", "2"}, {"y", "1"}});
  const Counter b1 = one.counter({"b_total", "B."});
  const Counter b2 = two.counter({"b_total", "B."});
  const Counter a3 = two.counter({"a_total", "A."}, {{"y", "1"}, {"x", "2"}});
  const Counter a4 = two.counter({"a_total", "A."}, {{"y", "2"}, {"x", "1"}});
  CHECK(one.expose(ExpositionFormat::openmetrics) == two.expose(ExpositionFormat::openmetrics));
}

TEST_CASE("exposition: an empty registry is an empty text, with an end in OpenMetrics") {
  const MetricsRegistry registry;
  CHECK(registry.expose(ExpositionFormat::prometheus).empty());
  CHECK(registry.expose(ExpositionFormat::openmetrics) == "# EOF\n");
}

TEST_CASE("exposition: label bytes that are no UTF-8 are replaced") {
  MetricsRegistry registry;
  const Counter counter = registry.counter({"a_total", "A."}, {{"x", "\xFFok\xC3\xA4\xED\xA0\x80"}});
  CHECK(registry.expose(ExpositionFormat::prometheus)
            .find("{x=\"\xEF\xBF\xBDok\xC3\xA4\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"} 0\n") != std::string::npos);
}

TEST_CASE("exposition: numbers are written as readers know them") {
  MetricsRegistry registry;
  Gauge gauge = registry.gauge({"g", "G."});
  const auto shown = [&](double value) {
    gauge.set(value);
    const std::string text = registry.expose(ExpositionFormat::prometheus);
    const std::size_t at = text.find("\ng ") + 3;
    return text.substr(at, text.size() - at - 1);
  };
  CHECK(shown(0) == "0");
  CHECK(shown(-1.5) == "-1.5");
  CHECK(shown(268435456) == "268435456");
  CHECK(shown(0.1) == "0.1");
  CHECK(shown(1e300) == "1e+300");
  CHECK(shown(HUGE_VAL) == "+Inf");
  CHECK(shown(-HUGE_VAL) == "-Inf");
  CHECK(shown(std::numeric_limits<double>::quiet_NaN()) == "NaN");
}

TEST_CASE("exposition: the Accept header decides about the format") {
  using enum ExpositionFormat;
  CHECK(negotiate_exposition("") == prometheus);
  CHECK(negotiate_exposition("*/*") == prometheus);
  CHECK(negotiate_exposition("text/plain;version=0.0.4") == prometheus);
  CHECK(negotiate_exposition("application/openmetrics-text; version=1.0.0") == openmetrics);
  CHECK(negotiate_exposition(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1") == openmetrics);
  CHECK(negotiate_exposition("text/plain, application/openmetrics-text;q=0.2") == prometheus);
  CHECK(negotiate_exposition("application/openmetrics-text;q=0") == prometheus);
  CHECK(content_type(openmetrics) == "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

TEST_CASE("exposition: the strict reader does find faults") {
  const auto fault = [](std::string_view text, ExpositionFormat format = ExpositionFormat::prometheus) {
    return !test::ExpositionCheck(format).run(text).empty();
  };
  CHECK(fault("a 1\n"));
  CHECK(fault("# TYPE a gauge\na 1"));
  CHECK(fault("# TYPE a gauge\na 1\na 2\n"));
  CHECK(fault("# TYPE a gauge\na{b=\"\\x\"} 1\n"));
  CHECK(fault("# TYPE a gauge\na one\n"));
  CHECK(fault("# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n"));
  CHECK(fault("# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_sum 1\na_count 2\n"));
  CHECK(fault("# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\n"));
  CHECK(fault("# TYPE a_total counter\na_total 1\n# EOF\n", ExpositionFormat::openmetrics));
  CHECK(fault("# TYPE a gauge\na 1\n", ExpositionFormat::openmetrics));
}

TEST_CASE("process: the figures are those of this process") {
  MetricsRegistry registry;
  const auto handles = register_process_metrics(registry, {"0.1.0", ""});
  const double before = registry.value("process_open_fds").value();
  const int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(descriptor >= 0);
  CHECK(registry.value("process_open_fds") == before + 1);
  close(descriptor);
  CHECK(registry.value("process_open_fds") == before);
  CHECK(registry.value("process_resident_memory_bytes").value() > 100'000);
  CHECK(registry.value("process_max_fds").value() >= before);
  CHECK(registry.value("process_cpu_seconds_total").value() > 0);
  const double age = static_cast<double>(std::time(nullptr)) - registry.value("process_start_time_seconds").value();
  CHECK(age > -2);
  CHECK(age < 600);
}
