// Constants are computed once, when the expression is compiled.

#include <algorithm>
#include <utility>

#include "event/expression_ast.hpp"
#include "event/expression_functions.hpp"
#include "event/expression_values.hpp"

namespace logpipe::expr {
namespace {

bool is_constant(const Node& node) noexcept {
  return node.kind == NodeKind::constant;
}

void become(Node& node, const Value& value) {
  node.kind = NodeKind::constant;
  node.constant = value;
  node.children.clear();
  node.pattern.reset();
}

Value call_of(const Node& node, Arena& texts) {
  std::vector<Value> arguments;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const Value read_one = read(node.children[i]->constant, node.function->type_of(i), texts);
    if (read_one.missing()) return read_one;
    arguments.push_back(read_one);
  }
  CallContext context{texts, nullptr};
  return node.function->call(arguments, context);
}

bool in_list(const Node& node, Arena& texts) {
  const Value& value = node.children[0]->constant;
  return std::any_of(node.children.begin() + 1, node.children.end(), [&](const NodePtr& item) {
    return compare(Comparison::equal, item->as, value, item->constant, texts);
  });
}

/// What a node whose children are all constant comes to; nullopt where it cannot be said before there is an event.
std::optional<Value> value_of(const Node& node, Arena& texts) {
  const auto child = [&node](std::size_t i) -> const Value& { return node.children[i]->constant; };
  const auto test = [&](bool plain) { return Value::of(plain != node.negated && !child(0).missing()); };
  switch (node.kind) {
    case NodeKind::call:
      if (!node.function->constant) return std::nullopt;
      return call_of(node, texts);
    case NodeKind::arithmetic:
      return calculate(node.arithmetic, read(child(0), node.as, texts), read(child(1), node.right_as, texts));
    case NodeKind::negate:
      return negated(read(child(0), node.as, texts));
    case NodeKind::compare:
      return Value::of(compare(node.comparison, node.as, child(0), child(1), texts));
    case NodeKind::in:
      return test(in_list(node, texts));
    case NodeKind::text_test:
      if (child(1).missing()) return Value::of(false);
      return test(test_text(node.test, node.ignore_case, child(0), child(1), texts));
    case NodeKind::match: {
      const std::optional<std::string_view> text = text_of(child(0), texts);
      return test(text && node.pattern->matches(*text));
    }
    case NodeKind::negation:
      return Value::of(!is_true(child(0)));
    default:
      return std::nullopt;
  }
}

/// `and` without what is true, `or` without what is false; all of it where one child decides.
void fold_junction(Node& node) {
  const bool neutral = node.kind == NodeKind::all;
  for (const NodePtr& child : node.children) {
    if (is_constant(*child) && is_true(child->constant) != neutral) return become(node, Value::of(!neutral));
  }
  std::erase_if(node.children, [](const NodePtr& child) { return is_constant(*child); });
  if (node.children.empty()) become(node, Value::of(neutral));
}

/// if() with a known condition is one of its branches; coalesce() ends with the first constant that is there.
void fold_choice(NodePtr& node) {
  if (node->kind == NodeKind::choose) {
    if (!is_constant(*node->children[0])) return;
    NodePtr chosen = std::move(node->children[is_true(node->children[0]->constant) ? 1 : 2]);
    node = std::move(chosen);
    return;
  }
  std::vector<NodePtr>& children = node->children;
  std::erase_if(children, [&](const NodePtr& child) { return is_constant(*child) && child->constant.absent(); });
  const auto last = std::find_if(children.begin(), children.end(), [](const auto& one) { return is_constant(*one); });
  if (last != children.end()) children.erase(last + 1, children.end());
  if (children.empty()) return become(*node, Value::none());
  if (children.size() == 1 && is_constant(*children.front())) {
    NodePtr only = std::move(children.front());
    node = std::move(only);
  }
}

}  // namespace

bool fold(NodePtr& node, Arena& texts, ExpressionProblem& problem) {
  for (NodePtr& child : node->children) {
    if (!fold(child, texts, problem)) return false;
  }
  if (node->kind == NodeKind::choose || node->kind == NodeKind::coalesce) {
    fold_choice(node);
    return true;
  }
  if (node->kind == NodeKind::all || node->kind == NodeKind::any) {
    fold_junction(*node);
    return true;
  }
  const bool leaf = node->kind == NodeKind::constant || node->kind == NodeKind::field ||
                    node->kind == NodeKind::level || node->kind == NodeKind::body;
  if (leaf ||
      !std::all_of(node->children.begin(), node->children.end(), [](const auto& one) { return is_constant(*one); })) {
    return true;
  }
  const std::optional<Value> value = value_of(*node, texts);
  if (!value) return true;
  if (value->missing()) {
    problem = {node->offset, node->length, "this has no value, whatever the event", {}};
    if (node->function != nullptr) problem.hint = "it reads " + std::string(node->function->usage);
    return false;
  }
  become(*node, *value);
  return true;
}

}  // namespace logpipe::expr
