#include "sources/registry.hpp"

#include <algorithm>
#include <utility>

#include "sources/file.hpp"
#include "sources/stdin.hpp"

namespace logpipe {
namespace {

template <class Options, auto Make>
class Decoded final : public SourcePlan {
 public:
  explicit Decoded(Options options) : options_(std::move(options)) {}
  std::unique_ptr<Source> make(SourceServices services) const override { return Make(options_, std::move(services)); }
  bool replayable() const override {
    return requires(const std::string& path) { reads_file(options_, path); };
  }
  bool reads(const std::string& path) const override {
    if constexpr (requires { reads_file(options_, path); }) return reads_file(options_, path);
    return false;
  }

 private:
  const Options options_;
};

template <class Options, auto Make>
std::unique_ptr<SourcePlan> decode_as(config::Object& object) {
  Options options;
  object.take(options);
  return std::make_unique<Decoded<Options, Make>>(std::move(options));
}

template <class Options>
const config::SchemaBase& schema_as() {
  return schema_of(config::Tag<Options>{});
}

constexpr auto make_file = [](FileSourceOptions options, SourceServices services) {
  return make_file_source(std::move(options), std::move(services));
};
constexpr auto make_stdin = [](StdinSourceOptions options, SourceServices services) {
  return make_stdin_source(std::move(options), std::move(services));
};

constexpr SourceEntry kSources[] = {
    {"file", &decode_as<FileSourceOptions, make_file>, &schema_as<FileSourceOptions>,
     "docs/components/sources/file.md"},
    {"stdin", &decode_as<StdinSourceOptions, make_stdin>, &schema_as<StdinSourceOptions>,
     "docs/components/sources/stdin.md"},
};

}  // namespace

std::span<const SourceEntry> source_registry() {
  return kSources;
}

const SourceEntry* find_source(std::string_view name) {
  const auto found = std::find_if(std::begin(kSources), std::end(kSources),
                                  [&](const SourceEntry& entry) { return entry.name == name; });
  return found == std::end(kSources) ? nullptr : found;
}

}  // namespace logpipe
