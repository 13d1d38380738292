#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "config/schema.hpp"
#include "delivery/compression.hpp"
#include "sinks/encoder.hpp"
#include "sinks/file_layer.hpp"
#include "sinks/path_template.hpp"
#include "sinks/rotation.hpp"
#include "sinks/sink.hpp"

namespace logpipe {

enum class Fsync : std::uint8_t { never, interval, always };

template <>
struct config::EnumNames<Fsync> {
  static constexpr EnumName<Fsync> values[] = {
      {"never", Fsync::never, "left to the system; a power cut may take what was already committed"},
      {"interval", Fsync::interval, "before each checkpoint commits it"},
      {"always", Fsync::always, "after every write, before anything else is written"}};
};

template <>
struct config::EnumNames<Compression> {
  static constexpr EnumName<Compression> values[] = {
      {"none", Compression::none, "plain lines"},
      {"gzip", Compression::gzip, "gzip members; `gzip -dc` reads it"},
      {"zstd", Compression::zstd, "Zstandard frames; `zstd -dc` reads it"}};
};

/// Permission bits, written in octal: `0640`.
struct FileMode {
  mode_t bits{0640};
  friend bool operator==(const FileMode&, const FileMode&) = default;
};
bool decode(config::Decoder& decoder, FileMode& out);
config::TypeInfo describe(config::Tag<FileMode>);
std::string print(config::Tag<FileMode>, const FileMode& value);

struct FileSinkOptions {
  PathTemplate path;
  Encoding encoding{Encoding::automatic};
  InvalidUtf8 invalid_utf8{InvalidUtf8::replace};
  Fsync fsync{Fsync::interval};
  FileMode mode;
  bool create_directories{true};
  TimeZone time_zone{TimeZone::utc};
  std::string missing{"unknown"};
  std::uint32_t max_open_files{64};
  RotateOptions rotate;
  Compression compression{Compression::none};
  std::optional<int> compression_level;
  std::chrono::milliseconds compression_wait{1000};
};
const config::Schema<FileSinkOptions>& schema_of(config::Tag<FileSinkOptions>);

/// What comes in front of a relative path: the journal keeps paths beyond this process, whose working directory may be
/// another one.
std::string base_of(const std::string& path);
/// The only path of a template without fields and conversions.
std::string path_from(const std::string& base, const PathTemplate& constant);

/// The file that a `path` without fields and conversions names: absolute, lexically normalised. Otherwise empty.
std::string constant_path(const FileSinkOptions& options);

/// Appends to one file, or to one per value of a path template. A delivery is complete when all of its bytes are in
/// (and synced, with `always`); what is not complete when the run ends is cut off again, so that no torn line stays.
/// Errors: no space, quota, I/O errors and too many open files pause the sink until they pass; anything else, such as a
/// missing permission, ends it with ErrorKind::io.
/// With compression, deliveries wait for each other for up to `compression_wait`, become one frame for each file, and
/// are complete together when it is written. `layer` outlives the sink.
std::unique_ptr<Sink> make_file_sink(FileSinkOptions options, SinkServices services,
                                     FileLayer& layer = FileLayer::system());

}  // namespace logpipe
