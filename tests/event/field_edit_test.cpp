#include "event/field_edit.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "event/json.hpp"
#include "event/logfmt.hpp"
#include "tests/event/json_corpus.hpp"
#include "tests/event/json_dom.hpp"
#include "tests/event/json_reference.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;
using test::JsonCorpus;
using test::JsonDom;
using test::JsonReference;

namespace {

BlockPool& pool() {
  static BlockPool shared(64 << 20);
  return shared;
}

FieldTarget target(std::string_view text) {
  return FieldTarget(FieldPath::parse(text).value());
}

/// One line in a batch of its own, parsed as JSON or logfmt where it is.
struct OneEvent {
  explicit OneEvent(std::string_view line) {
    batch.open(freeze(test::block_of(pool(), line)));
    parse_json(batch, false, false);
    parse_logfmt(batch, false);
  }
  ~OneEvent() { batch.close(); }
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
  bool put(std::string_view path, std::string_view json) { return set(batch, event(), target(path), json); }
  bool drop(std::string_view path) { return remove(batch, event(), target(path)); }
  bool give(std::string_view from, std::string_view to) { return move(batch, event(), target(from), target(to)); }
  Batch batch;
};

/// A random path: often one that leads somewhere.
FieldPath random_path(JsonCorpus& corpus, const JsonDom& dom) {
  static constexpr std::string_view kKeys[] = {"level", "a", "msg", "user", "tags", "new", "x", "message", "n"};
  const JsonDom* at = &dom;
  std::string text;
  const std::uint64_t depth = 1 + corpus.below(4);
  for (std::uint64_t i = 0; i < depth; ++i) {
    const JsonDom* next = nullptr;
    if (i != 0 && ((at != nullptr && at->kind == '[') || corpus.one_in(12))) {
      const std::uint64_t index = corpus.below(4);
      text += "[" + std::to_string(index) + "]";
      if (at != nullptr && at->kind == '[' && index < at->elements.size()) next = &at->elements[index];
    } else if (at != nullptr && !at->members.empty() && !corpus.one_in(4)) {
      const auto& [key, value] = at->members[corpus.below(at->members.size())];
      if (key.empty() || key.find_first_of(".[") != std::string::npos) {
        if (i == 0) text = ".a";
        break;
      }
      text += "." + key;
      next = &value;
    } else {
      text += "." + std::string(kKeys[corpus.below(std::size(kKeys))]);
    }
    at = next;
    if (at != nullptr && at->kind == 's' && !corpus.one_in(8)) break;
  }
  return FieldPath::parse(text).value();
}

JsonDom visited(OneEvent& one) {
  JsonDom dom{'{', {}, {}, {}};
  Arena scratch;
  for_each_field(
      one.batch, one.event(), scratch,
      [](void* context, std::string_view key, const FieldValue& value) {
        Arena arena;
        static_cast<JsonDom*>(context)->members.emplace_back(key, JsonDom::parse(json_text(value, arena)));
      },
      &dom);
  return dom;
}

/// One random edit of the event and of the model; what it was.
std::string random_edit(JsonCorpus& corpus, OneEvent& one, JsonDom& model) {
  const FieldPath path = random_path(corpus, model);
  const FieldTarget there(path);
  const std::string at(path.spelling());
  switch (corpus.below(8)) {
    case 0:
    case 1:
    case 2: {
      const std::string_view value = one.batch.arena.copy(corpus.value());
      const bool done = set(one.batch, one.event(), there, value);
      REQUIRE(done == model.set(path.steps(), JsonDom::parse(value)));
      return "set " + at + " " + std::string(value);
    }
    case 3:
    case 4:
      REQUIRE(remove(one.batch, one.event(), there) == model.remove(path.steps()));
      return "remove " + at;
    case 5:
    case 6: {
      const FieldPath to = random_path(corpus, model);
      const bool done = move(one.batch, one.event(), there, FieldTarget(to));
      REQUIRE(done == model.move(path.steps(), to.steps()));
      return "move " + at + " " + std::string(to.spelling());
    }
    default: {
      if (!corpus.one_in(4)) {
        FieldSet members;
        members.add(std::string(one.batch.arena.copy(path.steps()[0].key)), "[true]");
        for (const auto& member : members.members()) {
          set(one.batch, one.event(), member.name, "[true]");
          FieldPath::Step step{member.name, -1, KeyProbe(member.name)};
          (void)model.set({step}, JsonDom::parse("[true]"));
        }
        return "set member " + at;
      }
      FieldSelection selection;
      std::vector<JsonDom::Steps> paths;
      std::string said = "keep";
      for (std::uint64_t n = 1 + corpus.below(6); n > 0; --n) {
        const FieldPath kept = random_path(corpus, model);
        selection.add(kept);
        paths.push_back(kept.steps());
        said += " " + std::string(kept.spelling());
      }
      keep_only(one.batch, one.event(), selection);
      (void)model.keep_only(paths);
      return said;
    }
  }
}

void check(JsonCorpus& corpus, OneEvent& one, const JsonDom& model) {
  const std::string json = one.json();
  CAPTURE(json);
  REQUIRE(JsonReference::is_object(json));
  REQUIRE(JsonDom::parse(json) == model);
  REQUIRE(visited(one) == model);
  for (int i = 0; i < 4; ++i) {
    const FieldPath path = random_path(corpus, model);
    CAPTURE(std::string(path.spelling()));
    const auto found = find(one.batch, one.event(), path);
    const JsonDom* const wanted = model.find(path.steps());
    REQUIRE(found.has_value() == (wanted != nullptr));
    if (found) REQUIRE(JsonDom::parse(json_text(*found, one.batch.arena)) == *wanted);
  }
}

std::string random_logfmt(JsonCorpus& corpus) {
  static constexpr std::string_view kPairs[] = {"level=info", "a=1",  "msg=\"two words\"", "user=\"q\\\"x\"", "a=true",
                                                "tags=[x]",   "flag", "status=200",        "n=\"12\"",        "msg="};
  std::string line = "first=1";
  for (std::uint64_t n = corpus.below(6); n > 0; --n)
    line += " " + std::string(kPairs[corpus.below(std::size(kPairs))]);
  return line;
}

}  // namespace

TEST_CASE("field edits: random sequences on random events give what a plain tree gives") {
  for (std::uint64_t seed = 1; seed <= 4000; ++seed) {
    CAPTURE(seed);
    JsonCorpus corpus(seed);
    const std::uint64_t form = corpus.below(8);
    const std::string line = form == 0   ? random_logfmt(corpus)
                             : form == 1 ? "a plain line with \"quotes\""
                                         : corpus.line();
    CAPTURE(line);
    OneEvent one(line);
    REQUIRE(one.event().form == (form == 0 ? Form::fields : form == 1 ? Form::text : Form::json));
    JsonDom model = JsonDom::parse(one.json());
    std::string edits;
    for (std::uint64_t n = 1 + corpus.below(10); n > 0; --n) {
      edits += random_edit(corpus, one, model) + "\n";
      CAPTURE(edits);
      check(corpus, one, model);
    }
  }
}

TEST_CASE("field edits: what is missing on the way is made, what is no object is left alone") {
  OneEvent one(R"({"a":1,"n":null,"o":{"x":1},"l":[1]})");
  CHECK(one.put(".o.y.z", "2"));
  CHECK(one.put(".n.deep", "\"v\""));
  CHECK(one.put(".new.list[0].k", "true"));
  CHECK(one.put(".l[1]", "2"));
  CHECK_FALSE(one.put(".l[3]", "4"));
  CHECK_FALSE(one.put(".a.b", "3"));
  CHECK_FALSE(one.put(".o.x.b", "3"));
  CHECK_FALSE(one.put(".o[0]", "3"));
  CHECK_FALSE(one.put(".other[1]", "3"));
  CHECK(one.json() == R"({"a":1,"n":{"deep":"v"},"o":{"x":1,"y":{"z":2}},"l":[1,2],"new":{"list":[{"k":true}]}})");
}

TEST_CASE("field edits: a renamed member stays where it stands and is edited under its new name") {
  OneEvent one(R"({"msg":"hi","a":1,"message":"old"})");
  CHECK(one.give("msg", "message"));
  CHECK(one.json() == R"({"message":"hi","a":1})");
  CHECK_FALSE(one.give("msg", "x"));
  CHECK(one.put("message", "{\"text\":\"hi\"}"));
  CHECK(one.put(".message.lang", "\"en\""));
  CHECK(one.json() == R"({"message":{"text":"hi","lang":"en"},"a":1})");
  CHECK(one.give("message", "m"));
  CHECK(one.drop(".m.text"));
  CHECK(one.json() == R"({"m":{"lang":"en"},"a":1})");
  CHECK(one.drop("m"));
  CHECK_FALSE(one.drop("m"));
  CHECK(one.put("m", "5"));
  CHECK(one.json() == R"({"a":1,"m":5})");
}

TEST_CASE("field edits: a move that cannot be made changes nothing") {
  OneEvent one(R"({"a":{"b":[1,2]},"s":"text"})");
  CHECK_FALSE(one.give(".a.b[0]", ".s.x"));
  CHECK_FALSE(one.give(".a.c", ".x"));
  CHECK(one.json() == R"({"a":{"b":[1,2]},"s":"text"})");
  CHECK(one.give(".a.b[0]", "s"));
  CHECK(one.give("a", ".a.inner"));
  CHECK(one.json() == R"({"s":1,"a":{"inner":{"b":[2]}}})");
}

TEST_CASE("field edits: removing takes every member of the name, so nothing of it is left to be read") {
  OneEvent one(R"({"p":"1","u":{"p":"2","p":"3"},"\u0070":"4","u":{"p":"5","q":6}})");
  CHECK(one.drop("p"));
  CHECK(one.drop(".u.p"));
  CHECK(one.json() == R"({"u":{},"u":{"q":6}})");
}

TEST_CASE("field edits: all fields of a line of text can go") {
  OneEvent one("only text");
  keep_only(one.batch, one.event(), FieldSelection());
  CHECK(one.json() == "{}");
}
