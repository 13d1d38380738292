#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "config/schema.hpp"
#include "config/units.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class OnScriptError : std::uint8_t { keep, discard };

/// Options of `lua`. `lua: TEXT` is short for `lua: {script: TEXT}`.
struct LuaOptions {
  config::Located<std::string> script;
  std::filesystem::path file;
  std::uint64_t max_instructions{1'000'000};
  config::Bytes max_memory{16 * 1024 * 1024};
  OnScriptError on_error{OnScriptError::keep};
};
const config::Schema<LuaOptions>& schema_of(config::Tag<LuaOptions>);

/// The options with their script read, ready to make stages of.
struct LuaScript;
/// Reads the script and runs its top level once; what is wrong is reported with its line.
std::shared_ptr<const LuaScript> load_script(const LuaOptions& options, config::Decoder& decoder);
/// Equal for scripts of the same text.
std::string content_of(const LuaScript& script);

/// Runs a script on every event. See docs/components/stages/lua.md.
std::unique_ptr<Stage> make_lua_stage(std::shared_ptr<const LuaScript> script, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::OnScriptError> {
  static constexpr EnumName<OnScriptError> values[] = {
      {"keep", OnScriptError::keep, "the event goes on, with what the script had changed before"},
      {"discard", OnScriptError::discard, "it is counted as failed and goes no further"},
  };
};
