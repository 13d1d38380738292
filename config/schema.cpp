#include "config/schema.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "config/suggest.hpp"

namespace logpipe::config {
namespace {

bool decode_option(const Option& option, Decoder decoder, void* object) {
  // The member is reached through a const view because documentation reads defaults the same way; `object` is not
  // const.
  void* value = const_cast<void*>(option.member(object));
  decoder.allow_single(option.or_single);
  if (!option.decode(decoder, value)) return false;
  long double measured = 0;
  if (option.has_range && option.measure(value, measured) &&
      (measured < option.min.value || measured > option.max.value)) {
    return decoder.expected("a value from " + option.min.text + " to " + option.max.text, {}, Code::out_of_range);
  }
  bool ok = true;
  for (const Option::Check& check : option.checks) {
    if (!check.holds(value)) ok = decoder.expected(check.expected);
  }
  return ok;
}

/// Reads the options that stand in the map and reports the required ones that do not.
bool decode_options(const SchemaBase& schema, const Decoder& decoder, void* object) {
  bool ok = true;
  for (const Option& option : schema.options()) {
    if (const Node::Entry* entry = decoder.node().entry(option.name)) {
      ok = decode_option(option, decoder.at(*entry), object) && ok;
    } else if (decoder.node().failed) {
      ok = false;  // it may stand in the part that could not be read
    } else if (option.required) {
      decoder.diagnostics().error(decoder.owner(), decoder.path(), "missing option \"" + option.name + "\"", option.doc,
                                  Code::missing_option);
      ok = false;
    }
  }
  if (ok) {
    Decoder copy = decoder;
    ok = schema.verify(object, copy);
  }
  return ok;
}

}  // namespace

const Option* SchemaBase::find(std::string_view name) const {
  for (const Option& option : options_) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

bool SchemaBase::verify(const void* object, Decoder& decoder) const {
  const std::size_t before = decoder.diagnostics().error_count();
  for (const auto& verifier : verifiers_) verifier(object, decoder);
  return decoder.diagnostics().error_count() == before;
}

SchemaBase::SchemaBase(std::string title, std::shared_ptr<const void> defaults)
    : title_(std::move(title)), defaults_(std::move(defaults)) {}

Option& SchemaBase::add(Option option) {
  if (find(option.name) != nullptr) throw std::logic_error(title_ + ": option declared twice: " + option.name);
  options_.push_back(std::move(option));
  return options_.back();
}

Option& SchemaBase::last() {
  if (options_.empty()) throw std::logic_error(title_ + ": no option declared yet");
  return options_.back();
}

Option& SchemaBase::option_of(const void* member) {
  for (Option& option : options_) {
    if (option.member(defaults()) == member) return option;
  }
  throw std::logic_error(title_ + ": a check or shorthand names a member that is no option");
}

void SchemaBase::set_range(Limit min, Limit max) {
  Option& option = last();
  using Kind = TypeInfo::Kind;
  const Kind kind = option.type.kind;
  if (kind != Kind::integer && kind != Kind::number && kind != Kind::size && kind != Kind::duration &&
      kind != Kind::rate) {
    throw std::logic_error(title_ + ": a range on an option without an order: " + option.name);
  }
  option.has_range = true;
  option.min = std::move(min);
  option.max = std::move(max);
}

Object::Object(Decoder decoder) : decoder_(std::move(decoder)), ok_(true) {
  ok_ = detail::expect_map(decoder_);
}

bool Object::take(const SchemaBase& schema, void* out) {
  for (const Option& option : schema.options()) known_.push_back(option.name);
  const Node& node = decoder_.node();
  if (!node.is_map() && !node.is_null()) return false;
  const bool taken = decode_options(schema, decoder_, out);
  ok_ = ok_ && taken;
  return taken;
}

void Object::reserve(std::string_view key) {
  known_.push_back(key);
}

bool Object::finish() {
  for (const Node::Entry& entry : decoder_.node().entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    decoder_.diagnostics().error(entry.key_mark, decoder_.path_of(entry.key), "unknown option",
                                 suggestion_hint(entry.key, known_), Code::unknown_option);
    ok_ = false;
  }
  return ok_;
}

namespace detail {

bool decode_object(Decoder& decoder, const SchemaBase& schema, void* out) {
  const Node& node = decoder.node();
  if (const Option* shorthand = schema.shorthand()) {
    const bool list = node.is_sequence() && shorthand->type.kind == TypeInfo::Kind::list;
    // A map of free names is told from one of options by its keys.
    const bool map = shorthand->type.kind == TypeInfo::Kind::map && node.is_map() && !node.entries.empty() &&
                     std::none_of(node.entries.begin(), node.entries.end(),
                                  [&](const Node::Entry& entry) { return schema.find(entry.key) != nullptr; });
    if (node.is_scalar() || list || map) {
      return decode_option(*shorthand, decoder, out) && schema.verify(out, decoder);
    }
  }
  Object object(decoder);
  object.take(schema, out);
  return object.finish();
}

std::string print_object(const SchemaBase& schema, const void* object) {
  std::string text = "{";
  for (const Option& option : schema.options()) {
    const std::string value = option.print_from(object);
    if (value.empty()) continue;
    text += (text.size() > 1 ? ", " : "") + option.name + ": " + value;
  }
  return text + "}";
}

std::string print_number(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return error == std::errc{} ? std::string(buffer, end) : std::string();
}

std::string print_text(const std::string& text) {
  return yaml_scalar(text);
}

std::string print_node(const Node& node) {
  if (node.is_null()) return {};
  if (node.is_scalar()) return node.secret ? "<redacted>" : yaml_scalar(node.text);
  std::string text;
  for (const Node& item : node.items) text += (text.empty() ? "" : ", ") + print_node(item);
  for (const Node::Entry& entry : node.entries) {
    text += (text.empty() ? "" : ", ") + yaml_scalar(entry.key) + ": " + print_node(entry.value);
  }
  return node.is_map() ? "{" + text + "}" : "[" + text + "]";
}

}  // namespace detail
}  // namespace logpipe::config
