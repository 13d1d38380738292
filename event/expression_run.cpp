// Runs a program for one event.

#include <algorithm>
#include <chrono>
#include <utility>

#include "event/expression_program.hpp"
#include "event/expression_values.hpp"
#include "event/level_detect.hpp"

namespace logpipe {
namespace expr {

class Run {
 public:
  Run(const Program& program, const Batch& batch, const Event& event, ExpressionScratch& scratch)
      : program_(program), batch_(batch), event_(event), scratch_(scratch) {
    if (scratch.fields_.size() < program.fields.size()) {
      scratch.fields_.resize(program.fields.size());
      scratch.loaded_.resize(program.fields.size());
    }
    if (scratch.registers_.size() < program.registers) scratch.registers_.resize(program.registers);
    if (scratch.arguments_.size() < program.arguments_max) scratch.arguments_.resize(program.arguments_max);
    ++scratch.run_;
    scratch.arena_.reset();
  }

  Value operator()() {
    const Instruction* const code = program_.code.data();
    for (const Instruction* at = code;;) {
      const Instruction& one = *at++;
      switch (one.op) {
        case Op::finish:
          return get(one.a);
        case Op::jump:
          at = code + one.target;
          break;
        case Op::copy:
          put(one) = get(one.a);
          break;
        case Op::calculate:
          put(one) = calculate(static_cast<Arithmetic>(one.detail), read(get(one.a), one.type, arena()),
                               read(get(one.b), one.right, arena()));
          break;
        case Op::negate:
          put(one) = negated(read(get(one.a), one.type, arena()));
          break;
        case Op::call:
          put(one) = call(one);
          break;
        default:
          if (test(one) == one.sense) at = code + one.target;
          break;
      }
    }
  }

 private:
  Arena& arena() noexcept { return scratch_.arena_; }
  Value& put(const Instruction& one) noexcept { return scratch_.registers_[one.c]; }

  const Value& get(Operand operand) {
    const std::size_t number = operand & 0x3FFF;
    switch (static_cast<OperandKind>(operand >> 14)) {
      case OperandKind::scratch:
        return scratch_.registers_[number];
      case OperandKind::constant:
        return program_.constants[number];
      case OperandKind::field:
        return scratch_.loaded_[number] == scratch_.run_ ? scratch_.fields_[number] : load(number);
      case OperandKind::event:
        break;
    }
    event_value_[number] = operand == kLevelOperand ? Value::of(level())
                           : event_.redacted        ? Value::none()
                                                    : Value::of(batch_.text(event_));
    return event_value_[number];
  }

  const Value& load(std::size_t number) {
    scratch_.loaded_[number] = scratch_.run_;
    Value& place = scratch_.fields_[number];
    const std::optional<FieldValue> found = find(batch_, event_, program_.fields[number]);
    place = found ? Value::of(*found, arena()) : Value::none();
    return place;
  }

  Level level() {
    if (event_.level_known) return event_.level;
    if (!detected_) detected_ = LevelDetector().detect(batch_, event_);
    return *detected_;
  }

  bool test(const Instruction& one) {
    switch (one.op) {
      case Op::test_level:
        return (program_.levels[one.c] >> static_cast<unsigned>(level()) & 1U) != 0;
      case Op::test_compare:
        return compare(static_cast<Comparison>(one.detail), one.type, get(one.a), get(one.b), arena());
      case Op::test_in:
        return plain(one, [&](const Value& value) { return among(value, program_.lists[one.c]); });
      case Op::test_text:
        if (get(one.b).missing()) return false;
        return plain(one, [&](const Value& value) {
          const Value& part = get(one.b);
          return test_text(static_cast<TextTest>(one.detail), one.ignore_case, value, part, arena());
        });
      case Op::test_match:
        return plain(one, [&](const Value& value) {
          const std::optional<std::string_view> text = text_of(value, arena());
          return text && program_.patterns[one.c].matches(*text);
        });
      case Op::test_exists:
        return !get(one.a).missing();
      case Op::test_present:
        return !get(one.a).absent();
      default:
        return is_true(get(one.a));
    }
  }

  /// Of a test and its negation, none holds where the value is missing, nor where what it is tested with is.
  template <class Test>
  bool plain(const Instruction& one, Test&& holds) {
    const Value& value = get(one.a);
    return !value.missing() && holds(value) != one.negated;
  }

  bool among(const Value& value, const List& list) {
    if (list.order == List::Order::texts) {
      const std::optional<std::string_view> text = text_of(value, arena());
      if (!text) return false;
      const auto at =
          std::lower_bound(list.items.begin(), list.items.end(), *text,
                           [](const List::Item& item, std::string_view one) { return item.value.text < one; });
      return at != list.items.end() && at->value.text == *text;
    }
    if (list.order == List::Order::integers && value.kind == Value::Kind::integer) {
      const auto at =
          std::lower_bound(list.items.begin(), list.items.end(), value.integer,
                           [](const List::Item& item, std::int64_t one) { return item.value.integer < one; });
      return at != list.items.end() && at->value.integer == value.integer;
    }
    return std::any_of(list.items.begin(), list.items.end(), [&](const List::Item& item) {
      return compare(Comparison::equal, item.as, value, item.value, arena());
    });
  }

  Value call(const Instruction& one) {
    std::vector<Value>& arguments = scratch_.arguments_;
    const Function& function = *program_.functions[one.a];
    for (std::size_t i = 0; i < one.target; ++i) {
      arguments[i] = read(get(program_.arguments[one.b + i]), function.type_of(i), arena());
      if (arguments[i].missing()) return Value::none();
    }
    CallContext context{arena(), scratch_.clock};
    return function.call({arguments.data(), one.target}, context);
  }

  const Program& program_;
  const Batch& batch_;
  const Event& event_;
  ExpressionScratch& scratch_;
  std::optional<Level> detected_;  // for this run: the event stays as it is
  Value event_value_[2];           // level, body
};

}  // namespace expr

namespace {

const std::vector<FieldPath>& fields_of(const std::shared_ptr<const expr::Program>& program) noexcept {
  static const std::vector<FieldPath> none;
  return program ? program->fields : none;
}

/// Tree and program of a text that may be no expression, or, where `condition`, none of the right type.
std::shared_ptr<const expr::Program> compiled(std::string_view text, bool condition, ExpressionProblem* problem) {
  ExpressionProblem unused;
  ExpressionProblem& wrong = problem != nullptr ? *problem : unused;
  expr::Tree tree = expr::parse(text, wrong);
  if (!tree.root) return nullptr;
  if (condition && !expr::is_condition(*tree.root)) {
    wrong = {tree.root->offset, tree.root->length,
             "expected a condition, got a " + std::string(expr::type_name(tree.root->type)),
             tree.root->type == expr::Type::level ? "for example level >= error" : "compare it: status >= 500"};
    return nullptr;
  }
  return expr::compile(std::move(tree), wrong);
}

}  // namespace

std::int64_t ExpressionScratch::system_clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::optional<EventCondition> EventCondition::parse(std::string_view text, Problem* problem) {
  EventCondition made;
  made.program_ = compiled(text, true, problem);
  if (!made.program_) return std::nullopt;
  made.spelling_ = text;
  made.only_level_ = made.program_->only_levels.has_value();
  made.levels_ = made.program_->only_levels.value_or(0);
  return made;
}

Level EventCondition::detect(const Batch& batch, const Event& event) {
  return LevelDetector().detect(batch, event);
}

bool EventCondition::run(const Batch& batch, const Event& event, ExpressionScratch& scratch) const {
  return expr::is_true(expr::Run(*program_, batch, event, scratch)());
}

const std::vector<FieldPath>& EventCondition::fields() const noexcept {
  return fields_of(program_);
}
bool EventCondition::uses_level() const noexcept {
  return program_ && program_->uses_level;
}

std::string EventCondition::facts(const Batch& batch, const Event& event) const {
  constexpr std::size_t kValueMax = 80;
  std::string facts;
  Arena arena;
  const auto add = [&facts](std::string_view name, std::string_view value) {
    facts += (facts.empty() ? "" : ", ") + std::string(name) + " is ";
    if (value.size() <= kValueMax) {
      facts += value;
      return;
    }
    std::size_t end = kValueMax;
    while (end > 0 && (value[end] & 0xC0) == 0x80) --end;  // not within a character
    facts += std::string(value.substr(0, end)) + "\u2026";
  };
  if (uses_level()) {
    add("level", level_name(event.level_known ? event.level : detect(batch, event)));
  }
  for (const FieldPath& path : fields()) {
    const std::optional<FieldValue> found = find(batch, event, path);
    add(path.spelling(), found ? json_of(Value::of(*found, arena), arena) : "missing");
  }
  return facts;
}

std::optional<Expression> Expression::parse(std::string_view text, Problem* problem) {
  Expression made;
  made.program_ = compiled(text, false, problem);
  if (!made.program_) return std::nullopt;
  made.spelling_ = text;
  return made;
}

Value Expression::evaluate(const Batch& batch, const Event& event, ExpressionScratch& scratch) const {
  return program_ ? expr::Run(*program_, batch, event, scratch)() : Value::none();
}

const std::vector<FieldPath>& Expression::fields() const noexcept {
  return fields_of(program_);
}
bool Expression::uses_level() const noexcept {
  return program_ && program_->uses_level;
}

}  // namespace logpipe
