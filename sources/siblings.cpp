#include "sources/siblings.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sources/generation.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

constexpr std::size_t kNamesMax = 100'000;
constexpr std::size_t kCandidatesMax = 1000;
// Less could be the same in two logs.
constexpr std::uint32_t kEvidenceBytes = Witness::kBytesMax;

using Content = std::function<ssize_t(char* to, std::size_t bytes, std::uint64_t offset)>;

std::string_view name_of_path(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

/// `app` of `app.log`: what names of its generations begin with, wherever the date is put.
std::string_view stem_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? name : name.substr(0, dot);
}

std::string_view without_compression(std::string_view path) {
  const Compression kind = compression_of_name(path);
  return kind == Compression::none ? path : path.substr(0, path.rfind('.'));
}

Descriptor open_to_read(const std::string& path) {
  return Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

Content content_of(int fd) {
  return [fd](char* to, std::size_t bytes, std::uint64_t offset) {
    return pread(fd, to, bytes, static_cast<off_t>(offset));
  };
}

std::string read_content(const Content& content, std::uint64_t offset, std::size_t bytes) {
  std::string text(bytes, '\0');
  std::size_t have = 0;
  while (have < bytes) {
    const ssize_t got = content(text.data() + have, bytes - have, offset + have);
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  text.resize(have);
  return text;
}

bool fits(const Content& content, const KnownPosition& position) {
  const std::uint32_t bytes = position.witness.bytes;
  if (bytes == 0 || bytes > position.offset) return true;
  return witness_of(read_content(content, position.offset - bytes, bytes)) == position.witness;
}

/// Whether this content, which is no file that could be known by its inode, surely is the remembered one.
bool is_copy(const Content& content, const RememberedFile& file) {
  const KnownPosition last = file.positions.empty() ? KnownPosition{} : file.positions.back();
  const bool enough =
      last.witness.bytes >= kEvidenceBytes || (last.offset == 0 && file.identity.head_bytes >= kEvidenceBytes);
  if (!enough) return false;
  if (!has_head(read_content(content, 0, FileIdentity::kHeadBytes), file.identity)) return false;
  return std::all_of(file.positions.begin(), file.positions.end(),
                     [&](const KnownPosition& position) { return fits(content, position); });
}

/// A gzip member ends with the length of its content, modulo 2^32: a file of which that much was read is not worth to
/// be decompressed once more.
bool is_gzip_of_length(int fd, std::uint64_t compressed, std::uint64_t length) {
  std::array<unsigned char, 4> end{};
  if (compressed < 18 || pread(fd, end.data(), end.size(), static_cast<off_t>(compressed - 4)) != 4) return false;
  const std::uint32_t stored = end[0] | end[1] << 8 | end[2] << 16 | static_cast<std::uint32_t>(end[3]) << 24;
  return stored == static_cast<std::uint32_t>(length);
}

bool has_head_of(InflatedFile& inflated, const RememberedFile& file) {
  const Content content = [&](char* to, std::size_t bytes, std::uint64_t offset) {
    return inflated.read_at(to, bytes, offset);
  };
  return file.identity.head_bytes >= kEvidenceBytes &&
         has_head(read_content(content, 0, FileIdentity::kHeadBytes), file.identity);
}

std::uint64_t last_offset(const RememberedFile& file) {
  return file.positions.empty() ? 0 : file.positions.back().offset;
}

}  // namespace

std::string target_of(const std::string& path) {
  struct Free {
    void operator()(char* text) const noexcept { std::free(text); }
  };
  const std::unique_ptr<char, Free> real(realpath(path.c_str(), nullptr));
  return real && path != real.get() ? real.get() : std::string();
}

std::uint64_t generation_in(std::string_view log, std::string_view path) noexcept {
  path = without_compression(path);
  const bool continues = path.starts_with(log) && path.size() > log.size();
  return continues && (path[log.size()] == '.' || path[log.size()] == '-') ? generation_of(path) : 0;
}

bool is_intact(int fd, const RememberedFile& file) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || static_cast<std::uint64_t>(info.st_size) < last_offset(file)) return false;
  return is_same_file(fd, file.identity) &&
         std::all_of(file.positions.begin(), file.positions.end(),
                     [&](const KnownPosition& position) { return fits(content_of(fd), position); });
}

Siblings::Siblings(std::string directory) : directory_(std::move(directory)) {
  struct Close {
    void operator()(DIR* open) const noexcept { closedir(open); }
  };
  const std::unique_ptr<DIR, Close> open(opendir(directory_.empty() ? "/" : directory_.c_str()));
  if (!open) return;
  readable_ = true;
  while (const dirent* entry = readdir(open.get())) {
    if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN) continue;
    if (names_.size() == kNamesMax) break;
    names_.push_back({entry->d_name, entry->d_ino});
  }
}

std::optional<Siblings::Candidate> Siblings::look_at(const std::string& name) const {
  Candidate candidate{.path = directory_ + "/" + name, .key = {}, .size = 0, .modified_ns = 0, .compression = {}};
  struct stat info {};
  if (lstat(candidate.path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  candidate.key = {info.st_dev, info.st_ino};
  candidate.size = static_cast<std::uint64_t>(info.st_size);
  candidate.modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
  candidate.compression = compression_of_name(name);
  return candidate;
}

std::vector<Siblings::Candidate> Siblings::candidates(const std::string& path) const {
  const std::string_view stem = stem_of(name_of_path(path));
  std::vector<Candidate> all;
  for (const Name& name : names_) {
    if (!name.name.starts_with(stem)) continue;
    if (std::optional<Candidate> candidate = look_at(name.name)) all.push_back(std::move(*candidate));
  }
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return a.modified_ns != b.modified_ns ? a.modified_ns > b.modified_ns : a.path < b.path;
  });
  if (all.size() > kCandidatesMax) all.resize(kCandidatesMax);
  return all;
}

std::optional<Whereabouts> Siblings::itself(const RememberedFile& file, const Taken& taken) const {
  const FileKey key{file.identity.device, file.identity.inode};
  if (key.inode == 0 || taken(key) || used_.contains(key)) return std::nullopt;
  for (const Name& name : names_) {
    if (name.inode != key.inode) continue;
    const std::optional<Candidate> candidate = look_at(name.name);
    if (!candidate || candidate->key != key) continue;
    Descriptor open = open_to_read(candidate->path);
    if (!open || !is_intact(open.get(), file)) return std::nullopt;
    return Whereabouts{Whereabouts::How::renamed, candidate->path, key, candidate->size, std::move(open), nullptr};
  }
  return std::nullopt;
}

std::optional<Whereabouts> Siblings::find_copy(const RememberedFile& file, const Taken& taken) {
  const FileKey own{file.identity.device, file.identity.inode};
  for (const Candidate& candidate : candidates(file.path)) {
    if (candidate.compression != Compression::none || candidate.size < last_offset(file)) continue;
    if (candidate.key == own || taken(candidate.key) || used_.contains(candidate.key)) continue;
    Descriptor open = open_to_read(candidate.path);
    if (!open || !is_copy(content_of(open.get()), file)) continue;
    used_.insert(candidate.key);
    return Whereabouts{Whereabouts::How::copied, candidate.path,  candidate.key,
                       candidate.size,           std::move(open), nullptr};
  }
  return std::nullopt;
}

std::optional<Whereabouts> Siblings::find(const RememberedFile& file, const Taken& taken,
                                          const std::function<bool()>& go_on) {
  if (std::optional<Whereabouts> found = itself(file, taken)) {
    used_.insert(found->key);
    return found;
  }
  if (std::optional<Whereabouts> found = find_copy(file, taken)) return found;
  for (const Candidate& candidate : candidates(file.path)) {
    if (!go_on()) return std::nullopt;
    if (candidate.compression == Compression::none) continue;
    if (taken(candidate.key) || used_.contains(candidate.key)) continue;
    Descriptor open = open_to_read(candidate.path);
    if (!open) continue;
    auto inflated = std::make_unique<InflatedFile>(std::move(open), candidate.compression, candidate.path, go_on);
    const bool one_place = file.positions.size() == 1 && last_offset(file) > 0;
    if (one_place && candidate.compression == Compression::gzip &&
        is_gzip_of_length(inflated->fd(), candidate.size, last_offset(file)) && has_head_of(*inflated, file)) {
      inflated->settle();
      used_.insert(candidate.key);
      return Whereabouts{Whereabouts::How::compressed, candidate.path, candidate.key, last_offset(file), {},
                         std::move(inflated)};
    }
    const Content content = [&](char* to, std::size_t bytes, std::uint64_t offset) {
      return inflated->read_at(to, bytes, offset);
    };
    if (!is_copy(content, file)) continue;
    const std::optional<std::uint64_t> size = inflated->measure();
    if (!size && !go_on()) return std::nullopt;
    if (!size) {
      log::warn("sources", "a compressed log cannot be read to its end, left alone",
                {{"path", candidate.path}, {"error", inflated->error()}});
      continue;
    }
    if (*size < last_offset(file)) continue;
    inflated->settle();
    used_.insert(candidate.key);
    return Whereabouts{Whereabouts::How::compressed, candidate.path, candidate.key, *size, {}, std::move(inflated)};
  }
  return std::nullopt;
}

std::vector<Whereabouts> Siblings::younger_than(const std::string& path, const std::string& found, const Taken& taken,
                                                const std::function<bool()>& go_on) {
  // Only names that continue the log's own by a number or a date: app.log.1, app.log-20260101.gz.
  const auto generation = [&](std::string_view name) { return generation_in(path, name); };
  const std::uint64_t oldest = generation(found);
  std::vector<Whereabouts> younger;
  if (oldest == 0) return younger;
  std::vector<std::pair<std::uint64_t, Candidate>> generations;
  for (Candidate& candidate : candidates(path)) {
    const std::uint64_t number = generation(candidate.path);
    if (number == 0 || !is_younger_generation(number, oldest)) continue;
    generations.emplace_back(number, std::move(candidate));
  }
  // The oldest first; of a generation that is being compressed the file itself.
  std::sort(generations.begin(), generations.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second.compression < b.second.compression;
  });
  std::uint64_t last = 0;
  for (auto& [number, candidate] : generations) {
    if (!go_on()) break;
    if (number == last) continue;
    last = number;
    if (taken(candidate.key) || !used_.insert(candidate.key).second) continue;
    Descriptor open = open_to_read(candidate.path);
    if (!open) continue;
    if (candidate.compression == Compression::none) {
      younger.push_back(
          {Whereabouts::How::renamed, candidate.path, candidate.key, candidate.size, std::move(open), nullptr});
      continue;
    }
    auto inflated = std::make_unique<InflatedFile>(std::move(open), candidate.compression, candidate.path, go_on);
    if (const std::optional<std::uint64_t> size = inflated->measure()) {
      inflated->settle();
      younger.push_back({Whereabouts::How::compressed, candidate.path, candidate.key, *size, {}, std::move(inflated)});
    } else if (go_on()) {
      log::warn("sources", "a compressed log cannot be read to its end, left alone",
                {{"path", candidate.path}, {"error", inflated->error()}});
    }
  }
  return younger;
}

}  // namespace logpipe
