#include "stages/replace.hpp"

#include <string_view>
#include <vector>

#include "event/json.hpp"
#include "stages/field_names.hpp"

namespace logpipe {
namespace {

/// What a match is replaced by: literal texts, and groups of the pattern.
struct Piece {
  std::string text;
  std::size_t group{kNone};
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
};

/// `$1`, `$<name>`, `$$`. What is wrong with it, or an empty text.
std::string read_pieces(std::string_view text, const Pattern& pattern, std::vector<Piece>& pieces) {
  const auto literal = [&pieces](char c) {
    if (pieces.empty() || pieces.back().group != Piece::kNone) pieces.emplace_back();
    pieces.back().text += c;
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '$') {
      literal(text[at]);
      continue;
    }
    if (++at == text.size()) return "`$` at the end: write `$$` for the character itself";
    if (text[at] == '$') {
      literal('$');
      continue;
    }
    std::string_view name;
    if (text[at] == '<') {
      const std::size_t close = text.find('>', at);
      if (close == std::string_view::npos) return "`$<` is not closed";
      name = text.substr(at + 1, close - at - 1);
      at = close;
    } else {
      std::size_t end = at;
      while (end < text.size() && end - at < 3 && text[end] >= '0' && text[end] <= '9') ++end;
      name = text.substr(at, end - at);
      if (name.empty())
        return "expected a group behind `$`, such as `$1` or `$<name>`; write `$$` for the character itself";
      at = end - 1;
    }
    std::size_t number = 0;
    bool digits = !name.empty() && name.size() <= 3;
    for (const char c : name) {
      digits = digits && c >= '0' && c <= '9';
      number = number * 10 + static_cast<std::size_t>(c - '0');
    }
    if (!digits) {
      const auto group = pattern.group(name);
      if (!group) return "the pattern has no group called `" + std::string(name) + "`";
      number = *group;
    }
    if (number > pattern.group_count()) return "the pattern has no group " + std::to_string(number);
    pieces.push_back({{}, number});
  }
  return {};
}

class ReplaceStage final : public Stage {
 public:
  ReplaceStage(const ReplaceOptions& options, const StageServices& services)
      : field_(options.field),
        pattern_(options.pattern.pattern),
        text_(options.text.value_or(std::string())),
        with_(options.with),
        first_only_(options.times == ReplaceTimes::first),
        counts_(services) {
    if (pattern_) (void)read_pieces(options.with, *pattern_, pieces_);
  }

  void apply(Batch& batch, const Context&) const override {
    thread_local Work work;  // stays warm from batch to batch
    TransformCounts::Batch counts;
    for (Event& event : batch.events) {
      const std::optional<FieldValue> value = find(batch, event, field_.path());
      if (!value || value->type == ValueType::null) continue;
      if (value->type == ValueType::object || value->type == ValueType::array) {
        ++counts.failed;
        continue;
      }
      const std::string_view text = value_text(*value, batch.arena);
      if (!(pattern_ ? replace_matches(text, work) : replace_text(text, work))) continue;
      ++(set(batch, event, field_, json_string(work.made, batch.arena)) ? counts.changed : counts.failed);
    }
    counts_.add(counts);
  }

 private:
  struct Work {
    std::string made;
    std::vector<std::string_view> groups;
  };

  bool replace_text(std::string_view text, Work& work) const {
    std::size_t found = text.find(text_);
    if (found == std::string_view::npos) return false;
    work.made.clear();
    std::size_t copied = 0;
    while (found != std::string_view::npos) {
      work.made.append(text.substr(copied, found - copied)).append(with_);
      copied = found + text_.size();
      found = first_only_ ? std::string_view::npos : text.find(text_, copied);
    }
    work.made.append(text.substr(copied));
    return true;
  }

  bool replace_matches(std::string_view text, Work& work) const {
    if (!pattern_->capture(text, work.groups)) return false;
    work.made.clear();
    while (work.groups.front().data() != nullptr) {
      const std::string_view match = work.groups.front();
      const auto begin = static_cast<std::size_t>(match.data() - text.data());
      work.made.append(text.substr(0, begin));
      for (const Piece& piece : pieces_) {
        work.made.append(piece.group == Piece::kNone ? std::string_view(piece.text) : work.groups[piece.group]);
      }
      text.remove_prefix(begin + match.size());
      if (match.empty() && !text.empty()) {
        // Not a second time at the same place.
        std::size_t step = 1;
        while (step < text.size() && (text[step] & 0xC0) == 0x80) ++step;
        work.made.append(text.substr(0, step));
        text.remove_prefix(step);
      }
      if (first_only_ || text.empty() || !pattern_->capture(text, work.groups)) break;
    }
    work.made.append(text);
    return true;
  }

  const FieldTarget field_;
  const std::optional<Pattern> pattern_;
  const std::string text_;
  const std::string with_;
  const bool first_only_;
  std::vector<Piece> pieces_;
  const TransformCounts counts_;
};

void verify(const ReplaceOptions& options, config::Decoder& decoder) {
  if (options.pattern.pattern.has_value() == options.text.has_value()) {
    decoder.error(options.text ? "expected `pattern` or `text`, got both" : "expected `pattern` or `text`", {},
                  options.text ? config::Code::conflict : config::Code::missing_option);
    return;
  }
  if (options.text && options.text->empty()) decoder.error_at("text", "expected a text that is not empty");
  if (!options.pattern) return;
  std::vector<Piece> pieces;
  std::string why = read_pieces(options.with, *options.pattern, pieces);
  if (!why.empty()) decoder.error_at("with", std::move(why), {}, config::Code::expression);
}

}  // namespace

const config::Schema<ReplaceOptions>& schema_of(config::Tag<ReplaceOptions>) {
  static const auto schema =
      config::Schema<ReplaceOptions>("Replace")
          .optional("field", &ReplaceOptions::field, "The field: a name, or a path such as `.http.url`.")
          .optional("pattern", &ReplaceOptions::pattern, "What is replaced: all that a regular expression matches.")
          .optional("text", &ReplaceOptions::text, "Or a text as it stands.")
          .required(
              "with", &ReplaceOptions::with,
              "What takes its place; behind `pattern` with groups: `$1`, `$<name>`, `$0` for the whole match, `$$` "
              "for the character itself.")
          .optional("times", &ReplaceOptions::times, "How often.")
          .verify_with(&verify);
  return schema;
}

std::unique_ptr<Stage> make_replace_stage(const ReplaceOptions& options, const StageServices& services) {
  return std::make_unique<ReplaceStage>(options, services);
}

}  // namespace logpipe
