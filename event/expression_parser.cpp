// From text to tree: the grammar of docs/language.md, by recursive descent.

#include <algorithm>
#include <array>
#include <utility>

#include "event/expression_ast.hpp"
#include "event/expression_functions.hpp"
#include "event/expression_lexer.hpp"

namespace logpipe::expr {
namespace {

constexpr std::size_t kTextMax = 64 * 1024;
constexpr std::size_t kDepthMax = 200;

struct TestWord {
  std::string_view word;
  TextTest test;
  bool ignore_case;
};
constexpr TestWord kTestWords[] = {
    {"contains", TextTest::contains, false},
    {"icontains", TextTest::contains, true},
    {"starts_with", TextTest::starts_with, false},
    {"istarts_with", TextTest::starts_with, true},
    {"ends_with", TextTest::ends_with, false},
    {"iends_with", TextTest::ends_with, true},
    {"like", TextTest::like, false},
    {"ilike", TextTest::like, true},
    {"iequals", TextTest::equals, true},
};

struct ComparisonSign {
  std::string_view sign;
  Comparison comparison;
};
constexpr ComparisonSign kComparisons[] = {
    {"==", Comparison::equal},      {"!=", Comparison::not_equal}, {"<", Comparison::less},
    {"<=", Comparison::less_equal}, {">", Comparison::greater},    {">=", Comparison::greater_equal},
};

/// Words with a meaning of their own where they stand; a field of such a name is written in backquotes.
constexpr std::array<std::string_view, 18> kWords = {
    "and",       "or",         "not",  "in",    "exists",  "contains", "icontains", "starts_with", "istarts_with",
    "ends_with", "iends_with", "like", "ilike", "iequals", "matches",  "imatches",  "equals",      "else"};

bool is_word(std::string_view name) noexcept {
  return std::find(kWords.begin(), kWords.end(), name) != kWords.end();
}

class Parser {
 public:
  Parser(std::string_view text, Arena& texts, ExpressionProblem& problem)
      : text_(text), lexer_(text), texts_(texts), problem_(problem) {}

  NodePtr parse() {
    if (text_.size() > kTextMax) return fail(kTextMax, text_.size() - kTextMax, "longer than 64KiB");
    if (!advance()) return nullptr;
    if (token_.kind == TokenKind::end) {
      return fail(token_.offset, 1, "expected a condition such as `level >= error`");
    }
    NodePtr root = disjunction();
    if (!root) return nullptr;
    if (token_.kind == TokenKind::end) return root;
    return unexpected_end_of(*root);
  }

 private:
  NodePtr fail(std::size_t offset, std::size_t length, std::string message, std::string hint = {}) {
    problem_ = {offset, std::max<std::size_t>(length, 1), std::move(message), std::move(hint)};
    return nullptr;
  }
  NodePtr fail(const Token& token, std::string message, std::string hint = {}) {
    return fail(token.offset, token.length, std::move(message), std::move(hint));
  }
  bool advance() {
    last_end_ = token_.offset + token_.length;
    return lexer_.next(token_, problem_);
  }
  std::string shown() const {
    return token_.kind == TokenKind::end
               ? std::string("nothing")
               : "`" + std::string(text_.substr(token_.offset, std::min<std::size_t>(token_.length, 40))) + "`";
  }
  bool at_symbol(std::string_view symbol) const { return token_.kind == TokenKind::symbol && token_.text == symbol; }
  bool at_word(std::string_view word) const { return token_.kind == TokenKind::name && token_.text == word; }

  NodePtr make(NodeKind kind, std::size_t offset) {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->offset = offset;
    node->length = std::max<std::size_t>(last_end_ > offset ? last_end_ - offset : 1, 1);
    return node;
  }
  /// With children, checked: types, and how deep it is.
  NodePtr finish(NodePtr node) {
    for (const NodePtr& child : node->children) node->depth = std::max(node->depth, child->depth + 1);
    if (node->depth > kDepthMax) return fail(node->offset, node->length, "nested more than 200 deep");
    return check(*node, problem_) ? std::move(node) : nullptr;
  }
  NodePtr pair(NodeKind kind, NodePtr left, NodePtr right) {
    NodePtr node = make(kind, left->offset);
    node->children.push_back(std::move(left));
    node->children.push_back(std::move(right));
    return node;
  }

  NodePtr unexpected_end_of(const Node& before) {
    if (token_.kind == TokenKind::symbol && (token_.text == ")" || token_.text == "]")) {
      return fail(token_, "`" + std::string(token_.text) + "` without its beginning");
    }
    if (const bool odd =
            token_.kind == TokenKind::symbol && token_.text.find_first_not_of("<>=!~&|") == std::string_view::npos;
        odd) {
      return unknown_operator(before);
    }
    if (at_symbol(".") && before.kind == NodeKind::field) return dotted(before);
    if (before.kind == NodeKind::level) return fail(token_, "expected an operator: > >= < <= == !=");
    std::string hint;
    if (token_.kind == TokenKind::name) {
      hint = nearest_hint(token_.text, {kWords.begin(), kWords.end()});
    }
    return fail(token_, "expected an operator or the end, got " + shown(), std::move(hint));
  }
  NodePtr dotted(const Node& before) {
    std::string_view rest = text_.substr(token_.offset);
    std::size_t length = 1;
    while (length < rest.size() && (is_name_char(rest[length]) || rest[length] == '.')) ++length;
    const std::string name(text_.substr(before.offset, token_.offset + length - before.offset));
    return fail(before.offset, name.size(), "a dot inside a name",
                "write ." + name + " for a field inside another, `" + name + "` in backquotes for one name");
  }
  NodePtr unknown_operator(const Node& before) {
    for (const ComparisonSign& one : kComparisons) {
      if (token_.text == one.sign) {
        return fail(before.offset, token_.offset + token_.length - before.offset, "comparisons cannot be chained",
                    "join them: a < b and b < c");
      }
    }
    std::string hint = "operators are > >= < <= == !=";
    if (token_.text == "=" || token_.text == "===") hint = "did you mean ==?";
    if (token_.text == "=>") hint = "did you mean >=?";
    if (token_.text == "=<") hint = "did you mean <=?";
    return fail(token_, "unknown operator `" + std::string(token_.text) + "`", std::move(hint));
  }

  // --- conditions

  using Part = NodePtr (Parser::*)();
  NodePtr joined(NodeKind kind, std::string_view word, std::string_view symbol, Part part) {
    NodePtr first = (this->*part)();
    if (!first || (!at_word(word) && !at_symbol(symbol))) return first;
    const std::size_t offset = first->offset;
    std::vector<NodePtr> parts;
    parts.push_back(std::move(first));
    while (at_word(word) || at_symbol(symbol)) {
      if (!advance()) return nullptr;
      NodePtr next = (this->*part)();
      if (!next) return nullptr;
      parts.push_back(std::move(next));
    }
    NodePtr node = make(kind, offset);
    node->children = std::move(parts);
    return finish(std::move(node));
  }
  NodePtr disjunction() {
    const Nesting nesting(*this);
    if (nesting.too_deep()) return fail(token_, "nested more than 200 deep");
    return joined(NodeKind::any, "or", "||", &Parser::conjunction);
  }
  NodePtr conjunction() { return joined(NodeKind::all, "and", "&&", &Parser::negation); }

  NodePtr negation() {
    if (!at_word("not") && !at_symbol("!")) return comparison();
    const Nesting nesting(*this);
    if (nesting.too_deep()) return fail(token_, "nested more than 200 deep");
    const std::size_t offset = token_.offset;
    if (!advance()) return nullptr;
    NodePtr inner = negation();
    if (!inner) return nullptr;
    NodePtr node = make(NodeKind::negation, offset);
    node->children.push_back(std::move(inner));
    return finish(std::move(node));
  }

  NodePtr comparison() {
    NodePtr left = sum();
    if (!left) return nullptr;
    if (token_.kind == TokenKind::symbol) {
      for (const ComparisonSign& one : kComparisons) {
        if (token_.text == one.sign) return compared(std::move(left), one.comparison);
      }
      if (token_.text == "=~" || token_.text == "!~") return matched(std::move(left), token_.text == "!~", false);
      return left;
    }
    if (token_.kind != TokenKind::name) return left;
    bool negated = false;
    if (token_.text == "not") {
      negated = true;
      if (!advance()) return nullptr;
      if (token_.kind != TokenKind::name) {
        return fail(token_, "expected a word such as `in` or `contains` behind `not`, got " + shown());
      }
    }
    return worded(std::move(left), negated);
  }

  NodePtr worded(NodePtr left, bool negated) {
    if (token_.text == "in") return among(std::move(left), negated);
    if (token_.text == "matches" || token_.text == "imatches") {
      return matched(std::move(left), negated, token_.text == "imatches");
    }
    if (token_.text == "equals") {
      return compared(std::move(left), negated ? Comparison::not_equal : Comparison::equal);
    }
    if (token_.text == "exists" && !negated) {
      const Token word = token_;
      if (!advance()) return nullptr;
      return existing(std::move(left), word);
    }
    for (const TestWord& one : kTestWords) {
      if (token_.text == one.word) return tested(std::move(left), one, negated);
    }
    if (negated) return fail(token_, "expected a word such as `in` or `contains` behind `not`, got " + shown());
    return left;
  }

  NodePtr compared(NodePtr left, Comparison comparison) {
    const std::string spelling(token_.text);
    if (!advance()) return nullptr;
    NodePtr right = left->kind == NodeKind::level ? level_or_sum("`" + spelling + "`") : sum();
    if (!right) return nullptr;
    NodePtr node = pair(NodeKind::compare, std::move(left), std::move(right));
    node->comparison = comparison;
    return finish(std::move(node));
  }

  /// Behind `level` and an operator a name is that of a level.
  NodePtr level_or_sum(const std::string& behind) {
    if (token_.kind == TokenKind::end) {
      level_named("", token_.offset, 1, problem_);
      problem_.message = "expected a level after " + behind;
      return nullptr;
    }
    if (token_.kind != TokenKind::name || token_.text == "level" || next_is_parenthesis()) return sum();
    const std::optional<Level> level = level_named(token_.text, token_.offset, token_.length, problem_);
    if (!level) return nullptr;
    return constant(Value::of(*level), Type::level);
  }

  /// The token as a constant; what is behind it is next.
  NodePtr constant(Value value, Type type) {
    const std::size_t offset = token_.offset;
    if (!advance()) return nullptr;
    NodePtr node = make(NodeKind::constant, offset);
    node->constant = value;
    node->type = type;
    return node;
  }

  NodePtr matched(NodePtr left, bool negated, bool ignore_case) {
    const Token sign = token_;
    if (!advance()) return nullptr;
    if (token_.kind != TokenKind::text) {
      return fail(token_, "expected a pattern in quotes behind `" + std::string(sign.text) + "`, got " + shown(),
                  "for example path =~ '^/api/'");
    }
    const std::string_view prefix = ignore_case ? "(?i)" : "";
    Pattern::Problem wrong;
    std::optional<Pattern> pattern =
        Pattern::parse(std::string(prefix) + std::string(raw_text(token_, texts_)), &wrong);
    if (!pattern) {
      const std::size_t inside = wrong.offset - std::min(wrong.offset, prefix.size());
      return fail(token_.offset + 1 + raw_offset(token_, inside), 1, "no pattern: " + wrong.message);
    }
    if (!advance()) return nullptr;
    NodePtr node = make(NodeKind::match, left->offset);
    node->negated = negated;
    node->pattern = std::move(pattern);
    node->children.push_back(std::move(left));
    return finish(std::move(node));
  }

  NodePtr tested(NodePtr left, const TestWord& test, bool negated) {
    const std::string word(token_.text);
    if (!advance()) return nullptr;
    NodePtr right;
    if (test.test == TextTest::like) {
      if (token_.kind != TokenKind::text) {
        return fail(token_, "expected a text with `*` and `?` behind `" + word + "`, got " + shown(),
                    "for example path like '/api/*'");
      }
      right = constant(Value::of(raw_text(token_, texts_)), Type::text);
    } else {
      right = sum();
    }
    if (!right) return nullptr;
    NodePtr node = pair(NodeKind::text_test, std::move(left), std::move(right));
    node->test = test.test;
    node->ignore_case = test.ignore_case;
    node->negated = negated;
    return finish(std::move(node));
  }

  NodePtr among(NodePtr left, bool negated) {
    if (!advance()) return nullptr;
    if (!at_symbol("[")) {
      return fail(token_, "expected a list behind `in`, got " + shown(),
                  "for example status in [500, 502]; for an element of an array: tags contains 'x'");
    }
    const Token open = token_;
    if (!advance()) return nullptr;
    std::vector<NodePtr> all;
    const bool levels = left->kind == NodeKind::level;
    all.push_back(std::move(left));
    while (!at_symbol("]")) {
      if (token_.kind == TokenKind::end) return fail(open, "`[` is not closed");
      NodePtr item = levels ? level_or_sum("`in`") : sum();
      if (!item) return nullptr;
      all.push_back(std::move(item));
      if (at_symbol("]")) break;
      if (token_.kind == TokenKind::end) return fail(open, "`[` is not closed");
      if (!at_symbol(",")) return fail(token_, "expected `,` or `]`, got " + shown());
      if (!advance()) return nullptr;
    }
    if (!advance()) return nullptr;
    if (all.size() == 1) return fail(open.offset, last_end_ - open.offset, "an empty list");
    NodePtr node = make(NodeKind::in, all.front()->offset);
    node->children = std::move(all);
    node->negated = negated;
    return finish(std::move(node));
  }

  NodePtr existing(NodePtr field, const Token& word) {
    if (field->kind != NodeKind::field) {
      return fail(word, "only a field can be asked whether it exists", "for example exists(.user.id)");
    }
    NodePtr node = make(NodeKind::exists, std::min(field->offset, word.offset));
    node->children.push_back(std::move(field));
    return finish(std::move(node));
  }

  // --- values

  std::optional<Arithmetic> at_arithmetic(bool sums) const {
    if (token_.kind != TokenKind::symbol) return std::nullopt;
    if (sums && token_.text == "+") return Arithmetic::add;
    if (sums && token_.text == "-") return Arithmetic::subtract;
    if (!sums && token_.text == "*") return Arithmetic::multiply;
    if (!sums && token_.text == "/") return Arithmetic::divide;
    if (!sums && token_.text == "%") return Arithmetic::remainder;
    return std::nullopt;
  }
  NodePtr calculated(bool sums, Part part) {
    NodePtr left = (this->*part)();
    while (left) {
      const std::optional<Arithmetic> sign = at_arithmetic(sums);
      if (!sign) break;
      const Token token = token_;
      if (!advance()) return nullptr;
      const bool squeezed = token.offset == left->offset + left->length && token_.offset == token.offset + 1;
      NodePtr right = (this->*part)();
      if (!right) return nullptr;
      if (*sign == Arithmetic::subtract && squeezed && plain_name(*left) && plain_name(*right)) {
        const std::string name(text_.substr(left->offset, last_end_ - left->offset));
        return fail(left->offset, name.size(), "`" + name + "` reads as a difference",
                    "a name with a minus stands in backquotes; a difference has blanks around the minus");
      }
      left = pair(NodeKind::arithmetic, std::move(left), std::move(right));
      left->arithmetic = *sign;
      left = finish(std::move(left));
    }
    return left;
  }
  NodePtr sum() { return calculated(true, &Parser::product); }
  NodePtr product() { return calculated(false, &Parser::signed_value); }

  bool plain_name(const Node& node) const { return node.kind == NodeKind::field && is_name_start(text_[node.offset]); }

  NodePtr signed_value() {
    if (!at_symbol("-")) return primary();
    const Nesting nesting(*this);
    if (nesting.too_deep()) return fail(token_, "nested more than 200 deep");
    const std::size_t offset = token_.offset;
    if (!advance()) return nullptr;
    NodePtr inner = signed_value();
    if (!inner) return nullptr;
    NodePtr node = make(NodeKind::negate, offset);
    node->children.push_back(std::move(inner));
    return finish(std::move(node));
  }

  NodePtr primary() {
    switch (token_.kind) {
      case TokenKind::number:
        return number();
      case TokenKind::text: {
        std::string_view text;
        if (!unescape_text(token_, texts_, text, problem_)) return nullptr;
        return constant(Value::of(text), Type::text);
      }
      case TokenKind::quoted_name:
        return field();
      case TokenKind::name:
        return named();
      case TokenKind::symbol:
        if (token_.text == "(") return parenthesized();
        if (token_.text == ".") return field();
        break;
      case TokenKind::end:
        break;
    }
    return fail(token_, "expected a value, got " + shown());
  }

  NodePtr parenthesized() {
    const Token open = token_;
    if (!advance()) return nullptr;
    NodePtr inner = disjunction();
    if (!inner) return nullptr;
    if (token_.kind == TokenKind::end) return fail(open, "`(` is not closed");
    if (!at_symbol(")")) return unexpected_end_of(*inner);
    if (!advance()) return nullptr;
    inner->parenthesized = true;
    return inner;
  }

  NodePtr number() {
    const std::string_view text = token_.text;
    Value value = number_from_text(text);
    if (!value.missing()) {
      value.text = texts_.copy(text);
      return constant(value, Type::number);
    }
    if (const auto nanoseconds = duration_from_text(text))
      return constant(Value::duration(*nanoseconds), Type::duration);
    if (const auto bytes = size_from_text(text)) return constant(Value::of(*bytes), Type::size);
    std::size_t digits = 0;
    while (digits < text.size() && ((text[digits] >= '0' && text[digits] <= '9') || text[digits] == '.')) ++digits;
    if (digits == text.size()) return fail(token_, "not a number: " + shown());
    return fail(token_.offset + digits, text.size() - digits, "unknown unit `" + std::string(text.substr(digits)) + "`",
                "units are ns us ms s m h d and B kB KiB MB MiB GB GiB TB TiB");
  }

  NodePtr named() {
    if (token_.text == "true") return constant(Value::of(true), Type::boolean);
    if (token_.text == "false") return constant(Value::of(false), Type::boolean);
    if (token_.text == "null") return constant(Value::null(), Type::null);
    if (token_.text == "exists" && next_is_parenthesis()) return exists_call();
    if (is_word(token_.text)) {
      return fail(token_, "expected a value, got " + shown(), "a field of that name stands in backquotes");
    }
    if (next_is_parenthesis()) return call();
    if (token_.text != "level") return field();
    const std::size_t offset = token_.offset;
    if (!advance()) return nullptr;
    NodePtr node = make(NodeKind::level, offset);
    node->type = Type::level;
    return node;
  }

  bool next_is_parenthesis() const {
    std::size_t at = token_.offset + token_.length;
    while (at < text_.size() && text_[at] == ' ') ++at;
    return at < text_.size() && text_[at] == '(';
  }

  NodePtr exists_call() {
    const Token word = token_;
    if (!advance() || !advance()) return nullptr;
    NodePtr inner = disjunction();
    if (!inner) return nullptr;
    if (!at_symbol(")")) return fail(token_, "expected `)`, got " + shown());
    if (!advance()) return nullptr;
    return existing(std::move(inner), word);
  }

  NodePtr call() {
    const Token name = token_;
    NodeKind kind = NodeKind::call;
    if (name.text == "if") kind = NodeKind::choose;
    if (name.text == "coalesce") kind = NodeKind::coalesce;
    if (name.text == "raw") kind = NodeKind::body;
    const Function* function = find_function(name.text);
    if (kind == NodeKind::call && function == nullptr) {
      std::vector<std::string_view> known{"if", "coalesce", "raw", "exists"};
      for (const Function& one : functions()) known.push_back(one.name);
      return fail(name, "unknown function `" + std::string(name.text) + "`", nearest_hint(name.text, known));
    }
    if (!advance()) return nullptr;
    const Token open = token_;
    if (!advance()) return nullptr;
    std::vector<NodePtr> arguments;
    while (!at_symbol(")")) {
      if (token_.kind == TokenKind::end) return fail(open, "`(` is not closed");
      NodePtr argument = disjunction();
      if (!argument) return nullptr;
      arguments.push_back(std::move(argument));
      if (at_symbol(")")) break;
      if (token_.kind == TokenKind::end) return fail(open, "`(` is not closed");
      if (!at_symbol(",")) return fail(token_, "expected `,` or `)`, got " + shown());
      if (!advance()) return nullptr;
    }
    if (!advance()) return nullptr;
    NodePtr node = make(kind, name.offset);
    node->function = function;
    node->children = std::move(arguments);
    return finish(std::move(node));
  }

  // --- fields

  /// A name, or steps: `status`, `tags[0]`, `.user.id`, `` .`odd name`[1] ``.
  NodePtr field() {
    const std::size_t offset = token_.offset;
    std::vector<FieldPath::Step> steps;
    if (!at_symbol(".")) {
      steps.push_back({std::string(token_.text), -1, {}});
      if (token_.text.empty()) return fail(token_, "a field name must not be empty");
      if (!advance()) return nullptr;
    }
    const bool dotted = steps.empty();
    while (token_.offset == last_end_ || steps.empty()) {
      if (at_symbol("[")) {
        if (!index(steps)) return nullptr;
      } else if (at_symbol(".") && (dotted || steps.size() > 1)) {
        if (!step(steps)) return nullptr;
      } else {
        break;
      }
    }
    NodePtr node = make(NodeKind::field, offset);
    const std::string spelling(text_.substr(offset, node->length));
    if (!dotted && at_symbol(".") && token_.offset == last_end_) return this->dotted(*node);
    node->field = FieldPath::of(std::move(steps), spelling);
    return node;
  }
  bool step(std::vector<FieldPath::Step>& steps) {
    const Token dot = token_;
    if (!advance()) return false;
    const bool name = token_.kind == TokenKind::name || token_.kind == TokenKind::quoted_name;
    if (!name || token_.text.empty() || token_.offset != dot.offset + 1) {
      fail(dot, "expected a name behind the dot", "a name with odd characters stands in backquotes");
      return false;
    }
    steps.push_back({std::string(token_.text), -1, {}});
    return advance();
  }
  bool index(std::vector<FieldPath::Step>& steps) {
    constexpr std::size_t kDigitsMax = 9;
    if (!advance()) return false;
    const Value index = number_from_text(token_.text);
    if (token_.kind != TokenKind::number || index.kind != Value::Kind::integer || token_.text.size() > kDigitsMax) {
      fail(token_, "expected an index, got " + shown(), "elements are counted from 0: tags[0]");
      return false;
    }
    steps.push_back({std::string(), index.integer, {}});
    if (!advance()) return false;
    if (!at_symbol("]")) {
      fail(token_, "expected `]`, got " + shown());
      return false;
    }
    return advance();
  }

  /// Counts how deep the parser is in itself.
  class Nesting {
   public:
    explicit Nesting(Parser& parser) : parser_(parser) { ++parser_.nesting_; }
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    bool too_deep() const { return parser_.nesting_ > kDepthMax; }

   private:
    Parser& parser_;
  };

  const std::string_view text_;
  Lexer lexer_;
  Arena& texts_;
  ExpressionProblem& problem_;
  Token token_;
  std::size_t last_end_{0};  // of the token before
  std::size_t nesting_{0};
};

}  // namespace

Tree parse_unfolded(std::string_view text, ExpressionProblem& problem) {
  Tree tree{nullptr, std::make_unique<Arena>()};
  tree.root = Parser(text, *tree.texts, problem).parse();
  return tree;
}

Tree parse(std::string_view text, ExpressionProblem& problem) {
  Tree tree = parse_unfolded(text, problem);
  if (tree.root && !fold(tree.root, *tree.texts, problem)) tree.root = nullptr;
  return tree;
}

}  // namespace logpipe::expr
