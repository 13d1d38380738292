#include "config/document.hpp"

#include "tests/config/options.hpp"
#include "tests/config/support.hpp"

using namespace logpipe::config;

namespace {
const SchemaBase& all() {
  return schema_of(Tag<sample::Options>{});
}
const SchemaBase& queue() {
  return schema_of(Tag<sample::Queue>{});
}
}  // namespace

TEST_CASE("document: the table has every option with its type, default and meaning") {
  CHECK(document(all()) ==
        "Everything an option can be.\n"
        "\n"
        "| option | type | default | meaning |\n"
        "| --- | --- | --- | --- |\n"
        "| `path` | path | required | File to append to. |\n"
        "| `fsync` | `never` \\| `interval` \\| `always` | `interval` | When written data is forced to the disk. "
        "`never`: left to the "
        "kernel; `interval`: with every checkpoint; `always`: after every write. |\n"
        "| `flush` | size | `64KiB` | Buffered bytes. |\n"
        "| `timeout` | duration | `200ms` | Time for one attempt. From 10ms to 1m. |\n"
        "| `idle` | duration | `30s` | Closed after. |\n"
        "| `append` | `true` \\| `false` | `true` | Keep what is there. |\n"
        "| `workers` | integer | `4` | Threads. From 1 to 64. Must be a power of two. |\n"
        "| `nice` | integer | `0` | Priority. |\n"
        "| `ratio` | number | `0.5` | A \\| B. From 0 to 1. |\n"
        "| `rate` | rate |  | Limit. |\n"
        "| `prefix` | text |  | Text in front. |\n"
        "| `files` | text, or a list | `[]` | Globs. |\n"
        "| `set` | map of text | `{}` | Fields to set. |\n"
        "| `queues` | map of map | `{}` | By name. |\n"
        "| `queues.*.max_events` | integer | `100000` | Events at most. From 1 to 1000000. |\n"
        "| `queues.*.max_bytes` | size | `16MiB` | Bytes at most. From 1KiB to 1GiB. |\n"
        "| `list` | list of map | `[]` | In order. |\n"
        "| `list[].max_events` | integer | `100000` | Events at most. From 1 to 1000000. |\n"
        "| `list[].max_bytes` | size | `16MiB` | Bytes at most. From 1KiB to 1GiB. |\n"
        "| `queue` | map |  | One. |\n"
        "| `queue.max_events` | integer | `5` | Events at most. From 1 to 1000000. |\n"
        "| `queue.max_bytes` | size | `1KiB` | Bytes at most. From 1KiB to 1GiB. |\n"
        "| `token` | secret |  | Password. |\n"
        "| `raw` | any |  | Decoded later. |\n"
        "| `listen` | address | `127.0.0.1:0` | Where to listen. |\n"
        "| `parse` | any |  | Format. |\n");
}

TEST_CASE("document: the JSON schema says the same") {
  CHECK(
      json_schema(queue()) ==
      R"({"type":"object","properties":{"max_events":{"description":"Events at most.","default":100000,"anyOf":[{"type":"integer","minimum":1,"maximum":1000000},{"type":"string","pattern":"\\$\\{"}]},)"
      R"("max_bytes":{"description":"Bytes at most.","default":"16MiB","anyOf":[{"anyOf":[{"const":0},{"type":"string","pattern":"^([0-9]+(\\.[0-9]{1,6})?([KMGT]iB|[kMGT]?B)|0)$"}]},{"type":"string","pattern":"\\$\\{"}]}},)"
      R"("additionalProperties":false})");
  const SchemaBase* const both[] = {&schema_of(Tag<sample::Common>{}), &queue()};
  const std::string text = json_schema(both);
  CHECK(text.find(R"("type":{"description":"Which sink.","type":["string","number","boolean"]})") != std::string::npos);
  CHECK(text.find(R"("max_events":{)") != std::string::npos);
  CHECK(text.find(R"("required":["type"],"additionalProperties":false})") != std::string::npos);
}

TEST_CASE("document: the JSON schema of everything is well-formed") {
  const std::string text = json_schema(all());
  // JSON is YAML; our strict reader also refuses a property that is there twice.
  Diagnostics diagnostics;
  const Node root = testing::load_yaml(text, diagnostics);
  CHECK(testing::summary(diagnostics) == "");
  CHECK(root.find("properties")->entries.size() == all().options().size());
  CHECK(root.find("required")->items.size() == 1);
  CHECK(root.find("properties")->find("fsync")->find("default")->text == "interval");
  CHECK(root.find("properties")->find("token")->find("default") == nullptr);
}

TEST_CASE("document: the defaults, written out, read back as the defaults") {
  const std::string yaml = defaults_yaml(all());
  CAPTURE(yaml);
  CHECK(yaml.find("# path: (required)\nfsync: interval\nflush: 64KiB\n") == 0);
  Diagnostics diagnostics;
  const Node root = testing::load_yaml("path: x\n" + yaml, diagnostics);
  sample::Options decoded = decode<sample::Options>(root, diagnostics);
  CHECK(testing::summary(diagnostics) == "");
  decoded.path.clear();
  CHECK(print_value(decoded) == print_value(sample::Options()));
}

TEST_CASE("document: texts that look like something else are quoted") {
  for (const std::string text :
       {"", "true", "null", "- x", "a: b", "# c", "x #y", " x", "[", "${env:X}", "a\nb", "'q'", "*a", "@", "yes"}) {
    CAPTURE(text);
    Diagnostics diagnostics;
    const Node root = testing::load_yaml("k: " + print_value(std::string(text)) + "\n", diagnostics);
    REQUIRE(testing::summary(diagnostics) == "");
    CHECK(root.find("k")->is_scalar());
    CHECK(root.find("k")->text == text);
  }
}
