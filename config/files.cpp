#include "config/files.hpp"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "config/units.hpp"

namespace logpipe::config {
namespace {

std::string words_for(int code) {
  return std::generic_category().message(code);
}

FileText read_descriptor(int descriptor, std::size_t most) {
  FileText out;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count == 0) return out;
    if (count < 0) {
      if (errno == EINTR) continue;
      out.error = words_for(errno);
      return out;
    }
    out.text.append(buffer, static_cast<std::size_t>(count));
    if (out.text.size() > most) {
      out.error = "larger than " + print_bytes(Bytes(most));
      out.too_large = true;
      out.text.clear();
      return out;
    }
  }
}

}  // namespace

FileText read_file(const std::filesystem::path& path, std::size_t most) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {{}, words_for(errno)};
  struct stat status {};
  FileText out;
  if (::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
    out.error = words_for(EISDIR);
  } else {
    out = read_descriptor(descriptor, most);
  }
  ::close(descriptor);
  return out;
}

FileText read_stdin(std::size_t most) {
  return read_descriptor(STDIN_FILENO, most);
}

bool is_glob(const std::string& pattern) {
  return pattern.find_first_of("*?[") != std::string::npos;
}

std::vector<std::string> expand_glob(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace logpipe::config
