// Types: what can never be computed or never be true is told when the expression is compiled.

#include <algorithm>
#include <utility>

#include "event/expression_ast.hpp"
#include "event/expression_functions.hpp"

namespace logpipe::expr {
namespace {

constexpr Level kLevels[] = {Level::trace, Level::debug,    Level::info,  Level::notice, Level::warn,
                             Level::error, Level::critical, Level::alert, Level::fatal,  Level::unknown};

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

bool refuse(ExpressionProblem& problem, const Node& node, std::string message, std::string hint = {}) {
  problem = {node.offset, node.length, std::move(message), std::move(hint)};
  return false;
}

std::string a_type(Type type) {
  return "a " + std::string(type_name(type));
}

bool is_number(Type type) noexcept {
  return type == Type::number || type == Type::size;
}

/// Makes a literal text the time, duration, size or level that it is compared with.
bool convert(Node& node, Type type, ExpressionProblem& problem) {
  const std::string_view text = node.constant.text;
  std::optional<std::int64_t> value;
  switch (type) {
    case Type::level: {
      const std::optional<Level> level = level_named(text, node.offset, node.length, problem);
      if (!level) return false;
      node.constant = Value::of(*level);
      node.type = type;
      return true;
    }
    case Type::time:
      value = time_from_text(text);
      if (!value) return refuse(problem, node, "not a time", "for example '2024-03-01T12:00:00Z'");
      node.constant = Value::time(*value);
      break;
    case Type::duration:
      value = duration_from_text(text);
      if (!value) return refuse(problem, node, "not a duration", "for example 1.5s");
      node.constant = Value::duration(*value);
      break;
    case Type::size:
      value = size_from_text(text);
      if (!value) return refuse(problem, node, "not a size", "for example 10MiB");
      node.constant = Value::of(*value);
      break;
    default:
      return true;
  }
  node.type = type;
  return true;
}

bool is_text_constant(const Node& node) noexcept {
  return node.kind == NodeKind::constant && node.type == Type::text;
}

/// A bare name on the left of the level is that of a level: `warn <= level`.
bool level_on_the_left(Node& node, ExpressionProblem& problem) {
  if (node.kind != NodeKind::field || node.field->spelling().starts_with('.') || node.field->steps().size() != 1 ||
      node.field->spelling().starts_with('`')) {
    return true;
  }
  const std::optional<Level> level = level_named(node.field->steps()[0].key, node.offset, node.length, problem);
  if (!level) return false;
  node.kind = NodeKind::constant;
  node.constant = Value::of(*level);
  node.type = Type::level;
  node.field.reset();
  return true;
}

std::string hint_between(Type a, Type b) {
  if ((is_number(a) && b == Type::duration) || (a == Type::duration && is_number(b))) {
    return "write the number with a unit, for example 5s";
  }
  if ((is_number(a) && b == Type::text) || (a == Type::text && is_number(b))) {
    return "int(…) and float(…) make a number of a text, string(…) a text of a number";
  }
  if (a == Type::level || b == Type::level) return "levels are compared with levels: level >= warn";
  if (a == Type::time || b == Type::time) return "time(…) makes a time of a text or number";
  return {};
}

/// How the sides of a comparison are read; both may be converted.
bool unify(Node& left, Node& right, Type& as, ExpressionProblem& problem) {
  if (right.kind == NodeKind::level && !level_on_the_left(left, problem)) return false;
  if (is_text_constant(right) && !convert(right, left.type, problem)) return false;
  if (is_text_constant(left) && !convert(left, right.type, problem)) return false;
  const Type a = left.type;
  const Type b = right.type;
  if (a == Type::any || b == Type::any) {
    as = a == Type::any ? b : a;
  } else if (a == b) {
    as = a;
  } else if (is_number(a) && is_number(b)) {
    as = Type::number;
  } else if ((a == Type::level && b == Type::text) || (a == Type::text && b == Type::level)) {
    as = Type::level;
  } else {
    return refuse(problem, right, a_type(a) + " is never " + a_type(b), hint_between(a, b));
  }
  return true;
}

bool check_compare(Node& node, ExpressionProblem& problem) {
  node.type = Type::boolean;
  Node& left = *node.children[0];
  Node& right = *node.children[1];
  if (!unify(left, right, node.as, problem)) return false;
  const bool ordered = node.comparison != Comparison::equal && node.comparison != Comparison::not_equal;
  if (ordered && (node.as == Type::boolean || node.as == Type::null)) {
    return refuse(problem, node, a_type(node.as) + " is not more or less than another", "use == or !=");
  }
  return true;
}

bool check_in(Node& node, ExpressionProblem& problem) {
  node.type = Type::boolean;
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    Node& item = *node.children[i];
    const bool negative = item.kind == NodeKind::negate && item.children[0]->kind == NodeKind::constant;
    if (item.kind != NodeKind::constant && !negative) {
      return refuse(problem, item, "expected a constant in the list", "compare with other fields by ==, joined by or");
    }
    Type as = Type::any;
    if (!unify(*node.children[0], item, as, problem)) return false;
    item.as = as;
  }
  return true;
}

bool check_text(const Node& node, std::string_view what, ExpressionProblem& problem) {
  if (node.type == Type::any || node.type == Type::text || node.type == Type::level) return true;
  return refuse(problem, node, std::string(what) + " a text, got " + a_type(node.type), "string(…) makes a text of it");
}

bool check_arithmetic(Node& node, ExpressionProblem& problem) {
  const Type a = node.children[0]->type;
  const Type b = node.children[1]->type;
  const auto of = [&node](Type left, Type right, Type result) {
    node.as = left;
    node.right_as = right;
    node.type = result;
    return true;
  };
  const auto plain = [](Type type) { return type == Type::any || is_number(type); };
  if (plain(a) && plain(b)) {
    if (a != Type::size && b != Type::size) return of(Type::number, Type::number, Type::number);
    if (node.arithmetic == Arithmetic::multiply) {
      return of(a == Type::size ? a : Type::number, b == Type::size ? b : Type::number, Type::size);
    }
    // By a size, or by a field, which is read as one, it is a ratio.
    const bool ratio = node.arithmetic == Arithmetic::divide && b != Type::number;
    return of(Type::size, Type::size, ratio ? Type::number : Type::size);
  }
  const auto span = [](Type type) { return type == Type::any || type == Type::duration; };
  const auto time = [](Type type) { return type == Type::any || type == Type::time; };
  switch (node.arithmetic) {
    case Arithmetic::add:
      if (span(a) && span(b)) return of(Type::duration, Type::duration, Type::duration);
      if (time(a) && span(b)) return of(Type::time, Type::duration, Type::time);
      if (span(a) && time(b)) return of(Type::duration, Type::time, Type::time);
      break;
    case Arithmetic::subtract:
      if (time(a) && time(b)) return of(Type::time, Type::time, Type::duration);
      if (span(a) && span(b)) return of(Type::duration, Type::duration, Type::duration);
      if (time(a) && b == Type::duration) return of(Type::time, Type::duration, Type::time);
      break;
    case Arithmetic::multiply:
      if (a == Type::duration && plain(b)) return of(Type::duration, Type::number, Type::duration);
      if (plain(a) && b == Type::duration) return of(Type::number, Type::duration, Type::duration);
      break;
    case Arithmetic::divide:
      if (a == Type::duration && is_number(b)) return of(Type::duration, Type::number, Type::duration);
      if (span(a) && span(b)) return of(Type::duration, Type::duration, Type::number);
      break;
    case Arithmetic::remainder:
      if (span(a) && span(b)) return of(Type::duration, Type::duration, Type::duration);
      break;
  }
  static constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "%"};
  const bool texts = a == Type::text || b == Type::text;
  return refuse(
      problem, node,
      "`" + std::string(kSigns[static_cast<std::size_t>(node.arithmetic)]) + "` of " + a_type(a) + " and " + a_type(b),
      texts ? "concat(…) joins texts, int(…) and float(…) make numbers of them" : "");
}

bool check_negate(Node& node, ExpressionProblem& problem) {
  const Node& inner = *node.children[0];
  if (inner.type == Type::any || is_number(inner.type) || inner.type == Type::duration) {
    node.type = inner.type == Type::any ? Type::number : inner.type;
    node.as = node.type;
    return true;
  }
  return refuse(problem, node, "`-` of " + a_type(inner.type));
}

/// An argument that is a text where a number or time is wanted may still be one, if it is no literal.
bool accepts(Type wanted, const Node& argument) noexcept {
  const Type given = argument.type;
  if (wanted == Type::any || given == Type::any || wanted == given || (is_number(wanted) && is_number(given))) {
    return true;
  }
  if (wanted == Type::text) return given == Type::level;
  if (wanted == Type::number) return false;
  return given == Type::text || is_number(given);
}

bool check_networks(const Node& node, ExpressionProblem& problem) {
  if (node.function->name != "in_cidr") return true;
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    const Node& argument = *node.children[i];
    if (!is_text_constant(argument) || is_network(argument.constant.text)) continue;
    return refuse(problem, argument, "not a network", "for example '10.0.0.0/8' or 'fd00::/8'");
  }
  return true;
}

bool check_call(Node& node, ExpressionProblem& problem) {
  const Function& function = *node.function;
  const std::size_t count = node.children.size();
  if (count < function.arguments_min || count > function.arguments_max) {
    return refuse(problem, node,
                  "`" + std::string(function.name) + "` does not take " + std::to_string(count) +
                      (count == 1 ? " argument" : " arguments"),
                  "it reads " + std::string(function.usage));
  }
  const bool converts = function.name == "string" || function.name == "concat" || function.name == "bool";
  for (std::size_t i = 0; i < count; ++i) {
    const Type wanted = function.type_of(i);
    const Node& argument = *node.children[i];
    if (converts || accepts(wanted, argument)) continue;
    return refuse(problem, argument, "expected " + a_type(wanted) + ", got " + a_type(argument.type),
                  "it reads " + std::string(function.usage));
  }
  node.type = function.result;
  return check_networks(node, problem);
}

/// The type that some values have in common.
Type common(const std::vector<NodePtr>& children, std::size_t from) {
  Type type = Type::null;
  for (std::size_t i = from; i < children.size(); ++i) {
    const Type one = children[i]->type;
    if (one == Type::null) continue;
    if (type != Type::null && type != one) return Type::any;
    type = one;
  }
  return type == Type::null ? Type::any : type;
}

bool check_special(Node& node, ExpressionProblem& problem) {
  const std::size_t count = node.children.size();
  if (node.kind == NodeKind::body) {
    node.type = Type::text;
    return count == 0 || refuse(problem, node, "`raw` takes no arguments", "it reads raw()");
  }
  if (node.kind == NodeKind::coalesce) {
    node.type = common(node.children, 0);
    return (count > 0 && count <= kManyArguments) ||
           refuse(problem, node, "`coalesce` takes 1 to 64 arguments", "it reads coalesce(value, …)");
  }
  if (count != 3) return refuse(problem, node, "`if` takes 3 arguments", "it reads if(condition, then, else)");
  if (!is_condition(*node.children[0])) {
    return refuse(problem, *node.children[0], "expected a condition, got " + a_type(node.children[0]->type));
  }
  node.type = common(node.children, 1);
  return true;
}

bool check_junction(Node& node, ExpressionProblem& problem) {
  node.type = Type::boolean;
  for (const NodePtr& child : node.children) {
    if (!is_condition(*child)) {
      return refuse(problem, *child, "expected a condition, got " + a_type(child->type),
                    child->type == Type::level ? "for example level >= error" : "");
    }
  }
  return true;
}

}  // namespace

std::string_view type_name(Type type) noexcept {
  switch (type) {
    case Type::any:
      return "field";
    case Type::null:
      return "null";
    case Type::boolean:
      return "bool";
    case Type::number:
      return "number";
    case Type::size:
      return "size";
    case Type::duration:
      return "duration";
    case Type::time:
      return "time";
    case Type::text:
      return "text";
    case Type::level:
      return "level";
  }
  return "value";
}

std::string nearest_hint(std::string_view word, const std::vector<std::string_view>& candidates) {
  constexpr std::size_t kWordMax = 32;
  constexpr std::size_t kFar = 3;
  std::string lower(word.substr(0, kWordMax));
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  std::string_view best;
  std::size_t nearest = std::min<std::size_t>(kFar, lower.size() < 3 ? 2 : kFar);
  for (const std::string_view one : candidates) {
    const std::size_t far = distance(lower, one);
    if (far >= nearest) continue;
    nearest = far;
    best = one;
  }
  return best.empty() ? std::string() : "did you mean " + std::string(best) + "?";
}

std::optional<Level> level_named(std::string_view word, std::size_t offset, std::size_t length,
                                 ExpressionProblem& problem) {
  if (word == "unknown") return Level::unknown;
  if (const std::optional<Level> level = level_from_name(word)) return level;
  std::vector<std::string_view> names;
  for (const Level level : kLevels) names.push_back(level_name(level));
  std::string hint = nearest_hint(word, names);
  if (hint.empty() || word.empty()) {
    hint = "levels are";
    for (const std::string_view name : names) hint += " " + std::string(name);
  }
  problem = {offset, std::max<std::size_t>(length, 1), "unknown level `" + std::string(word) + "`", std::move(hint)};
  return std::nullopt;
}

bool check(Node& node, ExpressionProblem& problem) {
  switch (node.kind) {
    case NodeKind::compare:
      return check_compare(node, problem);
    case NodeKind::in:
      return check_in(node, problem);
    case NodeKind::text_test:
      node.type = Type::boolean;
      return check_text(*node.children[0], "looks into", problem) &&
             check_text(*node.children[1], "looks for", problem);
    case NodeKind::match:
      node.type = Type::boolean;
      return check_text(*node.children[0], "a pattern is matched with", problem);
    case NodeKind::arithmetic:
      return check_arithmetic(node, problem);
    case NodeKind::negate:
      return check_negate(node, problem);
    case NodeKind::call:
      return check_call(node, problem);
    case NodeKind::choose:
    case NodeKind::coalesce:
    case NodeKind::body:
      return check_special(node, problem);
    case NodeKind::exists:
      node.type = Type::boolean;
      return true;
    case NodeKind::all:
    case NodeKind::any:
    case NodeKind::negation:
      return check_junction(node, problem);
    case NodeKind::constant:
    case NodeKind::field:
    case NodeKind::level:
      return true;
  }
  return true;
}

}  // namespace logpipe::expr
