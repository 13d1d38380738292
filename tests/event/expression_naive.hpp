#pragma once

// A second opinion on conditions: walks the tree as it was parsed, with every field taken out of the event beforehand
// and no memory, jumps or folding. Knows the operators that expression_property_test.cpp writes.

#include <map>
#include <optional>
#include <string>

#include "event/expression_ast.hpp"
#include "event/level.hpp"

namespace logpipe::test {

/// A value with memory of its own.
struct Plain {
  enum class Kind { missing, null, boolean, number, text };
  Kind kind{Kind::missing};
  bool boolean{false};
  double number{0};
  std::string text;  ///< of a number how it was written
};

class Naive {
 public:
  Naive(const std::map<std::string, Plain>& fields, Level level) : fields_(fields), level_(level) {}

  bool holds(const expr::Node& node) const {
    using enum expr::NodeKind;
    switch (node.kind) {
      case all:
        for (const auto& child : node.children) {
          if (!holds(*child)) return false;
        }
        return true;
      case any:
        for (const auto& child : node.children) {
          if (holds(*child)) return true;
        }
        return false;
      case negation:
        return !holds(*node.children[0]);
      case exists:
        return value(*node.children[0]).kind != Plain::Kind::missing;
      case compare:
        return compared(node);
      case in:
        return listed(node);
      case text_test: {
        const Plain left = value(*node.children[0]);
        if (left.kind == Plain::Kind::missing || value(*node.children[1]).kind == Plain::Kind::missing) return false;
        return tested(node, left) != node.negated;
      }
      case match: {
        const Plain left = value(*node.children[0]);
        const auto text = as_text(left);
        return left.kind != Plain::Kind::missing && (text && node.pattern->matches(*text)) != node.negated;
      }
      default: {
        const Plain one = value(node);
        return one.kind == Plain::Kind::boolean ? one.boolean : one.kind == Plain::Kind::text && one.text == "true";
      }
    }
  }

 private:
  static Plain of(const Value& value) {
    Plain made;
    switch (value.kind) {
      case Value::Kind::null:
        made.kind = Plain::Kind::null;
        break;
      case Value::Kind::boolean:
        made.kind = Plain::Kind::boolean;
        made.boolean = value.boolean;
        break;
      case Value::Kind::integer:
      case Value::Kind::real:
        made.kind = Plain::Kind::number;
        made.number = value.as_double();
        made.text = value.text;
        break;
      case Value::Kind::text:
        made.kind = Plain::Kind::text;
        made.text = value.text;
        break;
      default:
        break;
    }
    return made;
  }

  Plain value(const expr::Node& node) const {
    using enum expr::NodeKind;
    if (node.kind == constant) return of(node.constant);
    if (node.kind == field) {
      const auto found = fields_.find(node.field->steps()[0].key);
      return found == fields_.end() ? Plain() : found->second;
    }
    if (node.kind == negate) return number_of(as_number(value(*node.children[0])), [](double x) { return -x; });
    if (node.kind == arithmetic) return calculated(node);
    Plain made;
    made.kind = Plain::Kind::boolean;
    made.boolean = holds(node);
    return made;
  }

  template <class Change>
  static Plain number_of(const std::optional<double>& number, Change&& change) {
    Plain made;
    if (!number) return made;
    made.kind = Plain::Kind::number;
    made.number = change(*number);
    return made;
  }

  Plain calculated(const expr::Node& node) const {
    const auto a = as_number(value(*node.children[0]));
    const auto b = as_number(value(*node.children[1]));
    if (!a || !b) return {};
    return number_of(a, [&](double x) {
      if (node.arithmetic == expr::Arithmetic::add) return x + *b;
      return node.arithmetic == expr::Arithmetic::subtract ? x - *b : x * *b;
    });
  }

  static std::optional<double> as_number(const Plain& value) {
    if (value.kind == Plain::Kind::number) return value.number;
    if (value.kind != Plain::Kind::text || value.text.empty()) return std::nullopt;
    if (value.text.find_first_not_of("0123456789-.") != std::string::npos || value.text == "-") return std::nullopt;
    return std::stod(value.text);
  }
  static std::optional<std::string> as_text(const Plain& value) {
    switch (value.kind) {
      case Plain::Kind::text:
      case Plain::Kind::number:
        return value.text;
      case Plain::Kind::boolean:
        return value.boolean ? "true" : "false";
      default:
        return std::nullopt;
    }
  }

  /// -1, 0, 1; nullopt: they cannot be compared, or are unequal without an order.
  template <class T>
  static int order(const T& a, const T& b) {
    return a < b ? -1 : b < a ? 1 : 0;
  }
  static std::optional<int> order(const Plain& a, const Plain& b, expr::Type as) {
    using enum expr::Type;
    if (as == number) {
      const auto x = as_number(a), y = as_number(b);
      return x && y ? std::optional(order(*x, *y)) : std::nullopt;
    }
    if (as == text) {
      const auto x = as_text(a), y = as_text(b);
      return x && y ? std::optional(order(*x, *y)) : std::nullopt;
    }
    if (as == boolean) {
      const auto truth = [](const Plain& one) -> std::optional<bool> {
        if (one.kind == Plain::Kind::boolean) return one.boolean;
        if (one.kind == Plain::Kind::text && (one.text == "true" || one.text == "false")) return one.text == "true";
        return std::nullopt;
      };
      const auto x = truth(a), y = truth(b);
      return x && y && *x == *y ? std::optional(0) : std::nullopt;
    }
    if (as == null) {
      return a.kind == Plain::Kind::null && b.kind == Plain::Kind::null ? std::optional(0) : std::nullopt;
    }
    // Two fields.
    if (a.kind == b.kind) {
      if (a.kind == Plain::Kind::number) return order(a.number, b.number);
      if (a.kind == Plain::Kind::text) return order(a.text, b.text);
      if (a.kind == Plain::Kind::boolean) return a.boolean == b.boolean ? std::optional(0) : std::nullopt;
      return 0;
    }
    const Plain& other = a.kind == Plain::Kind::text ? b : a;
    if (a.kind != Plain::Kind::text && b.kind != Plain::Kind::text) return std::nullopt;
    if (other.kind == Plain::Kind::number) return order(a, b, number);
    if (other.kind == Plain::Kind::boolean) return order(a, b, boolean);
    return std::nullopt;
  }
  static bool outcome(expr::Comparison op, std::optional<int> order) {
    using enum expr::Comparison;
    switch (op) {
      case equal:
        return order && *order == 0;
      case not_equal:
        return !order || *order != 0;
      case less:
        return order && *order < 0;
      case less_equal:
        return order && *order <= 0;
      case greater:
        return order && *order > 0;
      case greater_equal:
        return order && *order >= 0;
    }
    return false;
  }

  bool compared(const expr::Node& node) const {
    const expr::Node& left = *node.children[0];
    const expr::Node& right = *node.children[1];
    if (left.kind == expr::NodeKind::level) {
      return outcome(node.comparison, order(static_cast<int>(level_), static_cast<int>(right.constant.level)));
    }
    const Plain a = value(left), b = value(right);
    if (a.kind == Plain::Kind::missing || b.kind == Plain::Kind::missing) return false;
    return outcome(node.comparison, order(a, b, node.as));
  }

  bool listed(const expr::Node& node) const {
    bool found = false;
    if (node.children[0]->kind == expr::NodeKind::level) {
      for (std::size_t i = 1; i < node.children.size(); ++i) found |= node.children[i]->constant.level == level_;
      return found != node.negated;
    }
    const Plain left = value(*node.children[0]);
    if (left.kind == Plain::Kind::missing) return false;
    for (std::size_t i = 1; i < node.children.size(); ++i) {
      const expr::Node& item = *node.children[i];
      found |= outcome(expr::Comparison::equal, order(left, value(item), item.as));
    }
    return found != node.negated;
  }

  bool tested(const expr::Node& node, const Plain& left) const {
    auto text = as_text(left);
    auto part = as_text(value(*node.children[1]));
    if (!text || !part) return false;
    if (node.ignore_case) {
      for (std::string* one : {&*text, &*part}) {
        for (char& c : *one) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      }
    }
    switch (node.test) {
      case expr::TextTest::equals:
        return *text == *part;
      case expr::TextTest::contains:
        return text->find(*part) != std::string::npos;
      case expr::TextTest::starts_with:
        return text->starts_with(*part);
      case expr::TextTest::ends_with:
        return text->ends_with(*part);
      case expr::TextTest::like:
        return globbed(*text, *part);
    }
    return false;
  }
  /// Tries everything.
  static bool globbed(std::string_view text, std::string_view glob) {
    if (glob.empty()) return text.empty();
    if (glob.front() == '*') {
      for (std::size_t i = 0; i <= text.size(); ++i) {
        if (globbed(text.substr(i), glob.substr(1))) return true;
      }
      return false;
    }
    if (text.empty() || (glob.front() != '?' && glob.front() != text.front())) return false;
    return globbed(text.substr(1), glob.substr(1));
  }

  const std::map<std::string, Plain>& fields_;
  const Level level_;
};

}  // namespace logpipe::test
