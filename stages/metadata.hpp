#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/values.hpp"
#include "event/batch.hpp"
#include "event/fields.hpp"

namespace logpipe {

/// What can be said of where an event comes from. Names of OpenTelemetry's semantic conventions where there are any.
enum class Metadata : std::uint8_t { host_name, file_path, file_name, source, offset };
template <>
struct config::EnumNames<Metadata> {
  static constexpr EnumName<Metadata> values[] = {
      {"host.name", Metadata::host_name, "the name of this machine"},
      {"log.file.path", Metadata::file_path, "the path of the file it was read from"},
      {"log.file.name", Metadata::file_name, "the last part of that path"},
      {"logpipe.source", Metadata::source, "the name of the source"},
      {"logpipe.offset", Metadata::offset, "the offset of its first byte in the file"},
  };
};

/// Sets such fields on events. Threads: const, so any.
class MetadataWriter {
 public:
  explicit MetadataWriter(const std::vector<Metadata>& wanted);
  void apply(Batch& batch) const;

 private:
  void apply(Batch& batch, Event& event, const FieldSet& members) const;

  FieldSet of_host_;
  std::vector<Metadata> of_file_;
  bool offset_{false};
};

}  // namespace logpipe
