#include "event/level_condition.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace logpipe {
namespace {

using Op = LevelCondition::Op;

struct Spelling {
  std::string_view text;
  Op op;
};
/// Longer ones first, so that `>=` is not read as `>`.
constexpr Spelling kOperators[] = {{">=", Op::greater_equal}, {"<=", Op::less_equal}, {"==", Op::equal},
                                   {"!=", Op::not_equal},     {">", Op::greater},     {"<", Op::less}};

constexpr Level kLevels[] = {Level::trace, Level::debug,    Level::info,  Level::notice, Level::warn,
                             Level::error, Level::critical, Level::alert, Level::fatal,  Level::unknown};

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_operator(char c) {
  return c == '<' || c == '>' || c == '=' || c == '!';
}

/// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string hint_for(std::string_view word) {
  std::string lower(word.substr(0, 32));
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  for (const Level level : kLevels) {
    if (distance(lower, level_name(level)) <= 2) return "did you mean " + std::string(level_name(level)) + "?";
  }
  std::string all = "levels are";
  for (const Level level : kLevels) all += " " + std::string(level_name(level));
  return all;
}

struct Reader {
  std::string_view text;
  std::size_t at{0};

  void skip_blanks() {
    while (at < text.size() && is_blank(text[at])) ++at;
  }
  /// Up to a blank or an operator.
  std::string_view word() {
    const std::size_t begin = at;
    while (at < text.size() && !is_blank(text[at]) && !is_operator(text[at])) ++at;
    return text.substr(begin, at - begin);
  }
};

}  // namespace

bool LevelCondition::holds(Level other) const noexcept {
  switch (op) {
    case Op::greater:
      return other > level;
    case Op::greater_equal:
      return other >= level;
    case Op::less:
      return other < level;
    case Op::less_equal:
      return other <= level;
    case Op::equal:
      return other == level;
    case Op::not_equal:
      return other != level;
  }
  return false;
}

std::optional<LevelCondition> LevelCondition::parse(std::string_view text, Problem* problem) {
  const auto wrong = [problem](std::size_t offset, std::size_t length, std::string message, std::string hint = {}) {
    if (problem) *problem = {offset, std::max<std::size_t>(length, 1), std::move(message), std::move(hint)};
    return std::nullopt;
  };
  Reader reader{text};
  reader.skip_blanks();
  const std::size_t subject = reader.at;
  const std::string_view field = reader.word();
  if (field != "level") {
    if (field.empty()) return wrong(subject, 1, "expected a condition such as `level >= error`");
    return wrong(subject, field.size(), "expected `level`, got `" + std::string(field) + "`",
                 "a condition reads `level >= error`");
  }

  reader.skip_blanks();
  const std::size_t op_begin = reader.at;
  std::size_t op_end = op_begin;
  while (op_end < text.size() && is_operator(text[op_end])) ++op_end;
  const std::string_view spelling = text.substr(op_begin, op_end - op_begin);
  const auto* known = std::find_if(std::begin(kOperators), std::end(kOperators),
                                   [spelling](const Spelling& one) { return one.text == spelling; });
  if (known == std::end(kOperators)) {
    if (spelling.empty()) return wrong(op_begin, 1, "expected an operator: > >= < <= == !=");
    std::string hint = "operators are > >= < <= == !=";
    if (spelling == "=") hint = "did you mean ==?";
    if (spelling == "=>") hint = "did you mean >=?";
    if (spelling == "=<") hint = "did you mean <=?";
    return wrong(op_begin, spelling.size(), "unknown operator `" + std::string(spelling) + "`", std::move(hint));
  }

  reader.at = op_end;
  reader.skip_blanks();
  const std::size_t name_begin = reader.at;
  const std::string_view name = reader.word();
  if (name.empty()) return wrong(name_begin, 1, "expected a level after `" + std::string(spelling) + "`", hint_for(""));
  const std::optional<Level> level = name == "unknown" ? Level::unknown : level_from_name(name);
  if (!level) return wrong(name_begin, name.size(), "unknown level `" + std::string(name) + "`", hint_for(name));

  reader.skip_blanks();
  if (reader.at != text.size()) {
    return wrong(reader.at, text.size() - reader.at, "expected the end of the condition",
                 "a condition compares the level once");
  }
  return LevelCondition{known->op, *level};
}

std::string LevelCondition::text() const {
  std::string result = "level ";
  for (const Spelling& one : kOperators) {
    if (one.op == op) result += one.text;
  }
  return result + " " + std::string(level_name(level));
}

}  // namespace logpipe
