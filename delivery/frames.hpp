#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "channel/result.hpp"
#include "delivery/compression.hpp"

/// Where frames end, found without taking them apart: of a file that a crash may have torn, only whole frames are good.
namespace logpipe {

/// A gzip header (RFC 1952) with an extra field `LP` of four bytes, little-endian: how long the whole member is, from
/// its first byte to the one behind its trailer; 0: not told. Other programs skip the field.
void append_gzip_header(std::string& out);
/// Enters the length of the member that begins at `begin` and goes to the end of `out`.
void set_gzip_length(std::string& out, std::size_t begin);

/// What a file of frames consists of.
struct FrameWalk {
  std::uint64_t frames{0};
  std::uint64_t whole{0};  ///< bytes of whole frames; what lies behind them is the beginning of one
};
/// Goes from frame to frame through the first `size` bytes of an open file, without moving its offset. Members and
/// frames that do not tell their length (what other programs make) are decompressed for it.
/// Errors: of reading (`path` is for the message); ErrorKind::invalid when a frame is none, with its offset.
Result<FrameWalk> walk_frames(Compression kind, int fd, std::uint64_t size, const std::string& path);

}  // namespace logpipe
