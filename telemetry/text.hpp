#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

/// The little text writing that metrics, ledger, health and log have in common.
namespace logpipe::detail {

/// Appends `text` with every byte that is not part of valid UTF-8 replaced by U+FFFD.
void append_utf8(std::string& out, std::string_view text);

/// Appends a JSON string with its quotes. Control characters are escaped; bytes that are no UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// Appends the shortest decimal that reads back as `value`; integers without a fraction. `NaN`, `+Inf`, `-Inf`.
void append_number(std::string& out, double value);
void append_number(std::string& out, std::uint64_t value);
void append_number(std::string& out, std::int64_t value);

/// Appends `2026-11-21T08:15:30.250Z`.
void append_timestamp(std::string& out, std::chrono::system_clock::time_point time);

}  // namespace logpipe::detail
