#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "delivery/checkpoint.hpp"
#include "event/shared_text.hpp"
#include "telemetry/ledger.hpp"

/// What the journal says, as plain values, and its records as bytes. The layout is in docs/adr/0002-journal-format.md.
namespace logpipe::journal {

/// A file is known by what it is, not by its path.
struct OutputKey {
  std::uint64_t device{0};
  std::uint64_t inode{0};
  friend auto operator<=>(const OutputKey&, const OutputKey&) = default;
};
struct Output {
  std::string path;
  std::uint64_t length{0};
  std::uint64_t birth_ns{0};  ///< 0: not known
  friend bool operator==(const Output&, const Output&) = default;
};

using Position = KnownPosition;

// The records.

/// A source file, or what has changed about it.
struct FileRecord {
  std::uint64_t id{0};
  std::string source;
  SharedText path;
  FileIdentity identity;
  std::uint64_t first_offset{0};
  /// Of a file that is read for one sink alone: the id it has where it is read for all, 0 when it was not known there;
  /// and where the others were done with it, once they are.
  std::uint64_t origin{0};
  std::uint64_t others_end{0};
};
/// One sink's step: positions and lengths that belong together. All of it holds or nothing of it.
struct SinkRecord {
  std::string sink;
  std::vector<std::pair<std::uint64_t, Position>> positions;  ///< by file id
  std::vector<std::pair<OutputKey, Output>> outputs;
  std::vector<OutputKey> retired;
  std::vector<LedgerSnapshot::Lifetime> lifetime;  ///< by pipeline; replaces what was known of it
  [[nodiscard]] bool empty() const noexcept {
    return positions.empty() && outputs.empty() && retired.empty() && lifetime.empty();
  }
};
/// Files whose ids will not appear again.
struct ForgottenRecord {
  std::vector<std::uint64_t> ids;
};

struct SinkState {
  std::map<std::uint64_t, Position> positions;  ///< by file id
  std::map<OutputKey, Output> outputs;
  std::map<std::string, LedgerSnapshot::Sink> lifetime;  ///< by pipeline
  friend bool operator==(const SinkState&, const SinkState&) = default;
};
/// Everything a journal holds. Replaying its records and committing them go through the same `apply`.
struct State {
  std::uint64_t next_file_id{1};
  std::map<std::uint64_t, FileRecord> files;
  std::map<std::string, SinkState> sinks;

  void apply(const FileRecord& record);
  void apply(const SinkRecord& record);
  void apply(const ForgottenRecord& record);
};

enum class RecordType : std::uint16_t { snapshot = 1, file = 2, sink = 3, forgotten = 4 };

// Payloads.
std::string encode(const FileRecord& record);
std::string encode(const SinkRecord& record);
std::string encode(const ForgottenRecord& record);
/// The whole state in one record, so that it is there or not.
std::string encode(const State& state);

/// Decodes a payload and applies it. False, and nothing applied, when it is not a well-formed record of this version.
bool replay(State& state, std::uint16_t type, std::string_view payload);

}  // namespace logpipe::journal
