#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "event/batch.hpp"

namespace logpipe {

/// A script, and what it may take.
struct LuaProgram {
  std::string text;
  std::string name;                       ///< as positions in messages call it: `pipeline.yaml`
  std::size_t first_line{1};              ///< of the text, for those positions
  std::uint64_t instructions{1'000'000};  ///< of the interpreter, for one event
  std::size_t memory{16 * 1024 * 1024};   ///< bytes of one state
};

/// One Lua 5.4 state with a loaded script, in which nothing reaches outside: of the standard library there are the
/// basic functions that load no code, `string`, `table`, `math` and `utf8`. A script that takes too many instructions
/// or too much memory gets an error; what a single library function does counts as one instruction. Threads: one at a
/// time.
class LuaState {
 public:
  /// Loads the script and runs its top level, which has to define `process`. Null and `error` when it cannot.
  static std::unique_ptr<LuaState> make(const LuaProgram& program, std::string& error);
  ~LuaState();
  LuaState(const LuaState&) = delete;
  LuaState& operator=(const LuaState&) = delete;

  enum class Verdict : std::uint8_t { keep, discard, failed };
  /// Calls `process(event)`. `failed`: error() says why; what the script changed before stays changed.
  Verdict process(Batch& batch, Event& event);
  /// Of the last call that failed: `pipeline.yaml:14: attempt to …`.
  const std::string& error() const noexcept;
  std::size_t memory() const noexcept;  ///< bytes in use

  struct Inside;

 private:
  LuaState();
  std::unique_ptr<Inside> inside_;
};

}  // namespace logpipe
