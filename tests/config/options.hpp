#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/schema.hpp"

// A component with every kind of option, declared the way components are.
namespace sample {

namespace config = logpipe::config;

enum class Fsync { never, interval, always };

/// A type with its own decoding: `HOST:PORT`.
struct Address {
  std::string host{"127.0.0.1"};
  std::uint16_t port{0};
};
bool decode(config::Decoder& decoder, Address& out);
config::TypeInfo describe(config::Tag<Address>);
std::string print(config::Tag<Address>, const Address& address);

struct Queue {
  std::uint64_t max_events{100'000};
  config::Bytes max_bytes{16 * 1024 * 1024};
};
const config::Schema<Queue>& schema_of(config::Tag<Queue>);

struct Common {
  std::string type;
  config::Located<std::string> when{std::string("true")};
  Queue queue;
};
const config::Schema<Common>& schema_of(config::Tag<Common>);

struct Options {
  std::filesystem::path path;
  Fsync fsync{Fsync::interval};
  config::Bytes flush{64 * 1024};
  std::chrono::milliseconds timeout{200};
  config::Duration idle{std::chrono::seconds(30)};
  bool append{true};
  std::uint32_t workers{4};
  std::int8_t nice{0};
  double ratio{0.5};
  std::optional<config::Rate> rate;
  std::optional<std::string> prefix;
  std::vector<std::string> files;
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<config::Named<Queue>> queues;
  std::vector<Queue> list;
  Queue queue{.max_events = 5, .max_bytes = 1024};
  config::Secret token;
  config::Node raw;
  Address listen;
  std::optional<config::NamedChoice> parse;
};
const config::Schema<Options>& schema_of(config::Tag<Options>);

}  // namespace sample

template <>
struct logpipe::config::EnumNames<sample::Fsync> {
  static constexpr EnumName<sample::Fsync> values[] = {{"never", sample::Fsync::never, "left to the kernel"},
                                                       {"interval", sample::Fsync::interval, "with every checkpoint"},
                                                       {"always", sample::Fsync::always, "after every write"}};
};
