#include "stages/lua.hpp"

#include <string>
#include <thread>
#include <vector>

#include "config/load.hpp"
#include "event/encoded.hpp"
#include "stages/lua_state.hpp"
#include "tests/stages/one_stage.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// What is wrong with a stage's options, rendered; empty: nothing.
std::string wrong_with(const std::string& yaml, std::shared_ptr<const LuaScript>* script = nullptr) {
  config::Diagnostics diagnostics;
  const config::Node root = config::load_text("p.yaml", yaml, config::FixedEnvironment(), diagnostics);
  const config::Node* node = root.find("lua");
  REQUIRE(node != nullptr);
  config::Decoder decoder(*node, diagnostics, "lua");
  LuaOptions options;
  if (decoder.into(options)) {
    auto loaded = load_script(options, decoder);
    if (script != nullptr) *script = std::move(loaded);
  }
  return config::render_text(diagnostics);
}

std::unique_ptr<Stage> stage_of(const std::string& yaml, MetricsRegistry* metrics = nullptr) {
  std::shared_ptr<const LuaScript> script;
  const std::string wrong = wrong_with("lua:\n" + yaml, &script);
  REQUIRE(wrong == "");
  return make_lua_stage(std::move(script), {"lua", 0, metrics, nullptr});
}

std::string json_of(const Batch& batch, const Event& event) {
  Encoded out;
  write_json(batch, event, out);
  iovec pieces[16];
  std::string text;
  const std::size_t count = out.iovecs(&batch.block(), 0, pieces, 16);
  for (std::size_t i = 0; i < count; ++i) text.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  return text;
}

/// What `process(event)` with this body makes of one line.
std::string made_of(const std::string& body, std::string_view line) {
  const auto stage = stage_of("  script: |\n    function process(event)\n      " + body + "\n    end\n");
  Batches batches;
  if (batches.count_through(*stage, std::string(line) + "\n") == 0) return "gone";
  return json_of(batches.batch, batches.batch.events[0]);
}

}  // namespace

TEST_CASE("lua: fields are read as what they are") {
  const std::string line = R"({"s":"a\nb","i":9007199254740993,"f":1.5,"t":true,"n":null,"o":{"k":[1,"x",{"d":2}]}})";
  CHECK(made_of("event.out = event.s .. type(event.s)", line).ends_with(R"("out":"a\nbstring"})"));
  CHECK(made_of("event.out = event.i + 1", line).ends_with(R"("out":9007199254740994})"));
  CHECK(made_of("event.out = event.f * 2", line).ends_with(R"("out":3})"));
  CHECK(made_of("event.out = not event.t", line).ends_with(R"("out":false})"));
  CHECK(made_of("event.out = tostring(event.n) .. tostring(event.missing)", line).ends_with(R"("out":"nilnil"})"));
  CHECK(made_of("event.out = event.o.k[3].d + #event.o.k", line).ends_with(R"("out":5})"));
  CHECK(made_of("event.out = event['.o.k[1]']", line).ends_with(R"("out":"x"})"));
  CHECK(made_of("event.out = event.message:upper()", "plain text") == R"({"message":"plain text","out":"PLAIN TEXT"})");
}

TEST_CASE("lua: fields are set, replaced, made on the way and removed") {
  const std::string line = R"({"a":1,"o":{"k":1}})";
  CHECK(made_of("event.a = 'x\\\"y'", line) == R"({"a":"x\"y","o":{"k":1}})");
  CHECK(made_of("event['.o.k'] = 2; event['.o.new.deep'] = true", line) ==
        R"({"a":1,"o":{"k":2,"new":{"deep":true}}})");
  CHECK(made_of("event.a = nil; event['.o.k'] = nil", line) == R"({"o":{}})");
  CHECK(made_of("event.t = {1, 'two', {b = 1, a = {}}}", line).ends_with(R"("t":[1,"two",{"a":{},"b":1}]})"));
  CHECK(made_of("local o = event.o; o.k = 5; event.o = o", line) == R"({"a":1,"o":{"k":5}})");
  const std::string nested = R"({"v":[[],{},null,{"n":null,"a":[null,7]}]})";
  CHECK(made_of("local v = event.v event.v = nil event.v = v", nested) ==
        R"({"v":[[],{},null,{"a":[null,7],"n":null}]})");
  CHECK(made_of("event.a = logpipe.null", line) == R"({"a":null,"o":{"k":1}})");
  CHECK(made_of("local n = 0 for k, v in pairs(event) do n = n + v end event.n = n", R"({"a":1,"a":5,"b":null})")
            .ends_with(R"("n":1})"));
  CHECK(made_of("event.added = 7", "text") == R"({"message":"text","added":7})");
  CHECK(made_of("for k, v in pairs(event) do event[k .. '_copy'] = v end event.o = nil event.o_copy = nil", line) ==
        R"({"a":1,"a_copy":1})");
}

TEST_CASE("lua: the line and the level, and what goes") {
  CHECK(made_of("event.raw = logpipe.raw(event)", R"({"a":1})") == R"({"a":1,"raw":"{\"a\":1}"})");
  CHECK(made_of("event.l = logpipe.level(event)", R"({"level":"ERR"})").ends_with(R"("l":"error"})"));
  CHECK(made_of("return event.a ~= 1", R"({"a":1})") == "gone");
  CHECK(made_of("return event.a ~= 1", R"({"a":2})") == R"({"a":2})");
  CHECK(made_of("return true", "x") == R"({"message":"x"})");
}

TEST_CASE("lua: what is discarded and what fails is counted apart") {
  MetricsRegistry metrics;
  const std::string script =
      "  script: |\n    function process(event)\n      if event.n == 2 then return false end\n"
      "      event.m = event.n + 1\n    end\n  on_error: discard\n";
  const auto stage = stage_of(script, &metrics);
  Batches batches;
  CHECK(batches.count_through(*stage, "{\"n\":1}\n{\"n\":2}\n{\"n\":\"x\"}\n{\"n\":{}}\n{\"n\":5}\n") == 2);
  REQUIRE(batches.batch.tallies.size() == 2);
  CHECK(batches.batch.tallies[0].events == 1);
  CHECK(batches.batch.tallies[0].intentional);
  CHECK(batches.batch.tallies[1].events == 2);
  CHECK_FALSE(batches.batch.tallies[1].intentional);
  for (const Tally& tally : batches.batch.tallies) CHECK(tally.reason == Reason::script);
  CHECK(metrics.value("logpipe_script_errors_total", {{"component", "lua"}}) == 2);
  const auto keeping = stage_of(script.substr(0, script.find("  on_error")));
  CHECK(batches.count_through(*keeping, "{\"n\":1}\n{\"n\":2}\n{\"n\":{}}\n") == 2);
}

TEST_CASE("lua: a script is stopped at its limits, whatever it does about errors") {
  const auto verdict = [](const std::string& body, std::string* error) {
    LuaProgram program;
    program.text = "function process(event)\n" + body + "\nend\n";
    program.name = "s";
    program.instructions = 100'000;
    program.memory = 1024 * 1024;
    const auto state = LuaState::make(program, *error);
    REQUIRE(state != nullptr);
    BlockPool pool(1 << 20);
    Batch batch;
    batch.open(freeze(block_of(pool, "{\"a\":1}\n{\"a\":2}\n")));
    (void)parse_json(batch, false);
    const auto first = state->process(batch, batch.events[0]);
    *error = state->error();
    CHECK(state->memory() <= program.memory);
    // It goes on with the next event all the same.
    CHECK(state->process(batch, batch.events[1]) == LuaState::Verdict::keep);
    return first;
  };
  std::string error;
  const std::string first = "if event.a == 1 then ";
  CHECK(verdict(first + "while true do end end", &error) == LuaState::Verdict::failed);
  CHECK(error == "s:2: took more than 100000 instructions");
  CHECK(verdict(first + "while true do pcall(function() while true do end end) end end", &error) ==
        LuaState::Verdict::failed);
  CHECK(verdict(first + "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end", &error) ==
        LuaState::Verdict::failed);
  CHECK(error == "not enough memory");
  CHECK(verdict(first + "return ('x'):rep(1 << 40) end", &error) == LuaState::Verdict::failed);
  CHECK(verdict(first + "local t = {} t.t = t event.x = t end", &error) == LuaState::Verdict::failed);
  CHECK(error == "s:2: a table is nested deeper than 32, or within itself");
  CHECK(verdict(first + "local t = {} for i = 1, 31 do t = {t, t} end event.x = t end", &error) ==
        LuaState::Verdict::failed);
  CHECK(error == "s:2: took more than 100000 instructions");
  CHECK(verdict(first + "local s, t = ('x'):rep(100000), {} for i = 1, 100 do t[i] = s end event.x = t end", &error) ==
        LuaState::Verdict::failed);
  CHECK(verdict(first + "for i = 1, 900 do event.x = ('x'):rep(1500) end end", &error) == LuaState::Verdict::failed);
  CHECK(error == "s:2: its changes take more than max_memory");
  CHECK(verdict(first + "event['.' .. ('a.'):rep(100000) .. 'a'] = 1 end", &error) == LuaState::Verdict::failed);
  CHECK(verdict(first + "event.x = print end", &error) == LuaState::Verdict::keep);  // there is none: nil
  CHECK(verdict(first + "event.x = pairs end", &error) == LuaState::Verdict::failed);
  CHECK(error == "s:2: a function cannot be a field");
  CHECK(verdict(first + "event['.a.b'] = 1 end", &error) == LuaState::Verdict::failed);
  CHECK(verdict(first + "local function f() return f() + 1 end f() end", &error) == LuaState::Verdict::failed);
  CHECK(verdict(first + "error({}) end", &error) == LuaState::Verdict::failed);
  CHECK(error == "an error that is no text");
}

TEST_CASE("lua: nothing reaches outside") {
  for (const char* name :
       {"io", "os", "require", "package", "debug", "load", "loadfile", "dofile", "print", "coroutine", "xpcall"}) {
    CAPTURE(name);
    CHECK(made_of("event.out = type(" + std::string(name) + ")", "x") == R"({"message":"x","out":"nil"})");
  }
  CHECK(made_of("event.out = pcall(setmetatable, {}, {__gc = function() end})", "x") ==
        R"({"message":"x","out":false})");
  CHECK(made_of("event.out = getmetatable(event)", "x") == R"({"message":"x","out":false})");
  CHECK(made_of("event.out = #setmetatable({}, {__len = function() return 3 end})", "x") ==
        R"({"message":"x","out":3})");
}

TEST_CASE("lua: what is wrong with a script is told with its place in the file") {
  CHECK(wrong_with("lua:\n  script: |\n    function process(event)\n      local x = = 1\n    end\n")
            .find("p.yaml:4:5: error") != std::string::npos);
  CHECK(wrong_with("lua: 'x = 1'\n").find("expected a function `process(event)`") != std::string::npos);
  CHECK(wrong_with("lua:\n  script: |\n    while true do end\n").find("p.yaml:3:5: error") != std::string::npos);
  CHECK(wrong_with("lua: {max_memory: 1MiB}\n").find("expected a script") != std::string::npos);
  CHECK(wrong_with("lua: {file: /nowhere.lua}\n").find("cannot read it") != std::string::npos);
  CHECK(wrong_with("lua: {file: /}\n").find("not a regular file") != std::string::npos);
  CHECK(wrong_with("lua: {script: x, file: y}\n").find("only one of them") != std::string::npos);
}

TEST_CASE("lua: several workers run the same script, each in a state of its own") {
  const auto stage = stage_of("  script: |\n    n = 0\n    function process(event) n = n + 1 event.n = n end\n");
  std::vector<std::thread> workers;
  std::vector<std::size_t> left(4);
  for (std::size_t i = 0; i < left.size(); ++i) {
    workers.emplace_back([&, i] {
      Batches batches;
      for (int round = 0; round < 50; ++round) left[i] += batches.count_through(*stage, repeat("{\"a\":1}\n", 20));
    });
  }
  for (std::thread& worker : workers) worker.join();
  for (const std::size_t each : left) CHECK(each == 1000);
}
