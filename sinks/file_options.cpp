#include <filesystem>
#include <string>

#include "sinks/file.hpp"

namespace logpipe {
namespace {

using std::chrono::milliseconds;

void verify(const FileSinkOptions& options, config::Decoder& decoder) {
  if (!options.compression_level) return;
  const CompressionLevels levels = levels_of(options.compression);
  if (options.compression == Compression::none) {
    decoder.error_at("compression_level", "a level, but nothing is compressed", "write `compression: zstd` or `gzip`",
                     config::Code::conflict);
  } else if (*options.compression_level < levels.lowest || *options.compression_level > levels.highest) {
    decoder.error_at("compression_level",
                     "expected a level of " + std::string(name_of(options.compression)) + " from " +
                         std::to_string(levels.lowest) + " to " + std::to_string(levels.highest),
                     {}, config::Code::out_of_range);
  }
}

}  // namespace

std::string base_of(const std::string& path) {
  if (path.starts_with('/')) return {};
  std::error_code error;
  std::string directory = std::filesystem::current_path(error).string();
  return error ? std::string() : directory + "/";
}

std::string path_from(const std::string& base, const PathTemplate& constant) {
  std::string path = base;
  constant.render({}, path);
  return path;
}

bool decode(config::Decoder& decoder, FileMode& out) {
  std::string text;
  if (!config::decode(decoder, text)) return false;
  mode_t bits = 0;
  bool good = text.size() >= 3 && text.size() <= 4;
  for (const char c : text) {
    good = good && c >= '0' && c <= '7';
    bits = bits * 8 + static_cast<mode_t>(c - '0');
  }
  if (!good || bits > 0777) return decoder.expected("permissions in octal such as 0640");
  if ((bits & 0200) == 0) return decoder.expected("permissions that let the owner write, such as 0640");
  out.bits = bits;
  return true;
}

config::TypeInfo describe(config::Tag<FileMode>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "octal mode"};
}

std::string print(config::Tag<FileMode>, const FileMode& value) {
  std::string text = "0000";
  for (int i = 0; i < 3; ++i)
    text[static_cast<std::size_t>(3 - i)] = static_cast<char>('0' + ((value.bits >> (3 * i)) & 7));
  return text;
}

const config::Schema<FileSinkOptions>& schema_of(config::Tag<FileSinkOptions>) {
  static const auto schema =
      config::Schema<FileSinkOptions>("File sink")
          .required("path", &FileSinkOptions::path,
                    "The file to append to. `{field}` and the conversions `%Y %m %d %H %M …` make one file per value.")
          .optional("encoding", &FileSinkOptions::encoding, "How events become lines.")
          .optional("invalid_utf8", &FileSinkOptions::invalid_utf8, kInvalidUtf8Meaning)
          .optional("fsync", &FileSinkOptions::fsync, "When written data is forced to the disk.")
          .optional("mode", &FileSinkOptions::mode, "Permissions of a file that is made; the umask applies.")
          .optional("create_directories", &FileSinkOptions::create_directories, "Make missing directories.")
          .optional("time_zone", &FileSinkOptions::time_zone, "Of the conversions in `path`.")
          .optional("missing", &FileSinkOptions::missing, "Stands in `path` for a field that an event does not have.")
          .optional("max_open_files", &FileSinkOptions::max_open_files,
                    "Open at once; the least recently used is closed for another.")
          .range(1U, 10000U)
          .optional("rotate", &FileSinkOptions::rotate,
                    "When the file is put aside and a new one begun, and how many of them are kept.")
          .optional("compression", &FileSinkOptions::compression,
                    "How the file is compressed, as a row of independent frames; `path` should end accordingly.")
          .optional("compression_level", &FileSinkOptions::compression_level,
                    "gzip: 1 to 9, by default 6; zstd: 1 to 19, by default 3.")
          .optional("compression_wait", &FileSinkOptions::compression_wait,
                    "How long at most a delivery waits for others to fill a frame of 256 KiB.")
          // Below what a reload waits for, and a sink that joins the others again: both need all that was sent to be
          // written.
          .range(milliseconds(0), milliseconds(5000))
          .verify_with(&verify);
  return schema;
}

std::string constant_path(const FileSinkOptions& options) {
  if (!options.path.is_constant()) return {};
  return std::filesystem::path(path_from(base_of(options.path.spelling()), options.path)).lexically_normal().string();
}

}  // namespace logpipe
