#include "stages/lua_state.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <lua.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "event/field_edit.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"
#include "event/level_detect.hpp"
#include "event/member_reader.hpp"

// An error inside a C function leaves it by longjmp, past the destructors of its locals. So none of the functions that
// Lua calls has a local with a destructor; what needs memory lives in Inside.

namespace logpipe {

namespace {

constexpr int kHookEvery = 1000;
constexpr int kDepthMax = 32;
constexpr std::size_t kTargetsMax = 4096;
constexpr std::size_t kNameBytesMax = 256;  // of names that are remembered
constexpr std::uint64_t kAccessCost = 10;   // instructions: what looking a field up takes
constexpr std::size_t kBytesPerInstruction = 16;
constexpr std::size_t kScratchKept = 1024 * 1024;
constexpr char kArrayType[] = "logpipe.array";
constexpr char kEventType[] = "logpipe.event";

}  // namespace

struct LuaState::Inside {
  lua_State* lua{nullptr};
  LuaProgram limits;
  std::size_t used{0};            // bytes
  std::uint64_t instructions{0};  // of this event
  bool unlimited{true};           // while the state itself is made
  Batch* batch{nullptr};          // of this event; null between events
  Event* event{nullptr};
  std::string error;
  std::string json;  // scratch: a value on its way into the event
  std::vector<std::vector<std::string>> keys{static_cast<std::size_t>(kDepthMax) + 1};  // scratch, by depth
  std::vector<std::pair<std::string_view, FieldValue>> fields;                          // scratch
  std::unordered_map<std::string, FieldTarget> targets;
  FieldTarget long_named;  // the last one that is not remembered
  LevelDetector detector;
  std::size_t arena_before{0};  // bytes of the batch's arena when this event began

  ~Inside() {
    if (lua != nullptr) lua_close(lua);
  }
  /// The field of that name or path; null when it is no path.
  const FieldTarget* target(std::string_view name) {
    json.assign(name);
    const auto known = targets.find(json);
    if (known != targets.end()) return &known->second;
    auto path = FieldPath::parse(name);
    if (!path) return nullptr;
    if (name.size() > kNameBytesMax) {
      long_named = FieldTarget(std::move(*path));
      return &long_named;
    }
    if (targets.size() == kTargetsMax) targets.clear();
    return &targets.emplace(json, FieldTarget(std::move(*path))).first->second;
  }
};

namespace {

using Inside = LuaState::Inside;

Inside& inside_of(lua_State* lua) {
  Inside* inside;
  std::memcpy(&inside, lua_getextraspace(lua), sizeof(inside));
  return *inside;
}

void* allocate(void* context, void* old, std::size_t old_size, std::size_t size) {
  auto& inside = *static_cast<Inside*>(context);
  if (old == nullptr) old_size = 0;  // then it tells a type
  if (size == 0) {
    std::free(old);
    inside.used -= old_size;
    return nullptr;
  }
  if (size > old_size && !inside.unlimited && inside.used + (size - old_size) > inside.limits.memory) return nullptr;
  void* now = std::realloc(old, size);
  if (now != nullptr) inside.used = inside.used - old_size + size;
  return now;
}

void count_instructions(lua_State* lua, lua_Debug*) {
  Inside& inside = inside_of(lua);
  inside.instructions += kHookEvery;
  if (inside.instructions > inside.limits.instructions) {
    // From here on every instruction is one too many, so that no pcall() of the script can go on.
    lua_sethook(lua, &count_instructions, LUA_MASKCOUNT, 1);
    luaL_where(lua, 0);  // the function that was running, as a hook has no place among the calls
    lua_pushfstring(lua, "took more than %I instructions", static_cast<LUAI_UACINT>(inside.limits.instructions));
    lua_concat(lua, 2);
    lua_error(lua);
  }
}

/// What C functions do costs instructions too, and what they take for the event counts as the script's memory.
void spend(lua_State* lua, std::uint64_t instructions) {
  Inside& inside = inside_of(lua);
  inside.instructions += instructions;
  if (inside.instructions > inside.limits.instructions) {
    lua_sethook(lua, &count_instructions, LUA_MASKCOUNT, 1);
    luaL_error(lua, "took more than %I instructions", static_cast<LUAI_UACINT>(inside.limits.instructions));
  }
  const std::size_t taken = inside.batch->arena.used() - inside.arena_before + inside.json.size();
  if (taken > inside.limits.memory) luaL_error(lua, "its changes take more than max_memory");
}

/// The event of this call; an error outside of one.
Event& event_at(lua_State* lua, int index) {
  Inside& inside = inside_of(lua);
  const auto* which = static_cast<Event* const*>(luaL_checkudata(lua, index, kEventType));
  if (inside.event == nullptr || *which != inside.event) luaL_error(lua, "this event is over");
  return *inside.event;
}

void push_string(lua_State* lua, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
}

void push_value(lua_State* lua, const FieldValue& value, int depth);

void push_number(lua_State* lua, std::string_view text) {
  char digits[64];
  if (text.size() >= sizeof(digits)) {
    push_string(lua, text);
    return;
  }
  std::memcpy(digits, text.data(), text.size());
  digits[text.size()] = '\0';
  if (lua_stringtonumber(lua, digits) == 0) push_string(lua, text);
}

/// Sets a member of the table at the top; of names that occur twice the first counts, as everywhere.
void set_first(lua_State* lua, std::string_view key, const FieldValue& value, int depth) {
  push_string(lua, key);
  lua_pushvalue(lua, -1);
  const bool there = lua_rawget(lua, -3) != LUA_TNIL;
  lua_pop(lua, 1);
  if (there) {
    lua_pop(lua, 1);
    return;
  }
  push_value(lua, value, depth);
  lua_rawset(lua, -3);
}

void push_table(lua_State* lua, const FieldValue& value, int depth) {
  if (depth == kDepthMax) luaL_error(lua, "a value is nested deeper than %d", kDepthMax);
  luaL_checkstack(lua, 6, "a nested value");
  lua_newtable(lua);
  if (value.type == ValueType::array) luaL_setmetatable(lua, kArrayType);  // so that an empty one stays one
  MemberReader members(value);
  std::string_view key;
  FieldValue member;
  for (lua_Integer i = 1; members.next(key, member); ++i) {
    spend(lua, 1);
    if (value.type == ValueType::object) {
      set_first(lua, json_unescape(key, inside_of(lua).batch->arena), member, depth + 1);
    } else {
      push_value(lua, member, depth + 1);
      lua_rawseti(lua, -2, i);
    }
  }
}

void push_value(lua_State* lua, const FieldValue& value, int depth) {
  switch (value.type) {
    case ValueType::null:
      // A table cannot hold nil.
      if (depth == 0) {
        lua_pushnil(lua);
      } else {
        lua_pushlightuserdata(lua, nullptr);
      }
      return;
    case ValueType::boolean:
      lua_pushboolean(lua, value.text == "true" ? 1 : 0);
      return;
    case ValueType::number:
      push_number(lua, value.text);
      return;
    case ValueType::string:
      push_string(lua, value_text(value, inside_of(lua).batch->arena));
      return;
    case ValueType::object:
    case ValueType::array:
      push_table(lua, value, depth);
      return;
  }
}

void append_value(lua_State* lua, int index, int depth);

void append_string(lua_State* lua, std::string_view text) {
  Inside& inside = inside_of(lua);
  const std::string_view json = json_string(text, inside.batch->arena);
  inside.json += json;
  spend(lua, 1 + text.size() / kBytesPerInstruction);
}

void append_number(lua_State* lua, int index) {
  char digits[64];
  char* end = digits;
  if (lua_isinteger(lua, index) != 0) {
    end = std::to_chars(digits, digits + sizeof(digits), lua_tointeger(lua, index)).ptr;
  } else {
    const lua_Number number = lua_tonumber(lua, index);
    if (!std::isfinite(number)) luaL_error(lua, "a number that is not finite cannot be a field");
    end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  }
  inside_of(lua).json.append(digits, static_cast<std::size_t>(end - digits));
}

/// The names in the table at `index`, sorted, so that the same table is always the same text.
void collect_keys(lua_State* lua, int index, std::vector<std::string>& keys) {
  keys.clear();
  lua_pushnil(lua);
  while (lua_next(lua, index) != 0) {
    lua_pop(lua, 1);
    if (lua_type(lua, -1) != LUA_TSTRING) luaL_error(lua, "the keys of a table that is a field are texts, or 1 to n");
    std::size_t length = 0;
    const char* text = lua_tolstring(lua, -1, &length);
    keys.emplace_back(text, length);
  }
  std::sort(keys.begin(), keys.end());
}

/// It was an array of the event's.
bool is_array(lua_State* lua, int index) {
  if (lua_getmetatable(lua, index) == 0) return false;
  luaL_getmetatable(lua, kArrayType);
  const bool array = lua_rawequal(lua, -1, -2) != 0;
  lua_pop(lua, 2);
  return array;
}

void append_table(lua_State* lua, int index, int depth) {
  if (depth == kDepthMax) luaL_error(lua, "a table is nested deeper than %d, or within itself", kDepthMax);
  luaL_checkstack(lua, 4, "a nested table");
  index = lua_absindex(lua, index);
  Inside& inside = inside_of(lua);
  const auto length = static_cast<lua_Integer>(lua_rawlen(lua, index));
  if (length != 0 || is_array(lua, index)) {
    inside.json += '[';
    for (lua_Integer i = 1; i <= length; ++i) {
      if (i != 1) inside.json += ',';
      lua_rawgeti(lua, index, i);
      append_value(lua, -1, depth + 1);
      lua_pop(lua, 1);
    }
    inside.json += ']';
    return;
  }
  auto& keys = inside.keys[static_cast<std::size_t>(depth)];
  collect_keys(lua, index, keys);
  inside.json += '{';
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i != 0) inside.json += ',';
    append_string(lua, keys[i]);
    inside.json += ':';
    push_string(lua, keys[i]);
    lua_rawget(lua, index);
    append_value(lua, -1, depth + 1);
    lua_pop(lua, 1);
  }
  inside.json += '}';
}

void append_value(lua_State* lua, int index, int depth) {
  spend(lua, 1);
  switch (lua_type(lua, index)) {
    case LUA_TLIGHTUSERDATA:  // logpipe.null is the only one
    case LUA_TNIL:
      inside_of(lua).json += "null";
      return;
    case LUA_TBOOLEAN:
      inside_of(lua).json += lua_toboolean(lua, index) != 0 ? "true" : "false";
      return;
    case LUA_TNUMBER:
      append_number(lua, index);
      return;
    case LUA_TSTRING: {
      std::size_t length = 0;
      const char* text = lua_tolstring(lua, index, &length);
      append_string(lua, {text, length});
      return;
    }
    case LUA_TTABLE:
      append_table(lua, index, depth);
      return;
    default:
      luaL_error(lua, "a %s cannot be a field", luaL_typename(lua, index));
  }
}

const FieldTarget& target_at(lua_State* lua, int index) {
  std::size_t length = 0;
  const char* name = luaL_checklstring(lua, index, &length);
  const FieldTarget* target = inside_of(lua).target({name, length});
  if (target == nullptr) luaL_error(lua, "\"%s\" is no field: expected a name, or a path such as .user.id", name);
  return *target;
}

int get_field(lua_State* lua) {
  const Event& event = event_at(lua, 1);
  spend(lua, kAccessCost);
  const auto value = find(*inside_of(lua).batch, event, target_at(lua, 2).path());
  if (value) {
    push_value(lua, *value, 0);
  } else {
    lua_pushnil(lua);
  }
  return 1;
}

int set_field(lua_State* lua) {
  Event& event = event_at(lua, 1);
  const FieldTarget& target = target_at(lua, 2);
  Inside& inside = inside_of(lua);
  inside.json.clear();
  spend(lua, kAccessCost);
  if (lua_isnil(lua, 3)) {
    remove(*inside.batch, event, target);
    return 0;
  }
  inside.json.clear();  // where the target's name was
  append_value(lua, 3, 0);
  if (!set(*inside.batch, event, target, inside.batch->arena.copy(inside.json))) {
    luaL_error(lua, "\"%s\" cannot be set: something on the way to it is no object", lua_tostring(lua, 2));
  }
  return 0;
}

/// pairs(event): over a copy of its fields, so that they can change meanwhile.
int list_fields(lua_State* lua) {
  const Event& event = event_at(lua, 1);
  Inside& inside = inside_of(lua);
  inside.fields.clear();
  for_each_field(
      *inside.batch, event, inside.batch->arena,
      [](void* context, std::string_view key, const FieldValue& value) {
        static_cast<Inside*>(context)->fields.emplace_back(key, value);
      },
      &inside);
  lua_getglobal(lua, "next");
  lua_newtable(lua);
  for (const auto& [key, value] : inside.fields) {
    spend(lua, kAccessCost);
    if (value.type != ValueType::null) set_first(lua, key, value, 0);
  }
  lua_pushnil(lua);
  return 3;
}

int raw_of(lua_State* lua) {
  const Event& event = event_at(lua, 1);
  if (event.redacted) {
    lua_pushnil(lua);
  } else {
    push_string(lua, inside_of(lua).batch->text(event));
  }
  return 1;
}

int level_of(lua_State* lua) {
  const Event& event = event_at(lua, 1);
  Inside& inside = inside_of(lua);
  // Not remembered, as the script may change the very field it was found in.
  push_string(lua, level_name(event.level_known ? event.level : inside.detector.detect(*inside.batch, event)));
  return 1;
}

/// setmetatable() without finalizers, which run where nothing counts their instructions.
int set_metatable(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  if (!lua_isnoneornil(lua, 2)) {
    luaL_checktype(lua, 2, LUA_TTABLE);
    if (lua_getfield(lua, 2, "__gc") != LUA_TNIL) luaL_error(lua, "__gc is not available here");
    lua_pop(lua, 1);
  }
  if (luaL_getmetafield(lua, 1, "__metatable") != LUA_TNIL) luaL_error(lua, "cannot change a protected metatable");
  lua_settop(lua, 2);
  lua_setmetatable(lua, 1);
  return 1;
}

/// What a script can use: nothing that loads code or reaches outside.
void open_libraries(lua_State* lua) {
  const luaL_Reg libraries[] = {{LUA_GNAME, luaopen_base},
                                {LUA_TABLIBNAME, luaopen_table},
                                {LUA_STRLIBNAME, luaopen_string},
                                {LUA_MATHLIBNAME, luaopen_math},
                                {LUA_UTF8LIBNAME, luaopen_utf8}};
  for (const luaL_Reg& library : libraries) {
    luaL_requiref(lua, library.name, library.func, 1);
    lua_pop(lua, 1);
  }
  for (const char* name : {"dofile", "loadfile", "load", "print", "collectgarbage", "warn", "xpcall"}) {
    lua_pushnil(lua);
    lua_setglobal(lua, name);
  }
  lua_register(lua, "setmetatable", &set_metatable);
  const luaL_Reg own[] = {{"raw", raw_of}, {"level", level_of}, {nullptr, nullptr}};
  luaL_newlib(lua, own);
  lua_pushlightuserdata(lua, nullptr);
  lua_setfield(lua, -2, "null");
  lua_setglobal(lua, "logpipe");
  luaL_newmetatable(lua, kArrayType);
  lua_pop(lua, 1);
  luaL_newmetatable(lua, kEventType);
  const luaL_Reg access[] = {
      {"__index", get_field}, {"__newindex", set_field}, {"__pairs", list_fields}, {nullptr, nullptr}};
  luaL_setfuncs(lua, access, 0);
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pop(lua, 1);
}

/// Protected, as each of it can run out of memory: libraries, the script's top level, and the event object.
int prepare(lua_State* lua) {
  Inside& inside = inside_of(lua);
  open_libraries(lua);
  inside.unlimited = false;
  const std::string& text = inside.limits.text;
  const std::string& name = inside.limits.name;
  // In text only: code made elsewhere can crash the interpreter.
  if (luaL_loadbufferx(lua, text.data(), text.size(), name.c_str(), "t") != LUA_OK) lua_error(lua);
  lua_call(lua, 0, 0);
  if (lua_getglobal(lua, "process") != LUA_TFUNCTION) {
    luaL_error(lua, "expected a function `process(event)`");
  }
  lua_pop(lua, 1);
  auto** which = static_cast<Event**>(lua_newuserdatauv(lua, sizeof(Event*), 0));
  *which = nullptr;
  luaL_setmetatable(lua, kEventType);
  lua_setfield(lua, LUA_REGISTRYINDEX, "event");
  return 0;
}

int call_process(lua_State* lua) {
  lua_getglobal(lua, "process");
  lua_getfield(lua, LUA_REGISTRYINDEX, "event");
  *static_cast<Event**>(lua_touserdata(lua, -1)) = inside_of(lua).event;
  lua_call(lua, 1, 1);
  return 1;
}

std::string message_at_top(lua_State* lua) {
  std::size_t length = 0;
  const char* text = lua_type(lua, -1) == LUA_TSTRING ? lua_tolstring(lua, -1, &length) : nullptr;
  return text == nullptr ? "an error that is no text" : std::string(text, length);
}

}  // namespace

LuaState::LuaState() : inside_(std::make_unique<Inside>()) {}
LuaState::~LuaState() = default;

std::unique_ptr<LuaState> LuaState::make(const LuaProgram& program, std::string& error) {
  std::unique_ptr<LuaState> state(new LuaState);
  Inside& inside = *state->inside_;
  inside.limits = program;
  inside.limits.name = "=" + program.name;
  // So that positions are those of the file the script stands in.
  inside.limits.text = std::string(std::max<std::size_t>(program.first_line, 1) - 1, '\n') + program.text;
  inside.lua = lua_newstate(&allocate, &inside);
  if (inside.lua == nullptr) {
    error = "not enough memory";
    return nullptr;
  }
  Inside* self = &inside;
  std::memcpy(lua_getextraspace(inside.lua), &self, sizeof(self));
  lua_sethook(inside.lua, &count_instructions, LUA_MASKCOUNT, kHookEvery);
  lua_pushcfunction(inside.lua, &prepare);
  if (lua_pcall(inside.lua, 0, 0, 0) != LUA_OK) {
    error = message_at_top(inside.lua);
    return nullptr;
  }
  inside.limits.text.clear();
  inside.limits.text.shrink_to_fit();
  return state;
}

LuaState::Verdict LuaState::process(Batch& batch, Event& event) {
  Inside& inside = *inside_;
  inside.batch = &batch;
  inside.event = &event;
  inside.instructions = 0;
  inside.json.clear();
  inside.arena_before = batch.arena.used();
  lua_sethook(inside.lua, &count_instructions, LUA_MASKCOUNT, kHookEvery);
  lua_pushcfunction(inside.lua, &call_process);
  const int status = lua_pcall(inside.lua, 0, 1, 0);
  Verdict verdict = Verdict::keep;
  if (status != LUA_OK) {
    inside.error = message_at_top(inside.lua);
    verdict = Verdict::failed;
  } else if (lua_isboolean(inside.lua, -1) && lua_toboolean(inside.lua, -1) == 0) {
    verdict = Verdict::discard;
  }
  lua_settop(inside.lua, 0);
  if (inside.json.capacity() > kScratchKept) std::string().swap(inside.json);
  inside.batch = nullptr;
  inside.event = nullptr;
  return verdict;
}

const std::string& LuaState::error() const noexcept {
  return inside_->error;
}
std::size_t LuaState::memory() const noexcept {
  return inside_->used;
}

}  // namespace logpipe
