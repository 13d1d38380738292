#include "daemon/verify_keys.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "daemon/verify_input.hpp"
#include "event/json.hpp"

namespace logpipe::verifying {

namespace {

/// A row of digits and nothing else.
std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<Locator> Locator::parse(const std::string& option, const std::string& text, const std::string& group) {
  Locator locator;
  if (text.starts_with('.')) {
    std::string why;
    locator.path_ = FieldPath::parse(text, &why);
    if (!locator.path_) return fail(ErrorKind::invalid, option + " " + text + ": " + why);
    return locator;
  }
  Pattern::Problem problem;
  locator.pattern_ = Pattern::parse(text, &problem);
  if (!locator.pattern_) {
    return fail(ErrorKind::invalid,
                option + " " + text + ", byte " + std::to_string(problem.offset + 1) + ": " + problem.message);
  }
  locator.group_ = locator.pattern_->group(group).value_or(1);
  if (locator.pattern_->group_count() == 0) {
    return fail(ErrorKind::invalid, option + " " + text +
                                        ": put parentheses around what counts, or begin with a dot "
                                        "to name a field of JSON");
  }
  return locator;
}

std::optional<std::string_view> Locator::field(Batch& batch, const Event& event) const {
  if (event.form != Form::json) return std::nullopt;
  const auto value = find(batch, event, *path_);
  if (!value || value->type == ValueType::null) return std::nullopt;
  return value_text(*value, batch.arena);
}

std::optional<std::string_view> Locator::group(std::string_view line, std::vector<std::string_view>& groups) const {
  if (!pattern_->capture(line, groups) || groups[group_].data() == nullptr) return std::nullopt;
  return groups[group_];
}

Result<NumberReader> NumberReader::make(const std::string& key, const std::string& per) {
  NumberReader reader;
  auto number = Locator::parse("--key", key, "seq");
  if (!number) return fail(number.error());
  reader.key_ = std::move(*number);
  if (!per.empty()) {
    auto sequence = Locator::parse("--per", per, "per");
    if (!sequence) return fail(sequence.error());
    reader.per_ = std::move(*sequence);
  }
  return reader;
}

bool NumberReader::each(std::string_view lines, const std::function<bool(const Line&)>& visit) {
  const bool parse = key_.is_field() || (per_ && per_->is_field());
  const auto found = [&](const Locator& locator, const Event* event, std::string_view text) {
    if (!locator.is_field()) return locator.group(text, groups_);
    return event == nullptr ? std::nullopt : locator.field(*batch_, *event);
  };
  const auto visit_line = [&](const Event* event, std::string_view text) {
    Line line{text, std::nullopt, {}};
    if (const auto number = found(key_, event, text)) line.number = number_of(*number);
    if (per_ && line.number) {
      const auto sequence = found(*per_, event, text);
      if (sequence) {
        line.sequence = *sequence;
      } else {
        line.number.reset();
      }
    }
    return visit(line);
  };
  if (!parse) return each_line(lines, [&](std::string_view text) { return visit_line(nullptr, text); });

  BlockPtr block(new Block(lines.size(), nullptr));
  std::memcpy(block->data(), lines.data(), lines.size());
  block->set_size(lines.size());
  const auto size = static_cast<std::uint32_t>(lines.size());
  block->segments.push_back({std::make_shared<const SourceFile>(), 0, size, 0, size, SegmentKind::lines});
  batch_->open(freeze(std::move(block)));
  parse_json(*batch_, false, false);
  const bool more = std::all_of(batch_->events.begin(), batch_->events.end(),
                                [&](const Event& event) { return visit_line(&event, batch_->raw(event)); });
  batch_->close();
  return more;
}

}  // namespace logpipe::verifying
