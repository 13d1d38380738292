#include "delivery/compression.hpp"

#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "delivery/bytes.hpp"
#include "delivery/frames.hpp"

namespace logpipe {
namespace {

constexpr std::size_t kChunk = 64 * 1024;
/// zlib counts in 32 bits.
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;
/// Windows of up to 128 MiB (2 to the power of it).
constexpr int kZstdWindowLog = 27;
constexpr std::size_t kZstdHeaderLeast = 5;
static_assert(Decompressor::kWindowBytesMax == std::size_t{1} << kZstdWindowLog);

struct DeflateEnd {
  void operator()(z_stream* stream) const {
    deflateEnd(stream);
    delete stream;
  }
};
struct InflateEnd {
  void operator()(z_stream* stream) const {
    inflateEnd(stream);
    delete stream;
  }
};
struct ZstdEnd {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

Bytef* bytes_of(const char* text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text));
}

tl::unexpected<Error> no_memory(Compression kind) {
  return fail(ErrorKind::internal, std::string(name_of(kind)) + ": no memory for a context");
}

}  // namespace

std::string_view name_of(Compression kind) noexcept {
  switch (kind) {
    case Compression::gzip:
      return "gzip";
    case Compression::zstd:
      return "zstd";
    case Compression::none:
      break;
  }
  return "none";
}

Compression compression_of_name(std::string_view path) noexcept {
  if (path.ends_with(".gz")) return Compression::gzip;
  if (path.ends_with(".zst")) return Compression::zstd;
  return Compression::none;
}

Compression compression_of_magic(std::string_view head) noexcept {
  using namespace std::string_view_literals;
  if (head.starts_with("\x1f\x8b\x08"sv)) return Compression::gzip;
  if (head.starts_with("\x28\xb5\x2f\xfd"sv)) return Compression::zstd;
  // A skippable frame, as pzstd and seekable files may begin with.
  const bool skippable = head.size() >= 4 && (head[0] & 0xF0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18"sv;
  return skippable ? Compression::zstd : Compression::none;
}

CompressionLevels levels_of(Compression kind) noexcept {
  switch (kind) {
    case Compression::gzip:
      return {1, 9, 6};
    case Compression::zstd:
      return {1, 19, 3};
    case Compression::none:
      break;
  }
  return {};
}

struct FrameCompressor::State {
  Compression kind{Compression::none};
  int level{0};
  std::unique_ptr<z_stream, DeflateEnd> deflate;
  std::unique_ptr<ZSTD_CCtx, ZstdEnd> zstd;
  std::array<char, kChunk> chunk;  // what the library writes to

  bool prepare();
  bool gzip_member(std::span<const std::string_view> pieces, std::string& out);
  bool deflate_piece(std::string_view piece, int flush, std::string& out);
  bool zstd_frame(std::span<const std::string_view> pieces, std::string& out);
  bool zstd_piece(std::string_view piece, ZSTD_EndDirective end, std::string& out);
};

bool FrameCompressor::State::prepare() {
  if (kind == Compression::gzip && !deflate) {
    auto stream = std::make_unique<z_stream>();
    // Raw: the header, with its extra field, is written here.
    if (deflateInit2(stream.get(), level, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
    deflate.reset(stream.release());
  }
  if (kind == Compression::zstd && !zstd) {
    zstd.reset(ZSTD_createCCtx());
    if (!zstd) return false;
    ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_checksumFlag, 1);
  }
  return true;
}

bool FrameCompressor::State::deflate_piece(std::string_view piece, int flush, std::string& out) {
  z_stream& stream = *deflate;
  do {
    const std::string_view part = piece.substr(0, kMostAtOnce);
    piece.remove_prefix(part.size());
    const int mode = piece.empty() ? flush : Z_NO_FLUSH;
    stream.next_in = bytes_of(part.data());
    stream.avail_in = static_cast<uInt>(part.size());
    int code = Z_OK;
    do {
      stream.next_out = bytes_of(chunk.data());
      stream.avail_out = static_cast<uInt>(chunk.size());
      code = ::deflate(&stream, mode);
      if (code == Z_STREAM_ERROR) return false;
      out.append(chunk.data(), chunk.size() - stream.avail_out);
    } while (stream.avail_out == 0 || (mode == Z_FINISH && code != Z_STREAM_END));
  } while (!piece.empty());
  return true;
}

bool FrameCompressor::State::gzip_member(std::span<const std::string_view> pieces, std::string& out) {
  deflateReset(deflate.get());
  const std::size_t begin = out.size();
  append_gzip_header(out);
  uLong check = crc32(0, nullptr, 0);
  std::uint64_t size = 0;
  for (const std::string_view piece : pieces) {
    if (piece.empty()) continue;
    check = crc32_z(check, bytes_of(piece.data()), piece.size());
    size += piece.size();
    if (!deflate_piece(piece, Z_NO_FLUSH, out)) return false;
  }
  if (!deflate_piece({}, Z_FINISH, out)) return false;
  journal::put(out, static_cast<std::uint32_t>(check));
  journal::put(out, static_cast<std::uint32_t>(size));
  set_gzip_length(out, begin);
  return true;
}

bool FrameCompressor::State::zstd_piece(std::string_view piece, ZSTD_EndDirective end, std::string& out) {
  ZSTD_inBuffer input{piece.data(), piece.size(), 0};
  for (;;) {
    ZSTD_outBuffer output{chunk.data(), chunk.size(), 0};
    const std::size_t left = ZSTD_compressStream2(zstd.get(), &output, &input, end);
    if (ZSTD_isError(left)) return false;
    out.append(chunk.data(), output.pos);
    if (end == ZSTD_e_end ? left == 0 : input.pos == input.size) return true;
  }
}

bool FrameCompressor::State::zstd_frame(std::span<const std::string_view> pieces, std::string& out) {
  ZSTD_CCtx_reset(zstd.get(), ZSTD_reset_session_only);
  unsigned long long size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  // Known in advance, it keeps window and tables as small as the frame.
  ZSTD_CCtx_setPledgedSrcSize(zstd.get(), size);
  for (const std::string_view piece : pieces) {
    if (!zstd_piece(piece, ZSTD_e_continue, out)) return false;
  }
  return zstd_piece({}, ZSTD_e_end, out);
}

FrameCompressor::FrameCompressor(Compression kind, int level) : state_(std::make_unique<State>()) {
  const CompressionLevels levels = levels_of(kind);
  state_->kind = kind;
  state_->level = std::clamp(level, levels.lowest, levels.highest);
}
FrameCompressor::~FrameCompressor() = default;
FrameCompressor::FrameCompressor(FrameCompressor&&) noexcept = default;
FrameCompressor& FrameCompressor::operator=(FrameCompressor&&) noexcept = default;

Status FrameCompressor::append(std::span<const std::string_view> pieces, std::string& out) {
  const Compression kind = state_->kind;
  const std::size_t before = out.size();
  if (!state_->prepare()) return no_memory(kind);
  bool good = true;
  if (kind == Compression::gzip) {
    good = state_->gzip_member(pieces, out);
  } else if (kind == Compression::zstd) {
    good = state_->zstd_frame(pieces, out);
  } else {
    for (const std::string_view piece : pieces) out.append(piece);
  }
  if (good) return {};
  out.resize(before);
  return no_memory(kind);
}

struct Decompressor::State {
  Compression kind{Compression::none};
  std::unique_ptr<z_stream, InflateEnd> inflate;
  std::unique_ptr<ZSTD_DCtx, ZstdEnd> zstd;
  bool in_frame{false};
  std::size_t wanted{0};  // by zstd, of the input, within a frame
  std::uint64_t consumed{0};
  std::uint64_t produced{0};
  std::uint64_t frames{0};
  std::optional<Error> error;

  bool prepare();
  /// Null, or what is wrong.
  const char* inflate_some(std::string_view input, std::span<char> out, Step& step);
  const char* zstd_some(std::string_view input, std::span<char> out, Step& step);
};

bool Decompressor::State::prepare() {
  if (kind == Compression::gzip && !inflate) {
    auto stream = std::make_unique<z_stream>();
    if (inflateInit2(stream.get(), 16 + MAX_WBITS) != Z_OK) return false;
    inflate.reset(stream.release());
  }
  if (kind == Compression::zstd && !zstd) {
    zstd.reset(ZSTD_createDCtx());
    if (!zstd) return false;
    ZSTD_DCtx_setParameter(zstd.get(), ZSTD_d_windowLogMax, kZstdWindowLog);
  }
  return true;
}

const char* Decompressor::State::inflate_some(std::string_view input, std::span<char> out, Step& step) {
  if (!in_frame && frames > 0) {
    step.consumed = std::min(input.find_first_not_of('\0'), input.size());
    input.remove_prefix(step.consumed);
  }
  if (input.empty() && !in_frame) return nullptr;
  z_stream& stream = *inflate;
  const std::string_view part = input.substr(0, kMostAtOnce);
  const std::size_t room = std::min(out.size(), kMostAtOnce);
  stream.next_in = bytes_of(part.data());
  stream.avail_in = static_cast<uInt>(part.size());
  stream.next_out = bytes_of(out.data());
  stream.avail_out = static_cast<uInt>(room);
  const int code = ::inflate(&stream, Z_NO_FLUSH);
  const std::size_t taken = part.size() - stream.avail_in;
  step.consumed += taken;
  step.produced = room - stream.avail_out;
  in_frame = in_frame || taken > 0;
  if (code == Z_STREAM_END) {
    in_frame = false;
    ++frames;
    inflateReset(&stream);
    return nullptr;
  }
  if (code == Z_OK || code == Z_BUF_ERROR) return nullptr;
  if (code == Z_MEM_ERROR) return "no memory";
  return stream.msg ? stream.msg : "damaged";
}

const char* Decompressor::State::zstd_some(std::string_view input, std::span<char> out, Step& step) {
  // In the pieces it asks for, a block each: of a call that meets a fault nothing is given out.
  while (in_frame || step.consumed < input.size()) {
    const std::string_view part = input.substr(step.consumed, in_frame ? wanted : kZstdHeaderLeast);
    ZSTD_inBuffer in{part.data(), part.size(), 0};
    ZSTD_outBuffer produced_here{out.data() + step.produced, out.size() - step.produced, 0};
    wanted = ZSTD_decompressStream(zstd.get(), &produced_here, &in);
    if (ZSTD_isError(wanted)) return ZSTD_getErrorName(wanted);
    step.consumed += in.pos;
    step.produced += produced_here.pos;
    in_frame = wanted != 0;
    if (wanted == 0) ++frames;
    if (wanted == 0 || step.produced == out.size() || (in.pos == 0 && produced_here.pos == 0)) break;
  }
  return nullptr;
}

Decompressor::Decompressor(Compression kind) : state_(std::make_unique<State>()) {
  state_->kind = kind;
}
Decompressor::~Decompressor() = default;
Decompressor::Decompressor(Decompressor&&) noexcept = default;
Decompressor& Decompressor::operator=(Decompressor&&) noexcept = default;

Result<Decompressor::Step> Decompressor::step(std::string_view input, std::span<char> out) {
  State& state = *state_;
  if (state.error) return fail(*state.error);
  if (out.empty()) return Step{};
  if (!state.prepare()) return no_memory(state.kind);
  Step step;
  const char* wrong = nullptr;
  if (state.kind == Compression::gzip) {
    wrong = state.inflate_some(input, out, step);
  } else if (state.kind == Compression::zstd) {
    wrong = state.zstd_some(input, out, step);
  } else {
    step.consumed = step.produced = std::min(input.size(), out.size());
    std::copy_n(input.data(), step.consumed, out.data());
  }
  state.consumed += step.consumed;
  state.produced += step.produced;
  if (!wrong) return step;
  state.error = Error{ErrorKind::invalid, std::string(name_of(state.kind)) + ": damaged at compressed byte " +
                                              std::to_string(state.consumed) + " (" + wrong + ")"};
  // What was produced before the fault is the caller's; the next step says what was wrong.
  if (step.produced > 0) return step;
  return fail(*state.error);
}

Status Decompressor::finish() const {
  if (state_->error) return fail(*state_->error);
  if (!state_->in_frame) return {};
  return fail(ErrorKind::invalid, std::string(name_of(state_->kind)) + ": truncated at compressed byte " +
                                      std::to_string(state_->consumed));
}

bool Decompressor::between_frames() const noexcept {
  return !state_->in_frame && !state_->error;
}
std::uint64_t Decompressor::consumed() const noexcept {
  return state_->consumed;
}
std::uint64_t Decompressor::produced() const noexcept {
  return state_->produced;
}
std::uint64_t Decompressor::frames() const noexcept {
  return state_->frames;
}

DecompressingReader::DecompressingReader(Compression kind, Read read)
    : decompressor_(kind), read_(std::move(read)), buffer_(kChunk, '\0') {}

DecompressingReader DecompressingReader::of_fd(Compression kind, int fd, std::string path) {
  return {kind, [fd, path = std::move(path)](char* out, std::size_t size) -> Result<std::size_t> {
            for (;;) {
              const ssize_t got = ::read(fd, out, size);
              if (got >= 0) return static_cast<std::size_t>(got);
              if (errno != EINTR) return fail(Error::from_errno(errno, "read " + path));
            }
          }};
}

Result<std::size_t> DecompressingReader::read(char* out, std::size_t size) {
  if (size == 0) return std::size_t{0};
  for (;;) {
    const auto step = decompressor_.step(input_, std::span(out, size));
    if (!step) return fail(step.error());
    input_.remove_prefix(step->consumed);
    if (step->produced > 0) return step->produced;
    if (step->consumed > 0 || !input_.empty()) continue;
    if (at_end_) {
      Status end = decompressor_.finish();
      truncated_ = !end;
      if (!end) return fail(std::move(end.error()));
      return std::size_t{0};
    }
    auto got = read_(buffer_.data(), buffer_.size());
    if (!got) return fail(std::move(got.error()));
    input_ = std::string_view(buffer_).substr(0, *got);
    at_end_ = *got == 0;
  }
}

}  // namespace logpipe
