#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.hpp"
#include "sinks/file_layer.hpp"

namespace logpipe {

/// When a file sink puts its file aside and begins a new one, and how many of those it keeps.
struct RotateOptions {
  std::optional<config::Bytes> max_bytes;
  std::optional<std::chrono::seconds> every;
  std::optional<std::uint32_t> keep;
  std::optional<config::Bytes> keep_bytes;

  bool is_on() const noexcept { return max_bytes.has_value() || every.has_value(); }
};
const config::Schema<RotateOptions>& schema_of(config::Tag<RotateOptions>);

using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;

/// Which period of that length a moment is in, counted from 1970: a day begins at midnight UTC.
std::int64_t period_of(WallTime moment, std::chrono::seconds length);

/// A rotated file is called like the file, with the moment of the rotation: `out.log-20260131T235959.123Z`. An ending
/// that tells the compression stays the end: `out.log-20260131T235959.123Z.gz`. One rename makes it, so that a crash
/// finds either the one or the other, and no file is renamed twice.
std::string rotated_name(std::string_view name, WallTime moment);
/// The moment, when `candidate` is exactly what rotated_name() makes of `name`.
std::optional<WallTime> rotated_moment(std::string_view name, std::string_view candidate);

/// A rotated file of a path.
struct RotatedFile {
  std::string path;
  WallTime moment;
};
/// All of them, the youngest first.
std::vector<RotatedFile> rotated_files(FileLayer& layer, const std::string& path);

/// The moment for the name of the next one: `now`, or later than all `others` when the clock has been put back, since
/// their order is that of their names. One that is 100 years ahead is no work of a clock, and does not count.
WallTime moment_after(const std::vector<RotatedFile>& others, WallTime now);

/// Changes a path whose name looks like one that rotation makes (the last character of the moment becomes `_`). A field
/// may have any value, and what is made of it must be no rotated file of another path.
void make_unlike_rotated(std::string& path);

/// Removes what is beyond `keep` and `keep_bytes`, the oldest first; never the youngest, and nothing that `in_use` says
/// is still written to. Returns how many have gone, and puts the first failure into `error`.
std::size_t remove_old(FileLayer& layer, const std::string& path, const RotateOptions& options,
                       const std::function<bool(const struct ::stat&)>& in_use, std::string& error);

}  // namespace logpipe
