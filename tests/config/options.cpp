#include "tests/config/options.hpp"

#include <charconv>

namespace sample {

bool decode(config::Decoder& decoder, Address& out) {
  std::string text;
  if (!decoder.into(text)) return false;
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return decoder.expected("an address such as 127.0.0.1:9632");
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, out.port);
  if (error != std::errc{} || stop != end) {
    return decoder.error_within(colon + 1, text.size() - colon - 1, "expected a port", {}, config::Code::invalid_value);
  }
  out.host = text.substr(0, colon);
  return true;
}

config::TypeInfo describe(config::Tag<Address>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "address"};
}

std::string print(config::Tag<Address>, const Address& address) {
  return address.host + ":" + std::to_string(address.port);
}

const config::Schema<Queue>& schema_of(config::Tag<Queue>) {
  static const auto schema = config::Schema<Queue>("Queue")
                                 .optional("max_events", &Queue::max_events, "Events at most.")
                                 .range(1, 1'000'000)
                                 .optional("max_bytes", &Queue::max_bytes, "Bytes at most.")
                                 .range(config::Bytes(1024), config::Bytes(1024 * 1024 * 1024))
                                 .scalar(&Queue::max_bytes);
  return schema;
}

const config::Schema<Common>& schema_of(config::Tag<Common>) {
  static const auto schema = config::Schema<Common>("Sink")
                                 .required("type", &Common::type, "Which sink.")
                                 .optional("when", &Common::when, "Condition.")
                                 .optional("queue", &Common::queue, "Bound in front of the sink.");
  return schema;
}

const config::Schema<Options>& schema_of(config::Tag<Options>) {
  using namespace std::chrono_literals;
  static const auto schema =
      config::Schema<Options>("Sample")
          .description("Everything an option can be.")
          .required("path", &Options::path, "File to append to.")
          .optional("fsync", &Options::fsync, "When written data is forced to the disk.")
          .optional("flush", &Options::flush, "Buffered bytes.")
          .optional("timeout", &Options::timeout, "Time for one attempt.")
          .range(10ms, 60'000ms)
          .optional("idle", &Options::idle, "Closed after.")
          .optional("append", &Options::append, "Keep what is there.")
          .optional("workers", &Options::workers, "Threads.")
          .range(1, 64)
          .optional("nice", &Options::nice, "Priority.")
          .optional("ratio", &Options::ratio, "A | B.")
          .range(0.0, 1.0)
          .optional("rate", &Options::rate, "Limit.")
          .optional("prefix", &Options::prefix, "Text in front.")
          .optional("files", &Options::files, "Globs.")
          .or_single()
          .optional("set", &Options::set, "Fields to set.")
          .optional("queues", &Options::queues, "By name.")
          .optional("list", &Options::list, "In order.")
          .optional("queue", &Options::queue, "One.")
          .optional("token", &Options::token, "Password.")
          .optional("raw", &Options::raw, "Decoded later.")
          .optional("listen", &Options::listen, "Where to listen.")
          .optional("parse", &Options::parse, "Format.")
          .check(
              &Options::workers, [](std::uint32_t n) { return (n & (n - 1)) == 0; }, "a power of two")
          .verify_with([](const Options& options, config::Decoder& decoder) {
            if (options.idle < options.timeout) {
              decoder.error_at("idle", "shorter than timeout", {}, config::Code::conflict);
            }
          });
  return schema;
}

}  // namespace sample
