#pragma once

#include <concepts>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/values.hpp"

namespace logpipe::config {

/// A bound of a range, in the unit of its option.
struct Limit {
  long double value{0};
  std::string text;

  template <class V>
  static Limit of(const V& bound) {
    Limit limit;
    detail::measure<V>(&bound, limit.value);
    limit.text = print_value(bound);
    return limit;
  }
};

/// One option of a component: the only declaration of its name, meaning, type, default and limits.
struct Option {
  std::string name;
  std::string doc;
  bool required{false};
  bool or_single{false};
  bool has_range{false};
  Limit min;
  Limit max;
  TypeInfo type;

  struct Check {
    std::function<bool(const void* value)> holds;
    std::string expected;
  };
  std::vector<Check> checks;

  std::function<const void*(const void* object)> member;
  bool (*decode)(Decoder& decoder, void* value){nullptr};
  std::string (*print)(const void* value){nullptr};
  bool (*measure)(const void* value, long double& out){nullptr};
  const void* (*object_inside)(const void* value){nullptr};

  /// The value in `object` as YAML flow text.
  std::string print_from(const void* object) const { return print(member(object)); }
};

/// The untyped half of a schema: what documentation, the JSON schema and the decoder read. Immutable once declared, so
/// any thread may use it.
class SchemaBase {
 public:
  const std::string& title() const { return title_; }
  const std::string& description() const { return description_; }
  const std::vector<Option>& options() const { return options_; }
  const Option* find(std::string_view name) const;
  /// The option that a bare scalar (or list) stands for; nullptr when there is none.
  const Option* shorthand() const { return shorthand_ == kNone ? nullptr : &options_[shorthand_]; }
  /// A default-constructed options struct.
  const void* defaults() const { return defaults_.get(); }
  /// Runs the checks over several options; false after reporting.
  bool verify(const void* object, Decoder& decoder) const;

 protected:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  SchemaBase(std::string title, std::shared_ptr<const void> defaults);
  Option& add(Option option);
  Option& last();
  Option& option_of(const void* member);
  void set_range(Limit min, Limit max);

  std::string title_;
  std::string description_;
  std::vector<Option> options_;
  std::shared_ptr<const void> defaults_;
  std::vector<std::function<void(const void* object, Decoder& decoder)>> verifiers_;
  std::size_t shorthand_{kNone};
};

/// The options of a component, declared once, in its .cpp file:
///
///   const config::Schema<FileSinkOptions>& schema_of(config::Tag<FileSinkOptions>) {
///     static const auto schema = config::Schema<FileSinkOptions>("File sink")
///         .required("path", &FileSinkOptions::path, "File to append to.")
///         .optional("fsync", &FileSinkOptions::fsync, "When written data is forced to the disk.")
///         .optional("workers", &FileSinkOptions::workers, "Threads that encode.").range(1, 64);
///     return schema;
///   }
///
/// The declaration of `schema_of` stands beside the struct in the header. Defaults are what `S{}` holds. A mistake in a
/// declaration (a name twice, a range on a text) throws std::logic_error when it is first used.
template <class S>
class Schema : public SchemaBase {
 public:
  explicit Schema(std::string title) : SchemaBase(std::move(title), std::make_shared<const S>()) {}

  /// A paragraph above the table of options.
  Schema& description(std::string text) {
    description_ = std::move(text);
    return *this;
  }

  /// An option that must be written.
  template <class V, class B>
  requires std::derived_from<S, B> Schema& required(std::string name, V B::*member, std::string doc) {
    add(make(std::move(name), member, std::move(doc))).required = true;
    return *this;
  }

  /// An option with the default that `S{}` holds.
  template <class V, class B>
  requires std::derived_from<S, B> Schema& optional(std::string name, V B::*member, std::string doc) {
    add(make(std::move(name), member, std::move(doc)));
    return *this;
  }

  /// Bounds, both included, of the option just declared: `.range(1, 64)`, `.range(Bytes(4096), Bytes(1 << 30))`,
  /// `.range(1s, 1h)`.
  template <class V>
  Schema& range(V min, V max) {
    set_range(Limit::of(min), Limit::of(max));
    return *this;
  }

  /// A single value may stand for a list of one, for the option just declared.
  Schema& or_single() {
    last().or_single = true;
    return *this;
  }

  /// `predicate(value)` must hold for an option that was written; otherwise `expected EXPECTED, got …`.
  template <class V, class B, class Predicate>
  requires std::derived_from<S, B> Schema& check(V B::*member, Predicate predicate, std::string expected) {
    option_of(&(defaults_typed().*member))
        .checks.push_back(
            {[predicate](const void* value) { return predicate(*static_cast<const V*>(value)); }, std::move(expected)});
    return *this;
  }

  /// A check over several options, run when all of them decoded: `verify(const S&, Decoder&)`, which reports with
  /// `decoder.error_at("option", …)`.
  template <class Verifier>
  Schema& verify_with(Verifier verifier) {
    verifiers_.push_back(
        [verifier](const void* object, Decoder& decoder) { verifier(*static_cast<const S*>(object), decoder); });
    return *this;
  }

  /// A bare value in place of the map is shorthand for this option: a scalar, a list where the option is one, or, where
  /// it is a map of free names, a map none of whose keys is an option.
  template <class V, class B>
  requires std::derived_from<S, B> Schema& scalar(V B::*member) {
    const Option& option = option_of(&(defaults_typed().*member));
    shorthand_ = static_cast<std::size_t>(&option - options_.data());
    return *this;
  }

  const S& defaults_typed() const { return *static_cast<const S*>(defaults()); }

 private:
  template <class V, class B>
  static Option make(std::string name, V B::*member, std::string doc) {
    Option option;
    option.name = std::move(name);
    option.doc = std::move(doc);
    option.type = type_info<V>();
    option.member = [member](const void* object) -> const void* { return &(static_cast<const S*>(object)->*member); };
    option.decode = [](Decoder& decoder, void* value) { return decode_value(decoder, *static_cast<V*>(value)); };
    option.print = [](const void* value) { return print_value(*static_cast<const V*>(value)); };
    option.measure = &detail::measure<V>;
    option.object_inside = &detail::object_inside<V>;
    return option;
  }
};

/// A map read by several schemas, each taking its keys; what nobody takes is an unknown option.
///
///   config::Object object(decoder);
///   object.reserve("type");
///   object.take(common);      // every struct with schema_of
///   object.take(options);
///   if (!object.finish()) …
class Object {
 public:
  /// Reports when the node is no map; null is an empty one. Keeps references to the node and the diagnostics.
  explicit Object(Decoder decoder);

  template <class T>
  bool take(T& out) {
    return take(static_cast<const SchemaBase&>(schema_of(Tag<T>{})), &out);
  }
  bool take(const SchemaBase& schema, void* out);
  /// A key that is read elsewhere.
  void reserve(std::string_view key);
  /// Reports the keys that nobody took; true when nothing at all was wrong.
  bool finish();

  const Decoder& decoder() const { return decoder_; }

 private:
  Decoder decoder_;
  std::vector<std::string_view> known_;  // views into schemas and the caller's literals
  bool ok_;
};

/// A whole struct from a node; keys in `reserved` are left to the caller. Errors go to `diagnostics`, the value is then
/// as far as it could be read.
template <class T>
T decode(const Node& node, Diagnostics& diagnostics, std::string path = {},
         std::initializer_list<std::string_view> reserved = {}) {
  T value{};
  if constexpr (detail::HasSchema<T>) {
    Decoder decoder(node, diagnostics, std::move(path));
    const SchemaBase& schema = schema_of(Tag<T>{});
    if (reserved.size() == 0) {
      detail::decode_object(decoder, schema, &value);
    } else {
      Object object(decoder);
      for (const std::string_view key : reserved) object.reserve(key);
      object.take(schema, &value);
      object.finish();
    }
  } else {
    Decoder(node, diagnostics, std::move(path)).into(value);
  }
  return value;
}

}  // namespace logpipe::config
