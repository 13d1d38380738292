#include "sources/multiline.hpp"

namespace logpipe {

const config::Schema<MultilineOptions>& schema_of(config::Tag<MultilineOptions>) {
  using Options = MultilineOptions;
  using namespace std::chrono_literals;
  static const auto schema =
      config::Schema<Options>("Multiline")
          .description("Several lines of a file as one event.")
          .optional("preset", &Options::preset, "A ready-made rule.")
          .optional("start", &Options::start, "A line that matches begins an event, and others belong to it.")
          .optional("continue", &Options::continuation,
                    "A line that matches belongs to the event before it, and others begin one. With `start` as well: "
                    "only to one that began with a line matching `start`.")
          .optional("timeout", &Options::timeout,
                    "An event is finished when its file has not grown for this long, although a further line could "
                    "belong to it.")
          .range(std::chrono::milliseconds(10), std::chrono::milliseconds(1h))
          .optional("max_lines", &Options::max_lines,
                    "The most lines of one event; what follows is an event of its own. Nothing is lost.")
          .range(std::uint32_t{2}, std::uint32_t{1'000'000})
          .optional("max_bytes", &Options::max_bytes, "The most bytes of an event of more than one line.")
          .range(config::Bytes{1024}, config::Bytes{64 * 1024 * 1024})
          .scalar(&Options::preset)
          .verify_with([](const Options& options, config::Decoder& decoder) {
            const bool patterns = options.start || options.continuation;
            if (options.preset && patterns) {
              decoder.error_at("preset", "a preset has its own rule",
                               "write either `preset` or `start` and `continue`");
            } else if (!options.preset && !patterns) {
              decoder.error("expected a preset, or `start` or `continue`",
                            "for example `multiline: java`, or `multiline: {start: '^\\d{4}-'}`");
            }
          });
  return schema;
}

}  // namespace logpipe
