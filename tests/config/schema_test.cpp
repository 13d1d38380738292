#include "config/schema.hpp"

#include <stdexcept>

#include "tests/config/options.hpp"
#include "tests/config/support.hpp"

using namespace logpipe::config;
using namespace std::chrono_literals;
using sample::Options;
using testing::load_yaml;
using testing::summary;

namespace {

/// The findings of decoding `options` of a sink called `out`; `path` is there already.
std::string wrong(const std::string& line, const std::map<std::string, std::string>& variables = {}) {
  Diagnostics diagnostics;
  const Node root = load_yaml("path: /x\n" + line + "\n", diagnostics, variables);
  decode<Options>(root, diagnostics);
  return summary(diagnostics);
}

Options right(const std::string& yaml, const std::map<std::string, std::string>& variables = {}) {
  Diagnostics diagnostics;
  const Node root = load_yaml("path: /x\n" + yaml, diagnostics, variables);
  Options options = decode<Options>(root, diagnostics);
  CHECK(summary(diagnostics) == "");
  return options;
}

}  // namespace

TEST_CASE("schema: every kind of option is read") {
  const Options options = right(
      "fsync: always\nflush: 1.5MiB\ntimeout: 5s\nidle: 1m30s\nappend: false\nworkers: 8\nnice: -20\nratio: "
      "0.25\nrate: 100/s\n"
      "prefix: 5\nfiles: [a, b]\nset: {z: 1, a: two}\nqueues: {one: {max_events: 7}, two: 2KiB, three: }\nlist: "
      "[4KiB, {max_bytes: 8KiB}]\n"
      "queue: {max_events: 9}\ntoken: hunter2\nraw: {deep: [1]}\nlisten: '[::1]:80'\nparse: {json: {strict: true}}\n");
  CHECK(options.path == "/x");
  CHECK(options.fsync == sample::Fsync::always);
  CHECK(options.flush == 1572864);
  CHECK(options.timeout == 5s);
  CHECK(options.idle == 90s);
  CHECK_FALSE(options.append);
  CHECK(options.workers == 8);
  CHECK(options.nice == -20);
  CHECK(options.ratio == 0.25);
  CHECK(options.rate == Rate{100, 1s});
  CHECK(options.prefix == "5");
  CHECK(options.files == std::vector<std::string>{"a", "b"});
  CHECK(options.set == std::vector<std::pair<std::string, std::string>>{{"z", "1"}, {"a", "two"}});
  REQUIRE(options.queues.size() == 3);
  CHECK(options.queues[0].name == "one");
  CHECK(options.queues[0].value.max_events == 7);
  CHECK(options.queues[0].mark.column == 10);
  CHECK(options.queues[1].value.max_bytes == 2048);
  CHECK(options.queues[2].value.max_events == 100'000);
  REQUIRE(options.list.size() == 2);
  CHECK(options.list[0].max_bytes == 4096);
  CHECK(options.queue.max_events == 9);
  CHECK(options.queue.max_bytes == 1024);  // this struct's own default, not Queue's
  CHECK(options.token.value == "hunter2");
  CHECK(options.raw.find("deep")->items.size() == 1);
  CHECK(options.listen.host == "[::1]");
  CHECK(options.listen.port == 80);
  REQUIRE(options.parse);
  CHECK(options.parse->name == "json");
  CHECK(options.parse->options.find("strict")->text == "true");
}

TEST_CASE("schema: what is not written keeps the default of the struct") {
  const Options options = right("");
  const Options defaults;
  CHECK(options.flush == defaults.flush);
  CHECK(options.fsync == defaults.fsync);
  CHECK_FALSE(options.rate);
  CHECK(options.queue.max_events == 5);
  CHECK(right("rate: ~\nqueue:\nset:\n").queue.max_events == 5);
}

TEST_CASE("schema: shorthand forms") {
  CHECK(right("files: one\n").files == std::vector<std::string>{"one"});
  CHECK(right("files: []\n").files.empty());
  CHECK(right("queue: 2KiB\n").queue.max_bytes == 2048);
  CHECK(right("parse: json\n").parse->name == "json");
  CHECK(right("parse: json\n").parse->options.is_null());
  CHECK(right("flush: 0\nidle: 5m\n").flush == 0);
}

TEST_CASE("schema: every wrong value is an error at its place, saying what was expected") {
  struct Row {
    std::string line;
    const char* expected;
  };
  for (
      const Row& row : {
          // Names.
          Row{"flsuh: 1KiB", "2:1+5 LP0101 flsuh: unknown option | did you mean \"flush\"?\n"},
          {"or-single: 1",
           "2:1+9 LP0101 or-single: unknown option | known: path, fsync, flush, timeout, idle, append, workers, nice, "
           "ratio, rate, prefix, files, set, queues, list, queue, token, raw, listen, parse\n"},
          {"queue: {bytes_max: 1KiB}", "2:9+9 LP0101 queue.bytes_max: unknown option | did you mean \"max_bytes\"?\n"},
          {"queues: {q: {maxevents: 1}}",
           "2:14+9 LP0101 queues.q.maxevents: unknown option | did you mean \"max_events\"?\n"},
          {"list: [{x: 1}]", "2:9+1 LP0101 list[0].x: unknown option | known: max_events, max_bytes\n"},
          {"fsync: allways",
           "2:8+7 LP0105 fsync: expected never, interval or always, got \"allways\" | did you mean \"always\"?\n"},
          {"fsync: [always]", "2:8+1 LP0105 fsync: expected never, interval or always, got a list\n"},
          // Sizes, durations, rates.
          {"flush: 64Q",
           "2:8+3 LP0103 flush: expected a size such as 64KiB, got \"64Q\" | units are B, KiB, MiB, GiB, kB, MB, GB\n"},
          {"flush: 64", "2:8+2 LP0103 flush: expected a size such as 64KiB, got \"64\" | write 64B or 64KiB\n"},
          {"flush: 64K", "2:8+3 LP0103 flush: expected a size such as 64KiB, got \"64K\" | write 64KiB or 64kB\n"},
          {"flush: '10 mb'",
           "2:8+7 LP0103 flush: expected a size such as 64KiB, got \"10 mb\" | write 10MiB or 10MB\n"},
          {"flush:", "2:1+5 LP0103 flush: expected a size such as 64KiB, got nothing\n"},
          {"timeout: 500",
           "2:10+3 LP0103 timeout: expected a duration such as 5s, got \"500\" | write 500ms or 500s\n"},
          {"idle: 30", "2:7+2 LP0103 idle: expected a duration such as 5s, got \"30\" | write 30s or 30ms\n"},
          {"idle: 5 sec",
           "2:7+5 LP0103 idle: expected a duration such as 5s, got \"5 sec\" | units are ns, us, ms, s, m, h, d, the "
           "larger first: 1m30s\n"},
          {"timeout: 15ms1us", "2:10+7 LP0103 timeout: expected a multiple of 1ms, got \"15ms1us\"\n"},
          {"timeout: 1ms", "2:10+3 LP0104 timeout: expected a value from 10ms to 1m, got \"1ms\"\n"},
          {"rate: 100", "2:7+3 LP0103 rate: expected a rate such as 100/s, got \"100\" | write 100/s or 100/m\n"},
          {"queue: {max_bytes: 1B}", "2:20+2 LP0104 queue.max_bytes: expected a value from 1KiB to 1GiB, got \"1B\"\n"},
          // Numbers and truth values.
          {"append: yes", "2:9+3 LP0103 append: expected true or false, got \"yes\" | write true\n"},
          {"append: Off", "2:9+3 LP0103 append: expected true or false, got \"Off\" | write false\n"},
          {"append: 'true'", "2:9+6 LP0103 append: expected true or false, got \"true\" | write true\n"},
          {"workers: 010",
           "2:10+3 LP0103 workers: expected a whole number, got \"010\" | a leading zero could mean octal: write it "
           "without\n"},
          {"workers: 0x10", "2:10+4 LP0103 workers: expected a whole number, got \"0x10\" | write it in decimal\n"},
          {"workers: '4'", "2:10+3 LP0103 workers: expected a whole number, got \"4\" | remove the quotes: 4\n"},
          {"workers: 1_000",
           "2:10+5 LP0103 workers: expected a whole number, got \"1_000\" | write the digits without separators\n"},
          {"workers: 4KiB", "2:10+4 LP0103 workers: expected a whole number, got \"4KiB\" | this one has no unit\n"},
          {"workers: four", "2:10+4 LP0103 workers: expected a whole number, got \"four\"\n"},
          {"workers: 65", "2:10+2 LP0104 workers: expected a value from 1 to 64, got \"65\"\n"},
          {"workers: -1", "2:10+2 LP0104 workers: expected a whole number from 0 to 4294967295, got \"-1\"\n"},
          {"workers: 99999999999999999999",
           "2:10+20 LP0104 workers: expected a whole number from 0 to 4294967295, got \"99999999999999999999\"\n"},
          {"workers: 3", "2:10+1 LP0103 workers: expected a power of two, got \"3\"\n"},
          {"nice: 128", "2:7+3 LP0104 nice: expected a whole number from -128 to 127, got \"128\"\n"},
          {"ratio: 1.5", "2:8+3 LP0104 ratio: expected a value from 0 to 1, got \"1.5\"\n"},
          {"ratio: nan", "2:8+3 LP0103 ratio: expected a number, got \"nan\"\n"},
          {"ratio: 0,5", "2:8+3 LP0103 ratio: expected a number, got \"0,5\"\n"},
          // Shapes.
          {"prefix: [a]", "2:9+1 LP0103 prefix: expected a text, got a list\n"},
          {"files: {a: b}", "2:8+1 LP0103 files: expected a text, got a map\n"},
          {"files:", "2:1+5 LP0103 files: expected a list, got nothing | write [] for an empty one\n"},
          {"files: [a, [b]]", "2:12+1 LP0103 files[1]: expected a text, got a list\n"},
          {"list: x", "2:7+1 LP0103 list: expected a list, got \"x\" | write it as [x]\n"},
          {"set: x", "2:6+1 LP0103 set: expected a map, got \"x\"\n"},
          {"queue: [1KiB]", "2:8+1 LP0103 queue: expected a map, got a list\n"},
          {"parse: {json: {}, csv: {}}",
           "2:8+1 LP0103 parse: expected exactly one name, got 2 | indent the options below the name\n"},
          {"parse: []", "2:8+1 LP0103 parse: expected a name, or one name with its options, got a list\n"},
          // Custom decoding, inside the scalar.
          {"listen: x", "2:9+1 LP0103 listen: expected an address such as 127.0.0.1:9632, got \"x\"\n"},
          {"listen: \"host:8o\"", "2:15+2 LP0103 listen: expected a port\n"},
          // Several options together.
          {"idle: 100ms", "2:7+5 LP0106 idle: shorter than timeout\n"},
          {"timeout: 40s", "1:1+1 LP0106 idle: shorter than timeout\n"},
      }) {
    CAPTURE(row.line);
    CHECK(wrong(row.line) == row.expected);
  }
}

TEST_CASE("schema: all errors are found at once, in order") {
  Diagnostics diagnostics;
  const Node root =
      load_yaml("fsync: no\nqueue: {max_events: x, bogus: 1}\nlist: [1, {max_bytes: 2}]\nworkers: -1\n", diagnostics);
  decode<Options>(root, diagnostics, "sinks.out");
  CHECK(summary(diagnostics) ==
        "1:1+1 LP0102 sinks.out: missing option \"path\" | File to append to.\n"
        "1:8+2 LP0105 sinks.out.fsync: expected never, interval or always, got \"no\"\n"
        "2:21+1 LP0103 sinks.out.queue.max_events: expected a whole number, got \"x\"\n"
        "2:24+5 LP0101 sinks.out.queue.bogus: unknown option | known: max_events, max_bytes\n"
        "3:8+1 LP0103 sinks.out.list[0]: expected a size such as 64KiB, got \"1\" | write 1B or 1MiB\n"
        "3:23+1 LP0103 sinks.out.list[1].max_bytes: expected a size such as 64KiB, got \"2\" | write 2B or 2MiB\n"
        "4:10+2 LP0104 sinks.out.workers: expected a whole number from 0 to 4294967295, got \"-1\"\n");
}

TEST_CASE("schema: a missing option is reported at the name of its component") {
  Diagnostics diagnostics;
  const Node root = load_yaml("sinks:\n  out: {fsync: never}\n  other:\n", diagnostics);
  std::vector<Named<Options>> sinks;
  Decoder(*root.find("sinks"), diagnostics, "sinks").into(sinks);
  CHECK(summary(diagnostics) ==
        "2:3+3 LP0102 sinks.out: missing option \"path\" | File to append to.\n"
        "3:3+5 LP0102 sinks.other: missing option \"path\" | File to append to.\n");
}

TEST_CASE("schema: substituted values may be quoted, and fail with the value and never the secret") {
  CHECK(right("workers: '${env:N}'\nappend: \"${env:B}\"\n", {{"N", "8"}, {"B", "false"}}).workers == 8);
  CHECK(wrong("workers: '${env:N}'", {{"N", "many"}}) ==
        "2:10+10 LP0103 workers: expected a whole number, got \"many\"\n");
  CHECK(wrong("workers: ${env:N}") ==
        "2:10+8 LP0302 workers: environment variable N is not set | give it a default: ${env:N:-default}\n");

  const testing::Directory directory;
  directory.write("secret", "hunter2\n");
  const std::string path = directory.write(
      "main.yaml",
      "path: x\nworkers: ${file:secret}\nfsync: ${file:secret}\nflush: ${file:secret}\nidle: ${file:secret}\nrate: "
      "${file:secret}\nappend: ${file:secret}\nlist: ${file:secret}\nset: ${file:secret}\n");
  Diagnostics diagnostics;
  const Node root = load({path}, FixedEnvironment(), diagnostics);
  decode<Options>(root, diagnostics);
  CHECK(diagnostics.error_count() == 8);
  CHECK(render_text(diagnostics).find("hunter2") == std::string::npos);
  CHECK(render_json(diagnostics).find("hunter2") == std::string::npos);
  CHECK(summary(diagnostics).find("2:10+14 LP0103 workers: expected a whole number, got a secret value\n") == 0);
}

TEST_CASE("schema: what follows from a broken file is not reported again") {
  Diagnostics diagnostics;
  const Node root = load_yaml("fsync: bogus\nqueue: {max_events: 1\n", diagnostics);
  decode<Options>(root, diagnostics);
  REQUIRE(diagnostics.error_count() == 2);
  CHECK(diagnostics.sorted()[0].code == Code::unknown_name);
  CHECK(diagnostics.sorted()[1].code == Code::syntax);
}

TEST_CASE("schema: several schemas share a map, and what nobody takes is unknown") {
  Diagnostics diagnostics;
  const Node root =
      load_yaml("type: file\npath: x\nwhen: 'a == b'\nqueue: 2KiB\nextra: 1\nencodng: raw\n", diagnostics);
  sample::Common common;
  sample::Queue queue;
  Object object(Decoder(root, diagnostics, "sinks.out"));
  CHECK(object.take(common));
  CHECK(object.take(queue));
  object.reserve("encoding");
  object.reserve("path");
  CHECK_FALSE(object.finish());
  CHECK(common.queue.max_bytes == 2048);
  CHECK(common.when.value == "a == b");
  CHECK(common.when.path == "sinks.out.when");
  CHECK(diagnostics.place(common.when.mark) == "pipeline.yaml:3:7");
  CHECK(
      summary(diagnostics) ==
      "5:1+5 LP0101 sinks.out.extra: unknown option | known: type, when, queue, max_events, max_bytes, encoding, path\n"
      "6:1+7 LP0101 sinks.out.encodng: unknown option | did you mean \"encoding\"?\n");
}

TEST_CASE("schema: a located value lets a later check point into it") {
  Diagnostics diagnostics;
  const Node root = load_yaml("type: x\nwhen: 'status >= five'\n", diagnostics);
  const auto common = decode<sample::Common>(root, diagnostics, "sinks.out");
  diagnostics.error_within(common.when.mark, 10, 4, common.when.path, "expected a number");
  CHECK(summary(diagnostics) == "2:18+4 LP0401 sinks.out.when: expected a number\n");
}

TEST_CASE("schema: keys that the caller reads itself can be reserved") {
  Diagnostics diagnostics;
  const Node root = load_yaml("type: x\nmax_events: 3\n", diagnostics);
  CHECK(decode<sample::Queue>(root, diagnostics, {}, {"type"}).max_events == 3);
  CHECK(diagnostics.ok());
  decode<sample::Queue>(root, diagnostics);
  CHECK(diagnostics.error_count() == 1);
}

TEST_CASE("schema: a mistake in a declaration is found when it is used") {
  using Queue = sample::Queue;
  CHECK_THROWS_AS(Schema<Queue>("x").optional("a", &Queue::max_events, "").optional("a", &Queue::max_bytes, ""),
                  std::logic_error);
  CHECK_THROWS_AS(Schema<Queue>("x").range(1, 2), std::logic_error);
  CHECK_THROWS_AS(Schema<Queue>("x").scalar(&Queue::max_bytes), std::logic_error);
  CHECK_THROWS_AS(Schema<Options>("x").optional("path", &Options::path, "").range(1, 2), std::logic_error);
}

TEST_CASE("schema: enumerators have names") {
  CHECK(name_of(sample::Fsync::always) == "always");
  static_assert(NamedEnum<sample::Fsync>);
  static_assert(!NamedEnum<Code>);
}
