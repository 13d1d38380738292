#include "daemon/verify_input.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "delivery/compression.hpp"
#include "sources/descriptor.hpp"
#include "sources/glob.hpp"

namespace logpipe::verifying {

namespace {

constexpr std::size_t kReadBytes = 1024 * 1024;
constexpr std::size_t kShownMax = 160;

class Collector : public GlobVisitor {
 public:
  void on_directory(const std::string&, DirectoryUse) override {}
  void on_match(const std::string& path) override {
    struct stat info {};
    if (stat(path.c_str(), &info) == 0) {
      if (S_ISREG(info.st_mode)) found.insert(path);
    } else if (errno != ENOENT) {
      on_error(path, errno);
    }
  }
  void on_error(const std::string& path, int error) override {
    if (!first_error) first_error = Error::from_errno(error, "look at " + path);
  }
  std::set<std::string> found;
  std::optional<Error> first_error;
};

}  // namespace

Result<std::vector<std::string>> files_of(const std::vector<std::string>& patterns) {
  std::error_code error;
  const std::string directory = std::filesystem::current_path(error).string();
  Collector collector;
  for (const std::string& pattern : patterns) Glob(pattern, directory).walk(collector);
  if (collector.first_error) return fail(ErrorKind::io, collector.first_error->message);
  return std::vector<std::string>(collector.found.begin(), collector.found.end());
}

Status read_lines(const std::string& path, const TakeLines& take) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail(Error::from_errno(errno, "open " + path));
  posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  char magic[4] = {};
  const ssize_t head = pread(file.get(), magic, sizeof magic, 0);
  if (head < 0) return fail(Error::from_errno(errno, "read " + path));
  const Compression kind = compression_of_magic({magic, static_cast<std::size_t>(head)});
  std::optional<DecompressingReader> reader;
  if (kind != Compression::none) reader.emplace(DecompressingReader::of_fd(kind, file.get(), path));

  std::vector<char> buffer(kReadBytes);
  std::size_t held = 0;  // of an unfinished line, at the beginning of the buffer
  for (;;) {
    if (buffer.size() - held < kReadBytes / 2) buffer.resize(buffer.size() * 2);
    std::size_t got = 0;
    if (reader) {
      const auto read = reader->read(buffer.data() + held, buffer.size() - held);
      if (!read) {
        // Whatever is wrong with a file is no fault of the command line.
        const std::string& why = read.error().message;
        return fail(ErrorKind::io, why.find(path) == std::string::npos ? path + ": " + why : why);
      }
      got = *read;
    } else {
      const ssize_t read = ::read(file.get(), buffer.data() + held, buffer.size() - held);
      if (read < 0 && errno == EINTR) continue;
      if (read < 0) return fail(Error::from_errno(errno, "read " + path));
      got = static_cast<std::size_t>(read);
    }
    if (got == 0) break;
    const auto* last = static_cast<const char*>(memrchr(buffer.data() + held, '\n', got));
    held += got;
    if (last == nullptr) continue;
    const auto whole = static_cast<std::size_t>(last + 1 - buffer.data());
    if (!take({buffer.data(), whole})) return {};
    held -= whole;
    std::memmove(buffer.data(), buffer.data() + whole, held);
  }
  if (held > 0) take({buffer.data(), held});
  return {};
}

Status FileRow::read(const std::function<bool(std::uint64_t first, std::string_view lines)>& take) {
  begins_.clear();
  next_ = 0;
  bytes_ = 0;
  bool more = true;
  for (const std::string& path : paths_) {
    begins_.push_back(next_);
    if (!more) continue;
    Status status = read_lines(path, [&](std::string_view lines) {
      const std::uint64_t first = next_;
      next_ +=
          static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n')) + (lines.back() == '\n' ? 0 : 1);
      bytes_ += lines.size();
      more = take(first, lines);
      return more;
    });
    if (!status) return status;
  }
  return {};
}

std::size_t FileRow::file_of(std::uint64_t number) const noexcept {
  const auto behind = std::upper_bound(begins_.begin(), begins_.end(), number);
  return static_cast<std::size_t>(behind - begins_.begin()) - 1;
}

std::uint64_t FileRow::line_of(std::uint64_t number) const noexcept {
  return number - begins_[file_of(number)] + 1;
}

std::string shown(std::string_view line) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : line.substr(0, kShownMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      text += c;
    } else if (c == '\t') {
      text += "\\t";
    } else {
      text += std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
    }
  }
  if (line.size() > kShownMax) text += "…";
  return text;
}

}  // namespace logpipe::verifying
