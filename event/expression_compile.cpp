// From tree to program.

#include <algorithm>
#include <utility>

#include "event/expression_program.hpp"
#include "event/expression_values.hpp"

namespace logpipe::expr {
namespace {

constexpr Level kLevels[] = {Level::unknown, Level::trace, Level::debug,    Level::info,  Level::notice,
                             Level::warn,    Level::error, Level::critical, Level::alert, Level::fatal};
constexpr std::uint32_t kAllLevels = 0xFFFFFFFF;

template <class Holds>
std::uint32_t levels_where(Holds&& holds) {
  std::uint32_t set = 0;
  for (const Level level : kLevels) {
    if (holds(Value::of(level))) set |= 1U << static_cast<unsigned>(level);
  }
  return set;
}

bool is_level(const Node& node, NodeKind kind) noexcept {
  return node.kind == kind && node.type == Type::level;
}

std::optional<std::uint32_t> compared_levels(const Node& node) {
  Arena unused;
  const Node& left = *node.children[0];
  const Node& right = *node.children[1];
  if (is_level(left, NodeKind::level) && is_level(right, NodeKind::constant)) {
    return levels_where(
        [&](const Value& level) { return compare(node.comparison, Type::level, level, right.constant, unused); });
  }
  if (is_level(left, NodeKind::constant) && is_level(right, NodeKind::level)) {
    return levels_where(
        [&](const Value& level) { return compare(node.comparison, Type::level, left.constant, level, unused); });
  }
  return std::nullopt;
}

std::optional<std::uint32_t> listed_levels(const Node& node) {
  if (node.children[0]->kind != NodeKind::level) return std::nullopt;
  std::uint32_t set = 0;
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    if (node.children[i]->constant.kind != Value::Kind::level) return std::nullopt;
    set |= 1U << static_cast<unsigned>(node.children[i]->constant.level);
  }
  return node.negated ? ~set : set;
}

bool same_steps(const FieldPath& a, const FieldPath& b) noexcept {
  return std::equal(
      a.steps().begin(), a.steps().end(), b.steps().begin(), b.steps().end(),
      [](const FieldPath::Step& x, const FieldPath::Step& y) { return x.index == y.index && x.key == y.key; });
}

/// Jumps whose target is not known yet.
using Label = std::vector<std::size_t>;

class Compiler {
 public:
  explicit Compiler(Program& program) : program_(program) {}

  void root(Node& node) {
    const Operand result = value(node);
    emit(Op::finish).a = result;
  }
  bool too_large() const noexcept { return too_large_; }

 private:
  Instruction& emit(Op op) {
    program_.code.emplace_back();
    program_.code.back().op = op;
    return program_.code.back();
  }
  std::size_t bounded(std::size_t number) {
    if (number < kOperandMax) return number;
    too_large_ = true;
    return 0;
  }
  void bind(const Label& label) {
    for (const std::size_t at : label) program_.code[at].target = static_cast<std::uint32_t>(program_.code.size());
  }
  void jump(Label& label) {
    label.push_back(program_.code.size());
    emit(Op::jump);
  }
  /// A test that was emitted last.
  void test(Instruction& instruction, bool sense, Label& label) {
    instruction.sense = sense;
    label.push_back(program_.code.size() - 1);
  }

  Operand constant(const Value& value) {
    const std::size_t at = bounded(program_.constants.size());
    program_.constants.push_back(value);
    return operand(OperandKind::constant, at);
  }
  Operand field(const FieldPath& path) {
    std::vector<FieldPath>& fields = program_.fields;
    const auto found =
        std::find_if(fields.begin(), fields.end(), [&](const auto& one) { return same_steps(one, path); });
    const auto at = static_cast<std::size_t>(found - fields.begin());
    if (found == fields.end()) fields.push_back(path);
    return operand(OperandKind::field, bounded(at));
  }
  std::uint16_t fresh() { return static_cast<std::uint16_t>(bounded(program_.registers++)); }
  static Operand scratch(std::uint16_t number) { return operand(OperandKind::scratch, number); }
  void copy(std::uint16_t to, Operand from) {
    Instruction& instruction = emit(Op::copy);
    instruction.c = to;
    instruction.a = from;
  }

  Operand value(Node& node) {
    switch (node.kind) {
      case NodeKind::constant:
        return constant(node.constant);
      case NodeKind::field:
        return field(*node.field);
      case NodeKind::level:
        program_.uses_level = true;
        return kLevelOperand;
      case NodeKind::body:
        return kBodyOperand;
      case NodeKind::call:
        return call(node);
      case NodeKind::choose:
        return choose(node);
      case NodeKind::coalesce:
        return coalesce(node);
      case NodeKind::arithmetic:
      case NodeKind::negate:
        return calculation(node);
      default:
        return truth(node);
    }
  }

  Operand call(Node& node) {
    std::vector<Operand> arguments;
    for (NodePtr& child : node.children) arguments.push_back(value(*child));
    const std::uint16_t to = fresh();
    Instruction& instruction = emit(Op::call);
    instruction.a = static_cast<Operand>(bounded(program_.functions.size()));
    instruction.b = static_cast<Operand>(bounded(program_.arguments.size()));
    instruction.c = to;
    instruction.target = static_cast<std::uint32_t>(arguments.size());
    program_.functions.push_back(node.function);
    program_.arguments_max = std::max(program_.arguments_max, arguments.size());
    program_.arguments.insert(program_.arguments.end(), arguments.begin(), arguments.end());
    return scratch(to);
  }

  Operand calculation(Node& node) {
    const Operand a = value(*node.children[0]);
    const Operand b = node.kind == NodeKind::negate ? a : value(*node.children[1]);
    const std::uint16_t to = fresh();
    Instruction& instruction = emit(node.kind == NodeKind::negate ? Op::negate : Op::calculate);
    instruction.detail = static_cast<std::uint8_t>(node.arithmetic);
    instruction.type = node.as;
    instruction.right = node.right_as;
    instruction.a = a;
    instruction.b = b;
    instruction.c = to;
    return scratch(to);
  }

  Operand choose(Node& node) {
    const std::uint16_t to = fresh();
    Label otherwise;
    Label end;
    condition(*node.children[0], false, otherwise);
    copy(to, value(*node.children[1]));
    jump(end);
    bind(otherwise);
    copy(to, value(*node.children[2]));
    bind(end);
    return scratch(to);
  }

  Operand coalesce(Node& node) {
    const std::uint16_t to = fresh();
    Label end;
    for (NodePtr& child : node.children) {
      copy(to, value(*child));
      Instruction& present = emit(Op::test_present);
      present.a = scratch(to);
      test(present, true, end);
    }
    copy(to, constant(Value::none()));
    bind(end);
    return scratch(to);
  }

  /// The outcome of a condition as a value.
  Operand truth(Node& node) {
    const std::uint16_t to = fresh();
    Label no;
    Label end;
    condition(node, false, no);
    copy(to, constant(Value::of(true)));
    jump(end);
    bind(no);
    copy(to, constant(Value::of(false)));
    bind(end);
    return scratch(to);
  }

  /// Code that goes to `label` where the condition's outcome is `sense`, and on behind it otherwise.
  void condition(Node& node, bool sense, Label& label) {
    if (const std::optional<std::uint32_t> levels = level_set(node); levels && node.kind != NodeKind::constant) {
      program_.uses_level = true;
      Instruction& instruction = emit(Op::test_level);
      instruction.c = static_cast<std::uint16_t>(bounded(program_.levels.size()));
      program_.levels.push_back(*levels);
      return test(instruction, sense, label);
    }
    switch (node.kind) {
      case NodeKind::constant:
        if (is_true(node.constant) == sense) jump(label);
        return;
      case NodeKind::negation:
        return condition(*node.children[0], !sense, label);
      case NodeKind::all:
      case NodeKind::any:
        return junction(node, sense, label);
      case NodeKind::in:
        return list(node, sense, label);
      case NodeKind::compare:
      case NodeKind::text_test:
      case NodeKind::match:
      case NodeKind::exists:
        return plain(node, sense, label);
      default:
        break;
    }
    const Operand a = value(node);
    Instruction& instruction = emit(Op::test_true);
    instruction.a = a;
    test(instruction, sense, label);
  }

  /// One child decides when it is false (`and`) or true (`or`); otherwise the last one does.
  void junction(Node& node, bool sense, Label& label) {
    const bool deciding = node.kind == NodeKind::any;
    if (sense == deciding) {
      for (NodePtr& child : node.children) condition(*child, sense, label);
      return;
    }
    Label decided;
    for (std::size_t i = 0; i + 1 < node.children.size(); ++i) condition(*node.children[i], deciding, decided);
    condition(*node.children.back(), sense, label);
    bind(decided);
  }

  void plain(Node& node, bool sense, Label& label) {
    const Operand a = value(*node.children[0]);
    const Operand b = node.children.size() > 1 ? value(*node.children[1]) : a;
    Instruction instruction;
    instruction.a = a;
    instruction.b = b;
    instruction.negated = node.negated;
    switch (node.kind) {
      case NodeKind::compare:
        instruction.op = Op::test_compare;
        instruction.detail = static_cast<std::uint8_t>(node.comparison);
        instruction.type = node.as;
        break;
      case NodeKind::text_test:
        instruction.op = Op::test_text;
        instruction.detail = static_cast<std::uint8_t>(node.test);
        instruction.ignore_case = node.ignore_case;
        break;
      case NodeKind::match:
        instruction.op = Op::test_match;
        instruction.c = static_cast<std::uint16_t>(bounded(program_.patterns.size()));
        program_.patterns.push_back(std::move(*node.pattern));
        break;
      default:
        instruction.op = Op::test_exists;
        break;
    }
    program_.code.push_back(instruction);
    test(program_.code.back(), sense, label);
  }

  void list(Node& node, bool sense, Label& label) {
    const Operand a = value(*node.children[0]);
    Instruction& instruction = emit(Op::test_in);
    instruction.a = a;
    instruction.c = static_cast<std::uint16_t>(bounded(program_.lists.size()));
    instruction.negated = node.negated;
    program_.lists.push_back(list_of(node));
    test(instruction, sense, label);
  }

  static List list_of(const Node& node) {
    constexpr std::size_t kFew = 8;
    List list;
    for (std::size_t i = 1; i < node.children.size(); ++i) {
      list.items.push_back({node.children[i]->constant, node.children[i]->as});
    }
    const auto all = [&list](Type as, Value::Kind kind) {
      return std::all_of(list.items.begin(), list.items.end(),
                         [=](const List::Item& item) { return item.as == as && item.value.kind == kind; });
    };
    if (list.items.size() <= kFew) return list;
    if (all(Type::text, Value::Kind::text)) {
      list.order = List::Order::texts;
      std::sort(list.items.begin(), list.items.end(),
                [](const List::Item& a, const List::Item& b) { return a.value.text < b.value.text; });
    } else if (all(Type::number, Value::Kind::integer)) {
      list.order = List::Order::integers;
      std::sort(list.items.begin(), list.items.end(),
                [](const List::Item& a, const List::Item& b) { return a.value.integer < b.value.integer; });
    }
    return list;
  }

  Program& program_;
  bool too_large_{false};
};

}  // namespace

std::optional<std::uint32_t> level_set(const Node& node) {
  switch (node.kind) {
    case NodeKind::constant:
      if (node.type != Type::boolean) return std::nullopt;
      return node.constant.boolean ? kAllLevels : 0;
    case NodeKind::compare:
      return compared_levels(node);
    case NodeKind::in:
      return listed_levels(node);
    case NodeKind::negation: {
      const std::optional<std::uint32_t> inner = level_set(*node.children[0]);
      return inner ? std::optional(~*inner) : std::nullopt;
    }
    case NodeKind::all:
    case NodeKind::any: {
      std::uint32_t set = node.kind == NodeKind::all ? kAllLevels : 0;
      for (const NodePtr& child : node.children) {
        const std::optional<std::uint32_t> one = level_set(*child);
        if (!one) return std::nullopt;
        set = node.kind == NodeKind::all ? set & *one : set | *one;
      }
      return set;
    }
    default:
      return std::nullopt;
  }
}

std::shared_ptr<const Program> compile(Tree tree, ExpressionProblem& problem) {
  auto program = std::make_shared<Program>();
  if (tree.root->type == Type::boolean) program->only_levels = level_set(*tree.root);
  Compiler compiler(*program);
  compiler.root(*tree.root);
  if (compiler.too_large()) {
    problem = {0, tree.root->length, "more than 4096 fields, constants or values in between", "split it up"};
    return nullptr;
  }
  program->texts = std::move(tree.texts);
  return program;
}

}  // namespace logpipe::expr
