#include "stages/metadata.hpp"

#include <unistd.h>

#include <charconv>
#include <memory>
#include <string_view>

#include "event/json.hpp"

namespace logpipe {

namespace {

std::string own_name() {
  char name[256] = "";
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

std::string_view last_part(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // 0 without a slash
}

void add_file(FieldSet& members, Metadata what, const SourceFile& file) {
  const std::string name(config::name_of(what));
  // What is read from a pipe has no path.
  if (what == Metadata::file_path && file.path.starts_with('/')) members.add(name, json_string(file.path));
  if (what == Metadata::file_name && file.path.starts_with('/')) members.add(name, json_string(last_part(file.path)));
  if (what == Metadata::source) members.add(name, json_string(file.source));
}

}  // namespace

MetadataWriter::MetadataWriter(const std::vector<Metadata>& wanted) {
  for (const Metadata what : wanted) {
    if (what == Metadata::host_name) {
      of_host_.add(std::string(config::name_of(what)), json_string(own_name()));
    } else if (what == Metadata::offset) {
      offset_ = true;
    } else {
      of_file_.push_back(what);
    }
  }
}

void MetadataWriter::apply(Batch& batch) const {
  if (of_host_.empty() && of_file_.empty() && !offset_) return;
  const SourceFile* of = nullptr;
  const FieldSet* members = &of_host_;
  for (Event& event : batch.events) {
    const SourceFile* file = batch.segment_of(event).file.get();
    if (!of_file_.empty() && file != of) {
      auto made = std::make_shared<FieldSet>(of_host_);
      for (const Metadata what : of_file_) add_file(*made, what, *file);
      batch.held.push_back(made);
      members = made.get();
      of = file;
    }
    apply(batch, event, *members);
  }
}

void MetadataWriter::apply(Batch& batch, Event& event, const FieldSet& members) const {
  if (!members.empty()) set(batch, event, members);
  if (!offset_) return;
  char* digits = batch.arena.allocate(20);
  const auto end = std::to_chars(digits, digits + 20, batch.file_offset(event)).ptr;
  batch.arena.shrink_last(static_cast<std::size_t>(digits + 20 - end));
  set(batch, event, config::name_of(Metadata::offset), {digits, static_cast<std::size_t>(end - digits)});
}

}  // namespace logpipe
