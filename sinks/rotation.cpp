#include "sinks/rotation.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "delivery/compression.hpp"

namespace logpipe {
namespace {

using std::chrono::milliseconds;

/// `out.log.gz` as `out.log` and `.gz`.
std::pair<std::string_view, std::string_view> split(std::string_view name) {
  if (compression_of_name(name) == Compression::none) return {name, {}};
  const std::size_t dot = name.rfind('.');
  return {name.substr(0, dot), name.substr(dot)};
}

/// The number in `text` from `begin` on, all of its `length` digits; negative when they are none.
int number_at(std::string_view text, std::size_t begin, std::size_t length) {
  int number = 0;
  for (const char c : text.substr(begin, length)) {
    if (c < '0' || c > '9') return -1;
    number = number * 10 + (c - '0');
  }
  return number;
}

/// `20260131T235959.123Z`
constexpr std::size_t kMomentBytes = 20;
std::optional<WallTime> moment_of(std::string_view text) {
  if (text.size() != kMomentBytes || text[8] != 'T' || text[15] != '.' || text[19] != 'Z') return std::nullopt;
  const int year = number_at(text, 0, 4), month = number_at(text, 4, 2), day = number_at(text, 6, 2);
  const int hour = number_at(text, 9, 2), minute = number_at(text, 11, 2), second = number_at(text, 13, 2);
  const int fraction = number_at(text, 16, 3);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (year < 0 || month < 0 || day < 0 || !date.ok()) return std::nullopt;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 || fraction < 0) {
    return std::nullopt;
  }
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + milliseconds(fraction);
}

void verify(const RotateOptions& options, config::Decoder& decoder) {
  if (options.is_on()) return;
  for (const char* name : {"keep", "keep_bytes"}) {
    if (std::string_view(name) == "keep" ? !options.keep : !options.keep_bytes) continue;
    decoder.error_at(name, "tells what to keep, but nothing is rotated", "write `max_bytes` or `every`, too",
                     config::Code::conflict);
  }
}

}  // namespace

const config::Schema<RotateOptions>& schema_of(config::Tag<RotateOptions>) {
  using config::Bytes;
  using std::chrono::hours;
  using std::chrono::seconds;
  static const auto schema =
      config::Schema<RotateOptions>("Rotation")
          .optional(
              "max_bytes", &RotateOptions::max_bytes,
              "The file is rotated before a write that would make it larger. By default its size does not matter.")
          .range(Bytes(1024), Bytes(std::uint64_t{1} << 50))
          .optional("every", &RotateOptions::every,
                    "The file is rotated before the first write in another period: `1h` at the full hour, `24h` at "
                    "midnight UTC. By default its age does not matter.")
          .range(seconds(1), std::chrono::duration_cast<seconds>(hours(24 * 366)))
          .optional("keep", &RotateOptions::keep,
                    "How many rotated files stay; older ones are removed. By default all of them.")
          .range(1U, 1'000'000U)
          .optional("keep_bytes", &RotateOptions::keep_bytes,
                    "How many bytes of rotated files stay; the oldest are removed, the youngest never.")
          .range(Bytes(1024), Bytes(std::uint64_t{1} << 60))
          .verify_with(&verify);
  return schema;
}

std::int64_t period_of(WallTime moment, std::chrono::seconds length) {
  const std::int64_t seconds = std::chrono::floor<std::chrono::seconds>(moment).time_since_epoch().count();
  const std::int64_t period = seconds / length.count();
  return seconds % length.count() < 0 ? period - 1 : period;
}

std::string rotated_name(std::string_view name, WallTime moment) {
  const auto days = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(days);
  const std::chrono::hh_mm_ss<milliseconds> time(moment - days);
  char text[64];
  std::snprintf(text, sizeof text, "-%04d%02u%02uT%02d%02d%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()), static_cast<int>(time.subseconds().count()));
  const auto [stem, ending] = split(name);
  return std::string(stem) + text + std::string(ending);
}

std::optional<WallTime> rotated_moment(std::string_view name, std::string_view candidate) {
  const auto [stem, ending] = split(name);
  if (candidate.size() <= stem.size() + 1 + ending.size() || !candidate.starts_with(stem)) return std::nullopt;
  if (candidate[stem.size()] != '-' || !candidate.ends_with(ending)) return std::nullopt;
  candidate.remove_prefix(stem.size() + 1);
  candidate.remove_suffix(ending.size());
  return moment_of(candidate);
}

std::vector<RotatedFile> rotated_files(FileLayer& layer, const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string name = whole.filename().string();
  const std::string directory = whole.has_parent_path() ? whole.parent_path().string() : ".";
  std::vector<RotatedFile> found;
  for (const FileLayer::Entry& entry : layer.list(directory.c_str())) {
    const std::optional<WallTime> moment = rotated_moment(name, entry.name);
    if (moment) found.push_back({directory + "/" + entry.name, *moment});
  }
  std::sort(found.begin(), found.end(), [](const RotatedFile& a, const RotatedFile& b) { return a.moment > b.moment; });
  return found;
}

WallTime moment_after(const std::vector<RotatedFile>& others, WallTime now) {
  const WallTime latest = now + std::chrono::years(100);
  for (const RotatedFile& other : others) {
    if (other.moment < latest) return std::max(now, other.moment + milliseconds(1));
  }
  return now;
}

void make_unlike_rotated(std::string& path) {
  const std::size_t begin = path.rfind('/') + 1;  // 0 without one
  const std::string_view stem = split(std::string_view(path).substr(begin)).first;
  if (stem.size() <= kMomentBytes || stem[stem.size() - kMomentBytes - 1] != '-') return;
  if (moment_of(stem.substr(stem.size() - kMomentBytes))) path[begin + stem.size() - 1] = '_';
}

std::size_t remove_old(FileLayer& layer, const std::string& path, const RotateOptions& options,
                       const std::function<bool(const struct ::stat&)>& in_use, std::string& error) {
  if (!options.keep && !options.keep_bytes) return 0;
  std::size_t kept = 0;
  std::uint64_t bytes = 0;
  std::size_t removed = 0;
  for (const RotatedFile& file : rotated_files(layer, path)) {
    struct ::stat info {};
    if (layer.stat(file.path.c_str(), info) != 0 || !S_ISREG(info.st_mode) || in_use(info)) continue;
    bytes += static_cast<std::uint64_t>(info.st_size);
    const bool too_many = options.keep && kept >= *options.keep;
    const bool too_much = options.keep_bytes && kept > 0 && bytes > *options.keep_bytes;
    if (!too_many && !too_much) {
      ++kept;
      continue;
    }
    // Gone already is as good.
    if (layer.remove(file.path.c_str()) == 0 || errno == ENOENT) {
      ++removed;
    } else if (error.empty()) {
      error = "remove " + file.path + ": " + std::generic_category().message(errno);
    }
  }
  return removed;
}

}  // namespace logpipe
