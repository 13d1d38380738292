#include "event/fields.hpp"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <map>
#include <string>
#include <vector>

#include "event/json.hpp"
#include "event/json_walk.hpp"
#include "tests/event/json_corpus.hpp"
#include "tests/event/json_reference.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;
using test::JsonCorpus;
using test::JsonReference;

namespace {

BlockPool& pool() {
  static BlockPool shared(64 << 20);
  return shared;
}

/// One line in a batch of its own, parsed as JSON when it is JSON.
struct OneEvent {
  explicit OneEvent(std::string_view line) {
    batch.open(freeze(test::block_of(pool(), line)));
    parse_json(batch, false, false);
  }
  Event& event() { return batch.events.at(0); }
  std::string json() {
    Encoded out;
    write_json(batch, event(), out);
    iovec slices[8];
    const std::size_t count = out.iovecs(&batch.block(), 0, slices, 8);
    std::string text;
    for (std::size_t i = 0; i < count; ++i)
      text.append(static_cast<const char*>(slices[i].iov_base), slices[i].iov_len);
    return text;
  }
  std::optional<FieldValue> get(std::string_view path) { return find(batch, event(), FieldPath::parse(path).value()); }
  std::string text(std::string_view path) {
    const auto value = get(path);
    return value ? std::string(value_text(*value, batch.arena)) : "(none)";
  }
  Batch batch;
};

/// What the events should hold: keys unescaped, values as written; in order.
using Model = std::vector<std::pair<std::string, std::string>>;

std::string unescaped(std::string_view quoted) {
  Arena arena;
  return std::string(json_unescape(quoted.substr(1, quoted.size() - 2), arena));
}

Model model_of(std::string_view json) {
  JsonReference::Members members;
  REQUIRE(JsonReference::is_object(json, &members));
  Model model;
  for (auto& [key, value] : members) model.emplace_back(unescaped(key), value);
  return model;
}

void apply_to(Model& model, const FieldSet& set) {
  for (const auto& member : set.members()) {
    bool found = false;
    std::erase_if(model, [&](auto& field) {
      if (field.first != member.name) return false;
      if (found) return true;
      found = true;
      field.second = member.json_value;
      return false;
    });
    if (!found) model.emplace_back(member.name, member.json_value);
  }
}

Model visited(OneEvent& one) {
  Model model;
  Arena scratch;
  for_each_field(
      one.batch, one.event(), scratch,
      [](void* context, std::string_view key, const FieldValue& value) {
        std::string text(value.text);
        if (value.type == ValueType::string) text = value.escaped ? '"' + text + '"' : json_string(text);
        static_cast<Model*>(context)->emplace_back(key, text);
      },
      &model);
  return model;
}

FieldSet random_set(JsonCorpus& corpus) {
  FieldSet set;
  for (std::uint64_t n = 1 + corpus.below(4); n > 0; --n) {
    set.add(corpus.one_in(3) ? "new" + std::to_string(corpus.below(4)) : unescaped(corpus.key()), corpus.value());
  }
  return set;
}

}  // namespace

TEST_CASE("field path: names, paths and what is neither") {
  CHECK(FieldPath::parse("log.level")->steps().size() == 1);
  CHECK(FieldPath::parse("a[0] b")->steps()[0].key == "a[0] b");
  const auto path = FieldPath::parse(".user.tags[12].x y");
  REQUIRE(path);
  REQUIRE(path->steps().size() == 4);
  CHECK(path->steps()[1].key == "tags");
  CHECK(path->steps()[2].index == 12);
  CHECK(path->steps()[3].key == "x y");
  CHECK(path->spelling() == ".user.tags[12].x y");
  for (const char* bad :
       {"", ".", "..a", ".a.", ".a[", ".a[]", ".a[x]", ".a[1", ".a[1]b", ".a[-1]", ".[0]", ".a[12345678901]"}) {
    CAPTURE(bad);
    std::string why;
    CHECK_FALSE(FieldPath::parse(bad, &why));
    CHECK_FALSE(why.empty());
  }
}

TEST_CASE("find: values of every type where they stand") {
  OneEvent one(
      R"( {"s":"x\ty" , "n" : -1.50e3 ,"t":true,"z":null,"o":{"a":{"b":[10,{"c":"deep"},[ ]]}},"e":{},"bad":INFO})"
      "\r");
  CHECK(one.get("s")->type == ValueType::string);
  CHECK(one.get("s")->escaped);
  CHECK(one.text("s") == "x\ty");
  CHECK(one.get("n")->type == ValueType::number);
  CHECK(one.text("n") == "-1.50e3");
  CHECK(one.get("t")->type == ValueType::boolean);
  CHECK(one.get("z")->type == ValueType::null);
  CHECK(one.get("o")->type == ValueType::object);
  CHECK(one.text("o") == R"({"a":{"b":[10,{"c":"deep"},[ ]]}})");
  CHECK(one.text("e") == "{}");
  CHECK(one.get("bad")->type == ValueType::string);
  CHECK(one.text("bad") == "INFO");
  CHECK(one.text(".o.a.b[0]") == "10");
  CHECK(one.text(".o.a.b[1].c") == "deep");
  CHECK(one.get(".o.a.b[2]")->type == ValueType::array);
  CHECK_FALSE(one.get(".o.a.b[3]"));
  CHECK_FALSE(one.get(".o.a.b[2][0]"));
  CHECK_FALSE(one.get(".o.x"));
  CHECK_FALSE(one.get(".s.x"));
  CHECK_FALSE(one.get(".n[0]"));
  CHECK_FALSE(one.get(".e.x"));
  CHECK_FALSE(one.get("a"));
  CHECK_FALSE(one.get("message"));
}

TEST_CASE("find: keys are compared whole, unescaped, and the first of two counts") {
  OneEvent one(
      R"({"abcdefgh1":1,"abcdefg":2,"abcdefgh":3,"l\u0065vel":"first","level":"second","a\"b":4,"":5,"ab":6,"a":7})");
  CHECK(one.text("abcdefgh") == "3");
  CHECK(one.text("abcdefg") == "2");
  CHECK(one.text("abcdefgh1") == "1");
  CHECK(one.text("level") == "first");
  CHECK(one.text("a\"b") == "4");
  CHECK(one.text("a") == "7");
  CHECK_FALSE(one.get("abcdef"));
  CHECK_FALSE(one.get("abcdefgh2"));
  OneEvent quoted(R"({"k\\":1,"k":2,"x\"":3,"/var/log/x\/":4})");
  CHECK(quoted.text("k\\") == "1");
  CHECK(quoted.text("k") == "2");
  CHECK_FALSE(quoted.get("x"));
  CHECK(quoted.text("/var/log/x/") == "4");
}

TEST_CASE("find: a text event has one field, its message") {
  OneEvent one("hello \"you\"\r");
  CHECK(one.text("message") == "hello \"you\"");
  CHECK(one.text(".message") == "hello \"you\"");
  CHECK_FALSE(one.get("level"));
  CHECK_FALSE(one.get(".message.x"));
}

TEST_CASE("find: what simdjson's DOM finds, on random lines") {
  simdjson::dom::parser parser;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    CAPTURE(seed);
    JsonCorpus corpus(seed);
    const std::string line = corpus.line();
    CAPTURE(line);
    OneEvent one(line);
    REQUIRE(one.event().form == Form::json);
    simdjson::dom::element dom;
    REQUIRE(parser.parse(line).get(dom) == simdjson::SUCCESS);
    std::map<std::string, simdjson::dom::element> first;
    for (const auto field : simdjson::dom::object(dom)) first.emplace(std::string(field.key), field.value);
    for (const auto& [key, value] : first) {
      CAPTURE(key);
      FieldPath path;
      if (key.empty() || key[0] == '.') continue;
      const auto found = find(one.batch, one.event(), *FieldPath::parse(key));
      REQUIRE(found.has_value());
      switch (value.type()) {
        case simdjson::dom::element_type::STRING:
          REQUIRE(found->type == ValueType::string);
          REQUIRE(value_text(*found, one.batch.arena) == std::string_view(value));
          break;
        case simdjson::dom::element_type::BOOL:
          REQUIRE(found->type == ValueType::boolean);
          break;
        case simdjson::dom::element_type::NULL_VALUE:
          REQUIRE(found->type == ValueType::null);
          break;
        case simdjson::dom::element_type::OBJECT:
          REQUIRE(found->type == ValueType::object);
          break;
        case simdjson::dom::element_type::ARRAY:
          REQUIRE(found->type == ValueType::array);
          break;
        default:
          REQUIRE(found->type == ValueType::number);
      }
      if (found->type != ValueType::string) {
        simdjson::dom::parser again;
        REQUIRE(simdjson::minify(again.parse(std::string(found->text)).value()) == simdjson::minify(value));
      }
    }
    REQUIRE(visited(one).size() == model_of(line).size());
  }
}

TEST_CASE("set: appends, replaces, and never doubles a key") {
  FieldSet members;
  members.add("host", "\"web1\"");
  members.add("env", "\"prod\"");
  CHECK(members.fragment() == R"("host":"web1","env":"prod")");
  const auto result = [&](std::string_view line) {
    OneEvent one(line);
    set(one.batch, one.event(), members);
    return one.json();
  };
  CHECK(result(R"({"a":1})") == R"({"a":1,"host":"web1","env":"prod"})");
  CHECK(result(R"({"a":1 , "b":[ ] } )") == R"({"a":1 , "b":[ ],"host":"web1","env":"prod"})");
  CHECK(result("{}") == R"({"host":"web1","env":"prod"})");
  CHECK(result("{ }\r") == R"({"host":"web1","env":"prod"})");
  CHECK(result(R"({"host":{"x":1},"a":1})") == R"({"host":"web1","a":1,"env":"prod"})");
  CHECK(result(R"({"env" : 1 ,"host": 2})") == R"({"env" : "prod" ,"host": "web1"})");
  CHECK(result(R"({"host":1,"a":2,"host":3})") == R"({"host":"web1","a":2,"env":"prod"})");
  CHECK(result(R"({"host":1,"h\u006fst":3 ,"host":4,"a":2})") == R"({"host":"web1" ,"a":2,"env":"prod"})");
  CHECK(result(R"({"x":{"host":1}})") == R"({"x":{"host":1},"host":"web1","env":"prod"})");
  CHECK(result("plain \"text\"\x01\r") == R"({"message":"plain \"text\"\u0001","host":"web1","env":"prod"})");
  CHECK(result("\n") == R"({"message":"","host":"web1","env":"prod"})");
}

TEST_CASE("set: the constant fragment is not copied when nothing is there") {
  FieldSet members;
  members.add("host", "\"web1\"");
  OneEvent one(R"({"a":1})");
  set(one.batch, one.event(), members);
  REQUIRE(one.batch.edits.size() == 1);
  CHECK(one.batch.edits[0].text.data() == members.fragment().data());
}

TEST_CASE("set: a name added twice to a set counts once, with its last value") {
  FieldSet members;
  members.add("a", "1");
  members.add("b", "2");
  members.add("a", "3");
  CHECK(members.fragment() == R"("a":3,"b":2)");
  CHECK(members.members().size() == 2);
}

TEST_CASE("set: setting again changes the edit, in the body and behind it") {
  OneEvent one(R"({"a":1,"b":2})");
  set(one.batch, one.event(), "a", "10");
  set(one.batch, one.event(), "x", "\"long value\"");
  set(one.batch, one.event(), "y", "[1,{\"z\":\"}\"}]");
  set(one.batch, one.event(), "x", "5");
  set(one.batch, one.event(), "a", "{\"n\":[7,8]}");
  CHECK(one.json() == R"({"a":{"n":[7,8]},"b":2,"x":5,"y":[1,{"z":"}"}]})");
  CHECK(one.text("x") == "5");
  CHECK(one.text(".a.n[1]") == "8");
  CHECK(one.text(".y[1].z") == "}");
  CHECK(one.text("b") == "2");
  set(one.batch, one.event(), "quo\"te", "true");
  CHECK(one.text("quo\"te") == "true");
  set(one.batch, one.event(), "quo\"te", "false");
  CHECK(one.json() == R"({"a":{"n":[7,8]},"b":2,"x":5,"y":[1,{"z":"}"}],"quo\"te":false})");
}

TEST_CASE("set: random sets on random lines give what a plain model gives") {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    CAPTURE(seed);
    JsonCorpus corpus(seed);
    const std::string line = corpus.line();
    OneEvent one(line);
    Model model = model_of(line);
    std::vector<FieldSet> sets(1 + corpus.below(4));
    for (FieldSet& members : sets) {
      members = random_set(corpus);
      set(one.batch, one.event(), members);
      apply_to(model, members);
      const std::string json = one.json();
      CAPTURE(line);
      CAPTURE(json);
      REQUIRE(model_of(json) == model);
      REQUIRE(visited(one).size() == model.size());
      for (std::size_t i = 0; i < model.size(); ++i) {
        REQUIRE(visited(one)[i].first == model[i].first);
        if (model[i].first.empty() || model[i].first[0] == '.') continue;
        const auto first = std::find_if(model.begin(), model.end(), [&](auto& f) { return f.first == model[i].first; });
        const auto found = one.get(model[i].first);
        REQUIRE(found.has_value());
        const bool quoted = found->type == ValueType::string;
        REQUIRE((quoted ? '"' + std::string(found->text) + '"' : std::string(found->text)) == first->second);
      }
    }
  }
}

TEST_CASE("set: more members than one walk takes") {
  FieldSet members;
  for (int i = 0; i < 150; ++i) members.add("k" + std::to_string(i), std::to_string(i));
  OneEvent one(R"({"k149":0,"k3":0,"k3":1,"other":true})");
  Model model = model_of(one.json());
  set(one.batch, one.event(), members);
  apply_to(model, members);
  CHECK(model_of(one.json()) == model);
}

TEST_CASE("set: a text event gets members beside its message, or another message") {
  OneEvent one("hello");
  set(one.batch, one.event(), "level", "\"info\"");
  CHECK(one.json() == R"({"message":"hello","level":"info"})");
  CHECK(one.text("level") == "info");
  set(one.batch, one.event(), "message", "\"bye\"");
  CHECK(one.json() == R"({"message":"bye","level":"info"})");
  CHECK(one.text("message") == "bye");
}

TEST_CASE("fields: a fields event is found, set and written like the others") {
  OneEvent one("n=1 neg=-0.5 word=up q=\"12\" t=true z=null bad=01 n=2 flag");
  Event& event = one.event();
  const std::string_view raw = one.batch.raw(event);
  const auto field = [&](std::string_view key, std::string_view value, bool quoted = false) {
    one.batch.fields.push_back({raw.substr(raw.find(key), key.size()), value, quoted});
  };
  one.batch.fields.push_back({"of another event", "x", false});
  event.form = Form::fields;
  event.index_begin = 1;
  field("n", "1");
  field("neg", "-0.5");
  field("word", "up");
  field("q", "12", true);
  field("t", "true");
  field("z", "null");
  field("bad", "01");
  field("n", "2");
  field("flag", "");
  event.index_count = 9;
  one.batch.fields.push_back({"of the next", "x", false});
  CHECK(one.json() == R"({"n":1,"neg":-0.5,"word":"up","q":"12","t":true,"z":null,"bad":"01","n":2,"flag":""})");
  CHECK(one.get("n")->text == "1");
  CHECK(one.get("q")->type == ValueType::string);
  CHECK(one.get("neg")->type == ValueType::number);
  CHECK(one.get("t")->type == ValueType::boolean);
  CHECK_FALSE(one.get("of the next"));
  FieldSet members;
  members.add("host", "\"web1\"");
  members.add("n", "{\"x\":7}");
  members.add("word", "\"d\\u006fwn\"");
  set(one.batch, event, members);
  CHECK(one.json() ==
        R"({"n":{"x":7},"neg":-0.5,"word":"d\u006fwn","q":"12","t":true,"z":null,"bad":"01","flag":"","host":"web1"})");
  CHECK(one.text("word") == "down");
  CHECK(one.text(".n.x") == "7");
  CHECK(one.text("host") == "web1");
  CHECK(event.edits != kNoEdit);
  set(one.batch, event, "n", "3");
  set(one.batch, event, "host", "\"web2\"");
  CHECK(one.text("n") == "3");
  const Model model = visited(one);
  REQUIRE(model.size() == 9);
  CHECK(model[0] == std::pair<std::string, std::string>("n", "3"));
  CHECK(model[8] == std::pair<std::string, std::string>("host", "\"web2\""));
}

TEST_CASE("write json: any members may be removed, with exactly the commas that held them") {
  JsonCorpus corpus(5);
  for (int round = 0; round < 1000; ++round) {
    CAPTURE(round);
    const std::string line = corpus.line();
    OneEvent one(line);
    Model model = model_of(line);
    const json::Tape tape(one.batch, one.event());
    std::vector<bool> gone;
    std::uint32_t* link = &one.event().edits;
    one.batch.edits.reserve(100);
    tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t next) {
      gone.push_back(corpus.one_in(2));
      if (!gone.back()) return true;
      const std::uint32_t begin = tape.entries[key];
      const std::string_view text = tape.slice(value, next);
      const auto end = static_cast<std::uint32_t>(text.data() + text.size() - tape.text);
      *link = static_cast<std::uint32_t>(one.batch.edits.size());
      one.batch.edits.push_back({{}, begin, end - begin, kNoEdit, Edit::Kind::remove});
      link = &one.batch.edits.back().next;
      return true;
    });
    std::size_t at = 0;
    std::erase_if(model, [&](auto&) { return gone[at++]; });
    if (corpus.one_in(2)) {
      set(one.batch, one.event(), "level", "1");
      FieldSet members;
      members.add("level", "1");
      apply_to(model, members);
    }
    const std::string json = one.json();
    CAPTURE(line);
    CAPTURE(json);
    REQUIRE(model_of(json) == model);
    REQUIRE(visited(one).size() == model.size());
  }
}
