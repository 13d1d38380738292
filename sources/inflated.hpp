#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <sys/types.h>

#include "delivery/compression.hpp"
#include "sources/descriptor.hpp"

namespace logpipe {

/// The content of a compressed file by offset, like a plain one. Reading forwards is cheap, and so is going back within
/// the window; farther back it begins again from the start of the file.
/// Threads: one at a time. Ends: closes the file. Limits: a window, and what the Decompressor needs.
class InflatedFile {
 public:
  /// `go_on` is asked for each 64 KiB that are decompressed; false: time to stop, reading fails with EINTR.
  /// `window`: how many bytes behind the farthest one read are kept at least.
  InflatedFile(Descriptor file, Compression kind, std::string path, std::function<bool()> go_on,
               std::size_t window = 512 * 1024);

  const std::string& path() const noexcept { return path_; }
  int fd() const noexcept { return file_.get(); }
  /// As pread: how many bytes, 0 at the end, -1 with errno. EIO: not readable or damaged; error() says more. EINTR:
  /// told to stop.
  ssize_t read_at(char* to, std::size_t bytes, std::uint64_t offset);
  /// How long the content is: reads to its end. Nothing when it cannot be read as far as that.
  std::optional<std::uint64_t> measure();
  /// Gives back the memory; reading begins again from the start of the file.
  void settle() noexcept;
  const std::string& error() const noexcept { return error_; }

 private:
  bool rewind();
  bool advance();

  Descriptor file_;
  const Compression kind_;
  const std::string path_;
  const std::function<bool()> go_on_;
  const std::size_t window_bytes_;
  std::optional<DecompressingReader> reader_;
  std::string window_;           // the last bytes of the content that were read
  std::uint64_t window_end_{0};  // offset behind them
  bool at_end_{false};
  std::string error_;
};

}  // namespace logpipe
