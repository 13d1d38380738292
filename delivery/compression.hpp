#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "channel/result.hpp"

/// Compressed files as rows of independent frames: gzip members (RFC 1952) and Zstandard frames (RFC 8878). A row of
/// frames is itself a file that `gzip -d` and `zstd -d` read, so a file can be appended to, and cut wherever a frame
/// ends.
namespace logpipe {

enum class Compression : std::uint8_t { none, gzip, zstd };

/// `none`, `gzip` or `zstd`.
std::string_view name_of(Compression kind) noexcept;
/// By the name's end: `.gz` and `.zst`.
Compression compression_of_name(std::string_view path) noexcept;
/// By the first bytes of a file; four are enough. `none` for anything else, and for less than a whole signature.
Compression compression_of_magic(std::string_view head) noexcept;

/// How hard to compress.
struct CompressionLevels {
  int lowest{0};
  int highest{0};
  int usual{0};
};
/// gzip: 1 to 9, usually 6. zstd: 1 to 19, usually 3; the levels beyond need much more memory on both sides.
CompressionLevels levels_of(Compression kind) noexcept;

/// Makes frames, one complete and independent frame a call; the context is kept from frame to frame. `none` copies.
/// Threads: one at a time. Limits: a gzip context holds about 256 KiB; one of zstd some MiB, by level and frame size.
class FrameCompressor {
 public:
  /// `level`: as levels_of() says; what lies outside is brought to the nearest.
  FrameCompressor(Compression kind, int level);
  ~FrameCompressor();
  FrameCompressor(FrameCompressor&&) noexcept;
  FrameCompressor& operator=(FrameCompressor&&) noexcept;

  /// Appends one frame with all of `pieces` to `out`; a frame of nothing, too, is a frame. The frame carries a checksum
  /// of its content. On an error (no memory) `out` is as before.
  /// A gzip member says in its header how long it is (see frames.hpp), so that a file of them can be walked.
  Status append(std::span<const std::string_view> pieces, std::string& out);
  Status append(std::string_view piece, std::string& out) { return append(std::span(&piece, 1), out); }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Takes frames apart, one after the other, in pieces as small as the caller likes. Zero bytes behind the last gzip
/// member are padding (tapes, disk blocks); skippable zstd frames are skipped. `none` copies.
/// Threads: one at a time. Limits: output goes to the caller's buffer only, so what a small input claims to be cannot
/// grow memory; a frame that needs a window of more than kWindowBytesMax is an error.
class Decompressor {
 public:
  /// What `zstd -d` accepts, too.
  static constexpr std::size_t kWindowBytesMax = std::size_t{128} << 20;
  struct Step {
    std::size_t consumed{0};  ///< of the input
    std::size_t produced{0};  ///< into the output
  };

  explicit Decompressor(Compression kind);
  ~Decompressor();
  Decompressor(Decompressor&&) noexcept;
  Decompressor& operator=(Decompressor&&) noexcept;

  /// Goes on with `input` until it is used up or `out` is full; stops behind each frame, too. A step that consumes and
  /// produces nothing wants more of the one that was empty. Everything before a fault has been produced when it is met.
  /// ErrorKind::invalid: not such a file or damaged, with the offset in the compressed bytes; every further step says
  /// the same.
  Result<Step> step(std::string_view input, std::span<char> out);
  /// The input is over. ErrorKind::invalid when that is within a frame: the file was cut, or is still being written.
  Status finish() const;

  /// Nothing, or whole frames so far: a file may end here.
  bool between_frames() const noexcept;
  std::uint64_t consumed() const noexcept;  ///< compressed bytes, of all frames
  std::uint64_t produced() const noexcept;  ///< bytes of content
  std::uint64_t frames() const noexcept;    ///< whole ones

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The content of a compressed input, to be read like a file.
/// Threads: one at a time. Limits: one buffer of 64 KiB beside the Decompressor's own.
class DecompressingReader {
 public:
  /// Reads up to `size` bytes, 0 at the end.
  using Read = std::function<Result<std::size_t>(char* out, std::size_t size)>;
  DecompressingReader(Compression kind, Read read);
  /// From the present offset of `fd`, which stays the caller's. `path` is for error messages.
  static DecompressingReader of_fd(Compression kind, int fd, std::string path);

  /// Fills `out` from its beginning: how many bytes, at least 1, or 0 at the end of the input (and for `size` 0).
  /// Errors of the input as they come; ErrorKind::invalid for a damaged one and for one that ends within a frame, which
  /// is when truncated() is true.
  Result<std::size_t> read(char* out, std::size_t size);
  bool truncated() const noexcept { return truncated_; }
  const Decompressor& decompressor() const noexcept { return decompressor_; }

 private:
  Decompressor decompressor_;
  Read read_;
  std::string buffer_;
  std::string_view input_;  // of the buffer, not yet consumed
  bool at_end_{false};
  bool truncated_{false};
};

}  // namespace logpipe
