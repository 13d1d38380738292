#pragma once

#include <chrono>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/decoder.hpp"

// What turns nodes into C++ values and describes their types. Components include config/schema.hpp instead.

namespace logpipe::config {

template <class T>
struct Tag {};

class SchemaBase;

/// One name of an enumeration. Names and words must have static storage.
template <class E>
struct EnumName {
  std::string_view name;
  E value;
  std::string_view doc{};
};

/// Specialise for an enumeration used as an option:
///   template <> struct EnumNames<Fsync> {
///     static constexpr EnumName<Fsync> values[] = {{"always", Fsync::always, "after every write"}, …};
///   };
template <class E>
struct EnumNames;

template <class E>
concept NamedEnum = requires {
  EnumNames<E>::values[0].name;
};

/// The (first) name of an enumerator.
template <NamedEnum E>
constexpr std::string_view name_of(E value) {
  for (const auto& entry : EnumNames<E>::values) {
    if (entry.value == value) return entry.name;
  }
  return {};
}

/// A value that remembers where it was written, for checks that come later (compiling an expression or a pattern).
template <class V>
struct Located {
  V value{};
  Mark mark{};
  std::string path{};

  Located() = default;
  Located(V initial) : value(std::move(initial)) {}  // NOLINT: a default is written as the value itself
  const V& operator*() const { return value; }
  const V* operator->() const { return &value; }
};

/// One entry of a map from free names to values; use `std::vector<Named<V>>`, which keeps the order and the positions.
template <class V>
struct Named {
  std::string name;
  Mark mark;  ///< of the name
  V value{};
};

/// What values of an option look like; for documentation and the JSON schema.
struct TypeInfo {
  enum class Kind : std::uint8_t {
    any,
    boolean,
    integer,
    number,
    text,
    path,
    size,
    duration,
    rate,
    choice,
    list,
    map,
    object
  };
  struct Choice {
    std::string_view name;
    std::string_view doc;
  };

  Kind kind{Kind::any};
  std::string name;                        ///< in words, where the kind does not say enough ("expression")
  std::vector<Choice> choices{};           ///< kind choice
  std::vector<TypeInfo> item{};            ///< kinds list and map: exactly one
  const SchemaBase& (*object)(){nullptr};  ///< kind object; a function because schemas may refer to each other
  bool secret{false};
};

template <class V>
bool decode_value(Decoder& decoder, V& out);
template <class V>
TypeInfo type_info();
template <class V>
std::string print_value(const V& value);

namespace detail {

template <class V>
concept DecodeHook = requires(Decoder& decoder, V& out) {
  decode(decoder, out);
};
template <class V>
concept DescribeHook = requires(Tag<V> tag) {
  { describe(tag) } -> std::convertible_to<TypeInfo>;
};
template <class V>
concept PrintHook = requires(Tag<V> tag, const V& value) {
  { print(tag, value) } -> std::convertible_to<std::string>;
};
template <class V>
concept HasSchema = requires(Tag<V> tag) {
  schema_of(tag);
};
template <class V>
concept Integer = std::integral<V> && !std::same_as<V, bool> && !std::same_as<V, char>;

template <class V>
struct Shape {
  static constexpr int kind = 0;
};
struct ShapeKind {
  static constexpr int none = 0, optional = 1, located = 2, list = 3, pairs = 4, named = 5, duration = 6;
};
template <class V>
struct Shape<std::optional<V>> {
  static constexpr int kind = ShapeKind::optional;
  using Inner = V;
};
template <class V>
struct Shape<Located<V>> {
  static constexpr int kind = ShapeKind::located;
  using Inner = V;
};
template <class V>
struct Shape<std::vector<V>> {
  static constexpr int kind = ShapeKind::list;
  using Inner = V;
};
template <class V>
struct Shape<std::vector<std::pair<std::string, V>>> {
  static constexpr int kind = ShapeKind::pairs;
  using Inner = V;
};
template <class V>
struct Shape<std::vector<Named<V>>> {
  static constexpr int kind = ShapeKind::named;
  using Inner = V;
};
template <class Rep, class Period>
struct Shape<std::chrono::duration<Rep, Period>> {
  static constexpr int kind = ShapeKind::duration;
};
template <class>
inline constexpr bool kUnsupported = false;

// Defined in schema.cpp, so that this header need not know the schema class.
bool decode_object(Decoder& decoder, const SchemaBase& schema, void* out);
std::string print_object(const SchemaBase& schema, const void* object);
template <class V>
const SchemaBase& schema_base() {
  return schema_of(Tag<V>{});
}

std::string print_number(double value);
std::string print_text(const std::string& text);
std::string print_node(const Node& node);

/// Where the struct with a schema is inside `value`; nullptr when there is none.
template <class V>
const void* object_inside(const void* value) {
  const V& typed = *static_cast<const V*>(value);
  if constexpr (HasSchema<V>) {
    return &typed;
  } else if constexpr (Shape<V>::kind == ShapeKind::optional) {
    return typed ? object_inside<typename Shape<V>::Inner>(&*typed) : nullptr;
  } else if constexpr (Shape<V>::kind == ShapeKind::located) {
    return object_inside<typename Shape<V>::Inner>(&typed.value);
  } else {
    return nullptr;
  }
}

/// The number to compare with a range; false when the type has none or it is not set.
template <class V>
bool measure(const void* value, long double& out) {
  const V& typed = *static_cast<const V*>(value);
  if constexpr (Integer<V> || std::floating_point<V>) {
    out = static_cast<long double>(typed);
    return true;
  } else if constexpr (std::same_as<V, Bytes>) {
    out = static_cast<long double>(typed.value);
    return true;
  } else if constexpr (std::same_as<V, Rate>) {
    out = static_cast<long double>(typed.per_second());
    return true;
  } else if constexpr (Shape<V>::kind == ShapeKind::duration) {
    out = static_cast<long double>(std::chrono::duration_cast<Duration>(typed).count());
    return true;
  } else if constexpr (Shape<V>::kind == ShapeKind::optional) {
    return typed && measure<typename Shape<V>::Inner>(&*typed, out);
  } else if constexpr (Shape<V>::kind == ShapeKind::located) {
    return measure<typename Shape<V>::Inner>(&typed.value, out);
  } else {
    return false;
  }
}

template <class V>
bool decode_list(Decoder& decoder, std::vector<V>& out) {
  const Node& node = decoder.node();
  if (decoder.single_allowed() && !node.is_sequence() && !node.is_null()) {
    std::vector<V> single(1);
    Decoder item = decoder;
    item.allow_single(false);
    if (!decode_value(item, single.front())) return false;
    out = std::move(single);
    return true;
  }
  if (!expect_sequence(decoder)) return false;
  out.clear();
  bool ok = true;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    Decoder item = decoder.at(i);
    V value{};
    if (decode_value(item, value)) {
      out.push_back(std::move(value));
    } else {
      ok = false;
    }
  }
  return ok;
}

/// `make(entry, value)` adds one decoded entry.
template <class V, class Make>
bool decode_entries(Decoder& decoder, Make make) {
  if (!expect_map(decoder)) return false;
  bool ok = true;
  for (const Node::Entry& entry : decoder.node().entries) {
    Decoder item = decoder.at(entry);
    V value{};
    if (decode_value(item, value)) {
      make(entry, std::move(value));
    } else {
      ok = false;
    }
  }
  return ok;
}

}  // namespace detail

template <class V>
bool decode_value(Decoder& decoder, V& out) {
  using detail::Shape;
  using detail::ShapeKind;
  if (decoder.unreadable() && !std::same_as<V, Node>) return false;
  if constexpr (detail::DecodeHook<V>) {
    if constexpr (std::same_as<decltype(decode(decoder, out)), bool>) {
      return decode(decoder, out);
    } else {
      const std::size_t before = decoder.diagnostics().error_count();
      decode(decoder, out);
      return decoder.diagnostics().error_count() == before;
    }
  } else if constexpr (detail::HasSchema<V>) {
    return detail::decode_object(decoder, detail::schema_base<V>(), &out);
  } else if constexpr (NamedEnum<V>) {
    std::vector<std::string_view> names;
    for (const auto& entry : EnumNames<V>::values) names.push_back(entry.name);
    const std::size_t index = detail::decode_choice(decoder, names);
    if (index == std::string_view::npos) return false;
    out = EnumNames<V>::values[index].value;
    return true;
  } else if constexpr (detail::Integer<V> && std::is_signed_v<V>) {
    std::int64_t value = 0;
    if (!detail::decode_signed(decoder, std::numeric_limits<V>::min(), std::numeric_limits<V>::max(), value))
      return false;
    out = static_cast<V>(value);
    return true;
  } else if constexpr (detail::Integer<V>) {
    std::uint64_t value = 0;
    if (!detail::decode_unsigned(decoder, std::numeric_limits<V>::max(), value)) return false;
    out = static_cast<V>(value);
    return true;
  } else if constexpr (Shape<V>::kind == ShapeKind::duration) {
    Duration value{};
    const auto tick = std::chrono::duration_cast<Duration>(V(1));
    if (!detail::decode_duration(decoder, tick, std::chrono::duration_cast<Duration>(out), value)) return false;
    out = std::chrono::duration_cast<V>(value);
    return true;
  } else if constexpr (Shape<V>::kind == ShapeKind::optional) {
    if (decoder.node().is_null()) {
      out.reset();
      return true;
    }
    typename Shape<V>::Inner value = out ? std::move(*out) : typename Shape<V>::Inner{};
    if (!decode_value(decoder, value)) return false;
    out = std::move(value);
    return true;
  } else if constexpr (Shape<V>::kind == ShapeKind::located) {
    out.mark = decoder.node().mark;
    out.path = decoder.path();
    return decode_value(decoder, out.value);
  } else if constexpr (Shape<V>::kind == ShapeKind::list) {
    return detail::decode_list(decoder, out);
  } else if constexpr (Shape<V>::kind == ShapeKind::pairs) {
    out.clear();
    return detail::decode_entries<typename Shape<V>::Inner>(
        decoder, [&out](const Node::Entry& entry, auto&& value) { out.emplace_back(entry.key, std::move(value)); });
  } else if constexpr (Shape<V>::kind == ShapeKind::named) {
    using Inner = typename Shape<V>::Inner;
    out.clear();
    return detail::decode_entries<Inner>(decoder, [&out](const Node::Entry& entry, auto&& value) {
      out.push_back(Named<Inner>{entry.key, entry.key_mark, std::move(value)});
    });
  } else {
    static_assert(detail::kUnsupported<V>, "an option of this type needs decode(Decoder&, V&), schema_of or EnumNames");
    return false;
  }
}

template <class V>
bool Decoder::into(V& out) const {
  Decoder copy = *this;
  return decode_value(copy, out);
}

template <class V>
TypeInfo type_info() {
  using detail::Shape;
  using detail::ShapeKind;
  using Kind = TypeInfo::Kind;
  if constexpr (detail::DescribeHook<V>) {
    return describe(Tag<V>{});
  } else if constexpr (detail::HasSchema<V>) {
    TypeInfo info{.kind = Kind::object, .name = {}};
    info.object = &detail::schema_base<V>;
    return info;
  } else if constexpr (std::same_as<V, bool>) {
    return {.kind = Kind::boolean, .name = {}};
  } else if constexpr (std::floating_point<V>) {
    return {.kind = Kind::number, .name = {}};
  } else if constexpr (std::same_as<V, std::string>) {
    return {.kind = Kind::text, .name = {}};
  } else if constexpr (std::same_as<V, Secret>) {
    return {.kind = Kind::text, .name = "secret", .secret = true};
  } else if constexpr (std::same_as<V, std::filesystem::path>) {
    return {.kind = Kind::path, .name = {}};
  } else if constexpr (std::same_as<V, Bytes>) {
    return {.kind = Kind::size, .name = {}};
  } else if constexpr (std::same_as<V, Rate>) {
    return {.kind = Kind::rate, .name = {}};
  } else if constexpr (std::same_as<V, FlowRate>) {
    return {.kind = Kind::text, .name = "rate of events or bytes"};
  } else if constexpr (std::same_as<V, FlowAmount>) {
    return {.kind = Kind::any, .name = "number or size"};
  } else if constexpr (NamedEnum<V>) {
    TypeInfo info{.kind = Kind::choice, .name = {}};
    for (const auto& entry : EnumNames<V>::values) info.choices.push_back({entry.name, entry.doc});
    return info;
  } else if constexpr (detail::Integer<V>) {
    return {.kind = Kind::integer, .name = {}};
  } else if constexpr (Shape<V>::kind == ShapeKind::duration) {
    return {.kind = Kind::duration, .name = {}};
  } else if constexpr (Shape<V>::kind == ShapeKind::optional || Shape<V>::kind == ShapeKind::located) {
    return type_info<typename Shape<V>::Inner>();
  } else if constexpr (Shape<V>::kind == ShapeKind::list) {
    TypeInfo info{.kind = Kind::list, .name = {}};
    info.item.push_back(type_info<typename Shape<V>::Inner>());
    return info;
  } else if constexpr (Shape<V>::kind == ShapeKind::pairs || Shape<V>::kind == ShapeKind::named) {
    TypeInfo info{.kind = Kind::map, .name = {}};
    info.item.push_back(type_info<typename Shape<V>::Inner>());
    return info;
  } else {
    return {};
  }
}

/// The value as YAML flow text, which decodes to the same value; empty when nothing is set.
template <class V>
std::string print_value(const V& value) {
  using detail::Shape;
  using detail::ShapeKind;
  if constexpr (detail::PrintHook<V>) {
    return print(Tag<V>{}, value);
  } else if constexpr (detail::HasSchema<V>) {
    return detail::print_object(detail::schema_base<V>(), &value);
  } else if constexpr (std::same_as<V, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::floating_point<V>) {
    return detail::print_number(value);
  } else if constexpr (std::same_as<V, std::string>) {
    return detail::print_text(value);
  } else if constexpr (std::same_as<V, Secret>) {
    return value.value.empty() ? std::string() : std::string("<redacted>");
  } else if constexpr (std::same_as<V, std::filesystem::path>) {
    return value.empty() ? std::string() : detail::print_text(value.string());
  } else if constexpr (std::same_as<V, Bytes>) {
    return print_bytes(value);
  } else if constexpr (std::same_as<V, Rate>) {
    return print_rate(value);
  } else if constexpr (std::same_as<V, FlowRate>) {
    return print_flow_rate(value);
  } else if constexpr (std::same_as<V, FlowAmount>) {
    return print_flow_amount(value);
  } else if constexpr (std::same_as<V, Node>) {
    return detail::print_node(value);
  } else if constexpr (NamedEnum<V>) {
    return std::string(name_of(value));
  } else if constexpr (detail::Integer<V>) {
    return std::to_string(value);
  } else if constexpr (Shape<V>::kind == ShapeKind::duration) {
    return print_duration(std::chrono::duration_cast<Duration>(value));
  } else if constexpr (Shape<V>::kind == ShapeKind::optional) {
    return value ? print_value(*value) : std::string();
  } else if constexpr (Shape<V>::kind == ShapeKind::located) {
    return print_value(value.value);
  } else if constexpr (Shape<V>::kind == ShapeKind::list) {
    std::string text = "[";
    for (const auto& item : value) text += (text.size() > 1 ? ", " : "") + print_value(item);
    return text + "]";
  } else if constexpr (Shape<V>::kind == ShapeKind::pairs) {
    std::string text = "{";
    for (const auto& [name, item] : value) {
      text += (text.size() > 1 ? ", " : "") + detail::print_text(name) + ": " + print_value(item);
    }
    return text + "}";
  } else if constexpr (Shape<V>::kind == ShapeKind::named) {
    std::string text = "{";
    for (const auto& entry : value) {
      text += (text.size() > 1 ? ", " : "") + detail::print_text(entry.name) + ": " + print_value(entry.value);
    }
    return text + "}";
  } else {
    return {};
  }
}

}  // namespace logpipe::config
