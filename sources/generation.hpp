#pragma once

#include <cstdint>
#include <string_view>

namespace logpipe {

/// How old the generation of a log is by the number or date that its rotation appended: 0 for `app.log`, then
/// `app.log.1`, `app.log.2`, …; dates and times of five digits and more (`app.log-20240131`, `app.log.1706659200`) are
/// older than the log itself and the younger the larger. Compares names of one log; says nothing of different ones.
std::uint64_t generation_of(std::string_view path) noexcept;

/// The log of which `path` is a generation by its name: `app.log` of `app.log.1`; empty where it is none.
std::string_view log_of_generation(std::string_view path) noexcept;

/// Whether generation `a` is younger than `b`, which only says something of two numbers or two dates.
bool is_younger_generation(std::uint64_t a, std::uint64_t b) noexcept;

}  // namespace logpipe
