#include "sinks/registry.hpp"

#include <algorithm>
#include <utility>

#include "sinks/file.hpp"
#include "sinks/stdout.hpp"

namespace logpipe {
namespace {

class FilePlan final : public SinkPlan {
 public:
  using Options = FileSinkOptions;
  explicit FilePlan(Options options) : options_(std::move(options)) {}
  std::unique_ptr<Sink> make(SinkServices services) const override {
    return make_file_sink(options_, std::move(services));
  }
  void encode(const Batch& batch, std::span<const Event> events, Encoded& out) const override {
    encode_events(batch, events, options_.encoding, out, Colors::off, options_.invalid_utf8);
  }
  std::string constant_path() const override { return logpipe::constant_path(options_); }

 private:
  const Options options_;
};

class StdoutPlan final : public SinkPlan {
 public:
  using Options = StdoutSinkOptions;
  explicit StdoutPlan(Options options) : options_(std::move(options)) {}
  std::unique_ptr<Sink> make(SinkServices services) const override {
    return make_stdout_sink(options_, std::move(services));
  }
  void encode(const Batch& batch, std::span<const Event> events, Encoded& out) const override {
    encode_events(batch, events, options_.encoding, out, Colors::off, options_.invalid_utf8);
  }
  bool writes_stdout() const override { return true; }

 private:
  const Options options_;
};

template <class Plan>
std::unique_ptr<SinkPlan> decode_as(config::Object& object) {
  typename Plan::Options options;
  object.take(options);
  return std::make_unique<Plan>(std::move(options));
}

template <class Plan>
const config::SchemaBase& schema_as() {
  return schema_of(config::Tag<typename Plan::Options>{});
}

constexpr SinkEntry kSinks[] = {
    {"file", &decode_as<FilePlan>, &schema_as<FilePlan>, "docs/components/sinks/file.md"},
    {"stdout", &decode_as<StdoutPlan>, &schema_as<StdoutPlan>, "docs/components/sinks/stdout.md"},
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
