#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "event/batch.hpp"
#include "event/encoded.hpp"

namespace logpipe {

/// The structural characters of a block: one pass of simdjson's first stage over the whole block, 4 bytes per entry.
/// Owned by a Batch and reused. The method is that of "Parsing Gigabytes of JSON per Second" (Langdale, Lemire, 2019).
/// Limits: blocks below 4 GiB. Threads: one at a time.
class JsonTape {
 public:
  JsonTape();
  ~JsonTape();
  /// False when the bytes as a whole are not acceptable (a bad line among them): the caller goes line by line.
  /// `text` is followed by at least Block::kPadding readable bytes. Entries are relative to `text`.
  bool build(const char* text, std::size_t length);
  /// Appends the structurals of one line, with entries shifted by `base`; what is there keeps its place. False: the
  /// line is not acceptable and nothing was appended.
  bool append(const char* line, std::size_t length, std::uint32_t base);
  void clear() noexcept;
  const std::uint32_t* entries() const noexcept { return entries_; }
  std::size_t size() const noexcept { return size_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  const std::uint32_t* entries_{nullptr};
  std::size_t size_{0};
};

/// What parse_json found.
struct ParseCount {
  std::uint32_t parsed{0};
  std::uint32_t failed{0};
};

/// Understands every `text` event that is one JSON object as `json`; the others stay text and are marked parse_failed
/// (`mark_failed`), as do events that were edited as text. Checked are UTF-8, strings, the grammar of objects and
/// arrays at every depth (at most 1024), and that the object closes exactly at the line's end; how bare scalars and
/// escapes are spelled is checked only when `strict`, by the grammar of RFC 8259. One bad line costs only itself.
ParseCount parse_json(Batch& batch, bool strict, bool mark_failed = true);

/// What becomes of bytes that are not UTF-8 where text is written as JSON.
enum class InvalidUtf8 : std::uint8_t {
  replace,  ///< U+FFFD for each longest beginning of a character (Unicode, section 3.9), as RFC 8259 wants UTF-8
  hex,      ///< the text `\xNN` for each byte
  keep,     ///< as they are: not JSON for readers that look closely
};

/// Appends the event as one JSON object, without a line end: untouched runs of bytes are copied around the edits,
/// numbers and strings nobody edited keep their spelling. Text becomes {"message": …}.
void write_json(const Batch& batch, const Event& event, Encoded& out, InvalidUtf8 invalid = InvalidUtf8::replace);

/// `text` as a JSON string with quotes; invalid UTF-8 is replaced by U+FFFD (RFC 8259 section 8.1 wants UTF-8).
std::string json_string(std::string_view text);
void append_json_string(std::string_view text, Encoded& out);
std::string_view json_string(std::string_view text, Arena& arena);
bool valid_utf8(std::string_view text) noexcept;
/// A number by the grammar of RFC 8259 section 6, and nothing else.
bool is_json_number(std::string_view text) noexcept;
/// Undoes JSON escapes; bad ones are kept as they stand, lone surrogates become U+FFFD.
std::string_view json_unescape(std::string_view text, Arena& arena);

}  // namespace logpipe
