#include "sinks/registry.hpp"

#include <algorithm>
#include <utility>

#include "sinks/file.hpp"
#include "sinks/stdout.hpp"

namespace logpipe {
namespace {

template <class Options, auto Make>
class Plan final : public SinkPlan {
 public:
  explicit Plan(Options options) : options_(std::move(options)) {}
  std::unique_ptr<Sink> make(SinkServices services) const override { return Make(options_, std::move(services)); }

 private:
  const Options options_;
};

template <class Options, auto Make>
std::unique_ptr<SinkPlan> decode_as(config::Object& object) {
  Options options;
  object.take(options);
  return std::make_unique<Plan<Options, Make>>(std::move(options));
}

template <class Options>
const config::SchemaBase& schema_as() {
  return schema_of(config::Tag<Options>{});
}

constexpr auto make_file = [](FileSinkOptions options, SinkServices services) {
  return make_file_sink(std::move(options), std::move(services));
};
constexpr auto make_stdout = [](StdoutSinkOptions options, SinkServices services) {
  return make_stdout_sink(options, std::move(services));
};

constexpr SinkEntry kSinks[] = {
    {"file", &decode_as<FileSinkOptions, make_file>, &schema_as<FileSinkOptions>, "docs/components/sinks/file.md"},
    {"stdout", &decode_as<StdoutSinkOptions, make_stdout>, &schema_as<StdoutSinkOptions>,
     "docs/components/sinks/stdout.md"},
};

}  // namespace

std::span<const SinkEntry> sink_registry() {
  return kSinks;
}

const SinkEntry* find_sink(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kSinks), std::end(kSinks), [&](const SinkEntry& entry) { return entry.name == name; });
  return found == std::end(kSinks) ? nullptr : found;
}

}  // namespace logpipe
