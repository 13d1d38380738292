#include "sources/registry.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "sources/file.hpp"
#include "sources/stdin.hpp"

namespace logpipe {

namespace {

template <class Options>
const config::SchemaBase& schema() {
  return schema_of(config::Tag<Options>{});
}

SourceFactory decode_file(const config::Node& node, config::Diagnostics& diagnostics, std::string path) {
  auto options = config::decode<FileSourceOptions>(node, diagnostics, std::move(path), {"type"});
  return [options = std::move(options)](SourceServices services) {
    return make_file_source(options, std::move(services));
  };
}

SourceFactory decode_stdin(const config::Node& node, config::Diagnostics& diagnostics, std::string path) {
  auto options = config::decode<StdinSourceOptions>(node, diagnostics, std::move(path), {"type"});
  return [options](SourceServices services) { return make_stdin_source(options, std::move(services)); };
}

constexpr std::array kSources{
    SourceEntry{"file", "docs/components/sources/file.md", &decode_file, &schema<FileSourceOptions>},
    SourceEntry{"stdin", "docs/components/sources/stdin.md", &decode_stdin, &schema<StdinSourceOptions>},
};

}  // namespace

std::span<const SourceEntry> source_registry() {
  return kSources;
}

const SourceEntry* find_source(std::string_view type) {
  const auto entry =
      std::find_if(kSources.begin(), kSources.end(), [type](const SourceEntry& e) { return e.type == type; });
  return entry == kSources.end() ? nullptr : &*entry;
}

}  // namespace logpipe
