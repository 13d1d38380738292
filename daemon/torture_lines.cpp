#include "daemon/torture_lines.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>

#include "delivery/compression.hpp"
#include "sinks/rotation.hpp"

namespace logpipe::torture {
namespace {

constexpr std::string_view kPrefix = "torture:";

/// Calls `line` for each line of a file, line feeds included; the last one may have none.
Status each_line(const std::filesystem::path& path, const std::function<void(std::string_view)>& line) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(Error::from_errno(errno, "open " + path.string()));
  char head[4] = {};
  const ssize_t got = ::pread(fd, head, sizeof head, 0);
  const Compression kind = compression_of_magic({head, static_cast<std::size_t>(std::max<ssize_t>(got, 0))});
  DecompressingReader reader = DecompressingReader::of_fd(kind, fd, path.string());
  std::vector<char> buffer(256 * 1024);
  std::string rest;
  Status status;
  for (;;) {
    const Result<std::size_t> length = reader.read(buffer.data(), buffer.size());
    if (!length) status = fail(length.error());
    if (!length || *length == 0) break;
    rest.append(buffer.data(), *length);
    std::size_t begin = 0;
    for (auto feed = rest.find('\n'); feed != std::string::npos; feed = rest.find('\n', begin)) {
      line(std::string_view(rest).substr(begin, feed + 1 - begin));
      begin = feed + 1;
    }
    rest.erase(0, begin);
  }
  ::close(fd);
  if (!rest.empty()) line(rest);
  return status;
}

Status each_file(const std::filesystem::path& directory,
                 const std::function<Status(const std::filesystem::path&)>& file) {
  std::error_code error;
  if (!std::filesystem::exists(directory, error)) return {};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, error)) {
    if (!entry.is_regular_file()) continue;
    if (Status status = file(entry.path()); !status) return status;
  }
  if (error) return fail(ErrorKind::io, "read " + directory.string() + ": " + error.message());
  return {};
}

/// What a file was called before a rotation put the moment of it into the name.
std::string unrotated(const std::string& path) {
  const auto slash = path.rfind('/') + 1;
  const std::string name = path.substr(slash);
  for (auto dash = name.find('-'); dash != std::string::npos; dash = name.find('-', dash + 1)) {
    // Behind the moment stands the ending that tells the compression, or nothing.
    for (const std::string_view ending : {"", ".gz", ".zst"}) {
      const std::string plain = name.substr(0, dash).append(ending);
      if (rotated_moment(plain, name)) return path.substr(0, slash) + plain;
    }
  }
  return path;
}

}  // namespace

std::string line_of(const std::string& source, std::uint64_t number, bool logfmt) {
  static constexpr const char* kLevels[] = {"error", "warn", "error", "info", "critical", "error", "debug"};
  static constexpr const char* kServices[] = {"checkout", "search", "billing"};
  static constexpr int kStatus[] = {500, 200, 503, 404, 302};
  const char* format =
      logfmt ? "time=2026-01-02T03:04:05Z level=%s service=%s host=web%llu status=%d path=/api/orders msg=\"%s%s:%llu; "
               "an order was handled\" ms=%llu\n"
             : "{\"time\":\"2026-01-02T03:04:05Z\",\"level\":\"%s\",\"service\":\"%s\",\"host\":\"web%llu\","
               "\"status\":%d,\"path\":\"/api/orders\",\"msg\":\"%s%s:%llu; an order was handled\",\"ms\":%llu}\n";
  using Number = unsigned long long;
  char text[640];
  const int length =
      std::snprintf(text, sizeof text, format, kLevels[number % 7], kServices[number / 5 % 3], Number(number % 4),
                    kStatus[number % 5], kPrefix.data(), source.c_str(), Number(number), Number(number * 7919 % 1000));
  return {text, static_cast<std::size_t>(length)};
}

std::optional<LineName> name_in(std::string_view line) {
  const auto begin = line.find(kPrefix);
  if (begin == std::string_view::npos) return std::nullopt;
  line.remove_prefix(begin + kPrefix.size());
  const auto end = line.find(';');
  const auto colon = end == std::string_view::npos ? end : line.rfind(':', end);
  if (colon == std::string_view::npos) return std::nullopt;
  LineName name{line.substr(0, colon), 0};
  const auto [last, error] = std::from_chars(line.data() + colon + 1, line.data() + end, name.number);
  if (error != std::errc() || last != line.data() + end) return std::nullopt;
  return name;
}

std::string Comparison::key_of(const std::string& file, std::string_view line) const {
  std::string key;
  if (by_file_) key = (rotated_ ? unrotated(file) : file) + '\0';
  return key.append(line);
}

Status Comparison::expect(const std::filesystem::path& directory) {
  return each_file(directory, [&](const std::filesystem::path& path) {
    const std::string file = std::filesystem::relative(path, directory).string();
    return each_line(path, [&](std::string_view line) {
      ++lines_[key_of(file, line)].expected;
      ++verdict_.expected;
      if (!name_in(line)) ++unnamed_;
    });
  });
}

Status Comparison::compare(const std::filesystem::path& directory,
                           const std::unordered_map<std::string, std::vector<std::uint64_t>>& begins) {
  Status status = each_file(directory, [&](const std::filesystem::path& path) {
    std::unordered_map<std::string, std::vector<std::uint64_t>> next;  // by source and file of it
    const std::string file = std::filesystem::relative(path, directory).string();
    return each_line(path, [&](std::string_view line) {
      const auto found = lines_.find(key_of(file, line));
      const auto name = name_in(line);
      if (found == lines_.end() || !name) {
        ++verdict_.foreign;
        return;
      }
      if (++found->second.seen > found->second.expected) {
        ++verdict_.doubled;
        return;
      }
      const std::string source(name->source);
      const auto files = begins.find(source);
      if (files == begins.end()) return;
      const auto origin = static_cast<std::size_t>(
          std::upper_bound(files->second.begin(), files->second.end(), name->number) - files->second.begin());
      std::vector<std::uint64_t>& expected = next[source];
      if (expected.size() <= origin) expected.resize(origin + 1);
      if (name->number < expected[origin]) ++verdict_.reordered;
      expected[origin] = std::max(expected[origin], name->number);
    });
  });
  for (const auto& [line, times] : lines_) verdict_.lost += times.expected - std::min(times.expected, times.seen);
  return status;
}

}  // namespace logpipe::torture
