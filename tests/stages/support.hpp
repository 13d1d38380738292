#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/load.hpp"
#include "event/json.hpp"
#include "stages/registry.hpp"
#include "tests/support/blocks.hpp"

namespace logpipe::test {

/// A directory of its own, removed at the end.
class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "logpipe-stages-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

/// One finding a line: `2:7 LP0103 stages[0].level: message | hint`.
inline std::string summary(const config::Diagnostics& diagnostics) {
  std::string out;
  for (const config::Diagnostic& finding : diagnostics.sorted()) {
    out += std::to_string(finding.mark.line) + ":" + std::to_string(finding.mark.column) + " " +
           config::to_string(finding.code) + " " + finding.path + ": " + finding.message;
    if (!finding.hint.empty()) out += " | " + finding.hint;
    out += "\n";
  }
  return out;
}

/// The stages of a configuration text, decoded as the daemon does it.
struct Decoded {
  explicit Decoded(std::string_view yaml) {
    const config::Node root =
        config::load_text("pipeline.yaml", std::string(yaml), config::FixedEnvironment(), diagnostics);
    const config::Node* stages = root.find("stages");
    REQUIRE_MESSAGE(stages != nullptr, config::render_text(diagnostics));
    for (std::size_t i = 0; i < stages->items.size(); ++i) {
      const std::string path = "stages[" + std::to_string(i) + "]";
      config::NamedChoice choice;
      config::Decoder item(stages->items[i], diagnostics, path);
      REQUIRE(item.into(choice));
      const StageEntry* entry = find_stage(choice.name);
      REQUIRE_MESSAGE(entry != nullptr, choice.name);
      config::Decoder decoder(choice.options, diagnostics, path + "." + choice.name);
      plans.push_back(entry->decode(decoder));
      names.push_back(choice.name);
    }
  }

  config::Diagnostics diagnostics;
  std::vector<std::unique_ptr<StagePlan>> plans;
  std::vector<std::string> names;
};

inline std::string findings(std::string_view yaml) {
  return summary(Decoded(yaml).diagnostics);
}

/// Some stages, and one batch at a time sent through them.
class Pipeline {
 public:
  explicit Pipeline(std::string_view yaml) {
    const Decoded decoded(yaml);
    REQUIRE_MESSAGE(decoded.diagnostics.ok(), config::render_text(decoded.diagnostics));
    for (std::size_t i = 0; i < decoded.plans.size(); ++i) {
      stages_.push_back(decoded.plans[i]->make({decoded.names[i], static_cast<std::uint32_t>(i), &metrics, nullptr}));
    }
  }
  ~Pipeline() { batch.close(); }

  /// What is left of the lines, as JSON, each followed by a line end.
  std::string run(std::string_view lines) {
    batch.open(freeze(block_of(pool_, lines)));
    for (const auto& stage : stages_) stage->apply(batch, {});
    std::string text;
    for (const Event& event : batch.events) {
      Encoded out;
      write_json(batch, event, out);
      iovec parts[8];
      for (std::size_t done = 0; done < out.size();) {
        const std::size_t count = out.iovecs(&batch.block(), done, parts, 8);
        for (std::size_t i = 0; i < count; ++i) {
          text.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
          done += parts[i].iov_len;
        }
      }
      text += '\n';
    }
    return text;
  }

  /// What was taken out, as `component/reason/discarded|failed events bytes`, one a line.
  std::string tallies() const {
    std::string text;
    for (const Tally& tally : batch.tallies) {
      text += std::to_string(tally.component) + "/" + std::string(reason_name(tally.reason)) + "/" +
              (tally.intentional ? "discarded " : "failed ") + std::to_string(tally.events) + " " +
              std::to_string(tally.bytes) + "\n";
    }
    return text;
  }

  const Stage& stage(std::size_t index) const { return *stages_[index]; }

  MetricsRegistry metrics;
  Batch batch;

 private:
  BlockPool pool_{64 * 1024 * 1024};
  std::vector<std::unique_ptr<Stage>> stages_;
};

}  // namespace logpipe::test
