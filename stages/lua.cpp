#include "stages/lua.hpp"

#include <algorithm>
#include <charconv>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/assert.hpp"
#include "stages/file_text.hpp"
#include "stages/lua_state.hpp"
#include "stages/shared_counter.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

struct LuaScript {
  LuaProgram program;
  OnScriptError on_error;
};

namespace {

constexpr std::size_t kFileBytesMax = 1024 * 1024;

class LuaStage final : public Stage {
 public:
  LuaStage(std::shared_ptr<const LuaScript> script, const StageServices& services)
      : script_(std::move(script)),
        name_("stages." + services.name),
        component_(services.component),
        errors_(services.metrics,
                {.name = "logpipe_script_errors_total", .help = "Events at which the script ended with an error."},
                {{"component", services.name}}) {}

  void apply(Batch& batch, const Context& run) const override {
    std::unique_ptr<LuaState> state = take();
    std::uint64_t errors = 0;
    // What fails comes after what is discarded, as each has a kind of its own in the ledger.
    failed_in(batch, *state, run, errors);
    give_back(std::move(state));
    errors_.add(errors);
  }

 private:
  /// One pass over the events: what the script discards goes on purpose, what it fails at does not.
  void failed_in(Batch& batch, LuaState& state, const Context& run, std::uint64_t& errors) const {
    std::vector<std::uint32_t> failed;  // offsets, ascending; empty on the usual path
    batch.retain(component_, true, [&](Event& event) -> std::optional<Reason> {
      if (run.done()) return std::nullopt;  // the batch is thrown away
      switch (state.process(batch, event)) {
        case LuaState::Verdict::keep:
          return std::nullopt;
        case LuaState::Verdict::discard:
          return Reason::script;
        case LuaState::Verdict::failed:
          break;
      }
      if (++errors == 1) log::warn(name_, "the script ended with an error", {{"error", state.error()}});
      if (script_->on_error == OnScriptError::discard) failed.push_back(event.offset);
      return std::nullopt;
    });
    if (failed.empty()) return;
    batch.retain(component_, false, [&](const Event& event) {
      const bool goes = std::binary_search(failed.begin(), failed.end(), event.offset);
      return goes ? std::optional<Reason>(Reason::script) : std::nullopt;
    });
  }

  /// A state that nobody else uses: one for each worker in the end, as each batch takes one.
  std::unique_ptr<LuaState> take() const {
    {
      // A mutex: two pointer moves for a batch.
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<LuaState> state = std::move(idle_.back());
        idle_.pop_back();
        return state;
      }
    }
    std::string error;
    std::unique_ptr<LuaState> state = LuaState::make(script_->program, error);
    LOGPIPE_ASSERT(state != nullptr);  // it could be made when the configuration was read
    return state;
  }
  void give_back(std::unique_ptr<LuaState> state) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(state));
  }

  const std::shared_ptr<const LuaScript> script_;
  const std::string name_;
  const std::uint32_t component_;
  const SharedCounter errors_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<LuaState>> idle_;  // guarded by mutex_
};

/// The line that a message of the interpreter begins with, `NAME:14: …`; 0 when there is none.
std::size_t line_in(std::string_view message, std::string_view name) {
  if (!message.starts_with(std::string(name) + ":")) return 0;
  message.remove_prefix(name.size() + 1);
  std::size_t line = 0;
  std::from_chars(message.data(), message.data() + message.size(), line);
  return line;
}

}  // namespace

const config::Schema<LuaOptions>& schema_of(config::Tag<LuaOptions>) {
  static const auto schema =
      config::Schema<LuaOptions>("Lua")
          .optional("script", &LuaOptions::script,
                    "The script, which defines `process(event)`. `lua: TEXT` is short for `lua: {script: TEXT}`.")
          .optional("file", &LuaOptions::file, "Or the file it stands in.")
          .optional("max_instructions", &LuaOptions::max_instructions,
                    "How many instructions of the interpreter one event may take.")
          .range(std::uint64_t{1000}, std::uint64_t{10'000'000'000})
          .optional("max_memory", &LuaOptions::max_memory, "How much memory the script may use, for each worker.")
          .range(config::Bytes(256 * 1024), config::Bytes(1ull << 32))
          .optional("on_error", &LuaOptions::on_error, "What becomes of an event at which the script fails.")
          .scalar(&LuaOptions::script);
  return schema;
}

std::shared_ptr<const LuaScript> load_script(const LuaOptions& options, config::Decoder& decoder) {
  auto script = std::make_shared<LuaScript>();
  script->on_error = options.on_error;
  LuaProgram& program = script->program;
  program.instructions = options.max_instructions;
  program.memory = options.max_memory.value;
  if (options.script->empty() == options.file.empty()) {
    decoder.error(options.file.empty() ? "expected a script" : "a script and a file: only one of them",
                  "write `script: |` and the script below, or `file: PATH`", config::Code::missing_option);
    return script;
  }
  config::Diagnostics& diagnostics = decoder.diagnostics();
  const config::Mark mark = options.script.mark;
  if (!options.file.empty()) {
    program.name = options.file.string();
    std::string why;
    std::optional<std::string> text = file_text(options.file, kFileBytesMax, why);
    if (!text) {
      decoder.error_at("file", "cannot read it: " + why, {}, config::Code::unreadable_file);
      return script;
    }
    program.text = std::move(*text);
  } else {
    program.text = *options.script;
    const bool placed = mark.known() && !mark.substituted;
    program.name = placed ? std::string(diagnostics.name_of(mark)) : "script";
    program.first_line = placed ? diagnostics.mark_within(mark, 0).line : 1;
  }
  std::string error;
  if (LuaState::make(program, error) != nullptr) return script;
  const std::size_t line = line_in(error, program.name);
  if (!options.file.empty() || line < program.first_line) {
    decoder.error(error, {}, config::Code::expression);
    return script;
  }
  // The line within the script, as bytes of it.
  std::size_t offset = 0;
  for (std::size_t i = program.first_line; i < line && offset < program.text.size(); ++i) {
    const std::size_t end = program.text.find('\n', offset);
    if (end == std::string::npos || end + 1 >= program.text.size()) break;
    offset = end + 1;
  }
  const std::string place = program.name + ":" + std::to_string(line) + ": ";
  if (error.starts_with(place)) error.erase(0, place.size());
  diagnostics.error_within(mark, offset, 1, options.script.path, error, {}, config::Code::expression);
  return script;
}

std::string content_of(const LuaScript& script) {
  return script.program.text;
}

std::unique_ptr<Stage> make_lua_stage(std::shared_ptr<const LuaScript> script, const StageServices& services) {
  return std::make_unique<LuaStage>(std::move(script), services);
}

}  // namespace logpipe
