#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "event/field_edit.hpp"
#include "event/json.hpp"

namespace logpipe::test {

/// A JSON value as a tree, and the edits of event/field_edit.hpp done to it as plainly as they can be.
struct JsonDom {
  using Steps = std::vector<FieldPath::Step>;

  char kind{'s'};      ///< 's': scalar, '{', '['
  std::string scalar;  ///< as written; a string unescaped, with a quote in front
  std::vector<std::pair<std::string, JsonDom>> members;
  std::vector<JsonDom> elements;

  bool operator==(const JsonDom&) const = default;

  static JsonDom parse(std::string_view text) {
    std::size_t at = 0;
    return parse(text, at);
  }

  bool is_null() const { return kind == 's' && scalar == "null"; }
  JsonDom* member(const std::string& key) {
    for (auto& [name, value] : members) {
      if (name == key) return &value;
    }
    return nullptr;
  }
  const JsonDom* find(const Steps& steps, std::size_t i = 0) const {
    if (i == steps.size()) return this;
    if (steps[i].index >= 0) {
      const auto index = static_cast<std::size_t>(steps[i].index);
      return kind == '[' && index < elements.size() ? elements[index].find(steps, i + 1) : nullptr;
    }
    const JsonDom* const next = kind == '{' ? const_cast<JsonDom*>(this)->member(steps[i].key) : nullptr;
    return next != nullptr ? next->find(steps, i + 1) : nullptr;
  }
  bool set(const Steps& steps, const JsonDom& value) {
    JsonDom copy = *this;
    if (!copy.set_at(steps, 0, value)) return false;
    *this = copy;
    return true;
  }
  bool remove(const Steps& steps, std::size_t i = 0) {
    const bool last = i + 1 == steps.size();
    bool removed = false;
    if (steps[i].index >= 0) {
      const auto index = static_cast<std::size_t>(steps[i].index);
      if (kind != '[' || index >= elements.size()) return false;
      if (!last) return elements[index].remove(steps, i + 1);
      elements.erase(elements.begin() + steps[i].index);
      return true;
    }
    if (kind != '{') return false;
    for (std::size_t m = 0; m < members.size(); ++m) {
      if (members[m].first != steps[i].key) continue;
      if (last) {
        members.erase(members.begin() + static_cast<std::ptrdiff_t>(m--));
        removed = true;
      } else {
        removed = members[m].second.remove(steps, i + 1) || removed;
      }
    }
    return removed;
  }
  bool move(const Steps& from, const Steps& to) {
    const JsonDom* const found = find(from);
    if (found == nullptr) return false;
    const JsonDom value = *found;
    if (from.size() == 1 && to.size() == 1) {
      if (from[0].key == to[0].key) return true;
      std::erase_if(members, [&](auto& m) { return m.first == to[0].key; });
      bool first = true;
      std::erase_if(members, [&](auto& m) {
        if (m.first != from[0].key) return false;
        if (!std::exchange(first, false)) return true;
        m.first = to[0].key;
        return false;
      });
      return true;
    }
    JsonDom copy = *this;
    (void)copy.remove(from);
    if (!copy.set(to, value)) return false;
    *this = copy;
    return true;
  }
  /// Whether anything is left of it.
  bool keep_only(const std::vector<Steps>& paths, std::size_t i = 0) {
    bool kept = false;
    const auto stays = [&](JsonDom& value, const auto& matches) {
      std::vector<Steps> below;
      for (const Steps& path : paths) {
        if (!matches(path[i])) continue;
        if (path.size() == i + 1) return true;
        below.push_back(path);
      }
      return !below.empty() && value.kind != 's' && value.keep_only(below, i + 1);
    };
    std::vector<std::pair<std::string, JsonDom>> left;
    for (auto& [name, value] : members) {
      if (!stays(value, [&](const auto& step) { return step.index < 0 && step.key == name; })) continue;
      left.emplace_back(name, value);
      kept = true;
    }
    std::vector<JsonDom> left_elements;
    for (std::size_t e = 0; e < elements.size(); ++e) {
      if (!stays(elements[e], [&](const auto& step) { return step.index == static_cast<std::int64_t>(e); })) continue;
      left_elements.push_back(elements[e]);
      kept = true;
    }
    members = left;
    elements = left_elements;
    return kept;
  }

 private:
  bool set_at(const Steps& steps, std::size_t i, const JsonDom& value) {
    if (i == steps.size()) {
      *this = value;
      return true;
    }
    const bool by_index = steps[i].index >= 0;
    if (is_null()) *this = JsonDom{by_index ? '[' : '{', {}, {}, {}};
    if (kind != (by_index ? '[' : '{')) return false;
    const JsonDom null{'s', "null", {}, {}};
    if (by_index) {
      const auto index = static_cast<std::size_t>(steps[i].index);
      if (index > elements.size()) return false;
      if (index == elements.size()) elements.push_back(null);
      return elements[index].set_at(steps, i + 1, value);
    }
    if (member(steps[i].key) == nullptr) members.emplace_back(steps[i].key, null);
    bool first = true;
    std::erase_if(members, [&](auto& m) { return m.first == steps[i].key && !std::exchange(first, false); });
    return member(steps[i].key)->set_at(steps, i + 1, value);
  }

  static void blanks(std::string_view text, std::size_t& at) {
    while (at < text.size() && std::string_view(" \t\r\n").find(text[at]) != std::string_view::npos) ++at;
  }
  static std::string string(std::string_view text, std::size_t& at) {
    const std::size_t begin = ++at;
    for (; text[at] != '"'; ++at) {
      if (text[at] == '\\') ++at;
    }
    Arena arena;
    return std::string(json_unescape(text.substr(begin, at++ - begin), arena));
  }
  static JsonDom parse(std::string_view text, std::size_t& at) {
    JsonDom dom;
    blanks(text, at);
    if (text[at] == '"') {
      dom.scalar = '"' + string(text, at);
    } else if (text[at] == '{' || text[at] == '[') {
      dom.kind = text[at++];
      const char close = dom.kind == '{' ? '}' : ']';
      for (blanks(text, at); text[at] != close; blanks(text, at)) {
        if (text[at] == ',') ++at;
        blanks(text, at);
        std::string key;
        if (dom.kind == '{') {
          key = string(text, at);
          blanks(text, at);
          ++at;
          dom.members.emplace_back(key, parse(text, at));
        } else {
          dom.elements.push_back(parse(text, at));
        }
      }
      ++at;
    } else {
      const std::size_t end = text.find_first_of(" \t\r\n,]}", at);
      dom.scalar = text.substr(at, end - at);
      at = std::min(end, text.size());
    }
    blanks(text, at);
    return dom;
  }
};

}  // namespace logpipe::test
