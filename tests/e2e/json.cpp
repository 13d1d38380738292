#include "tests/e2e/json.hpp"

#include <cstdlib>
#include <stdexcept>

namespace logpipe::test {

namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = read();
    space();
    if (at_ != text_.size()) wrong();
    return value;
  }

 private:
  [[noreturn]] void wrong() const {
    throw std::runtime_error("no JSON at byte " + std::to_string(at_) + ": " + std::string(text_.substr(0, 2000)));
  }
  void space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  char peek() {
    space();
    if (at_ == text_.size()) wrong();
    return text_[at_];
  }
  void expect(char c) {
    if (peek() != c) wrong();
    ++at_;
  }
  bool taken(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view literal) {
    if (!text_.substr(at_).starts_with(literal)) return false;
    at_ += literal.size();
    return true;
  }

  Json read() {
    Json value;
    switch (peek()) {
      case '{':
        read_object(value);
        break;
      case '[':
        read_array(value);
        break;
      case '"':
        value.kind = Json::Kind::string;
        value.text = string();
        break;
      default:
        read_scalar(value);
    }
    return value;
  }

  void read_object(Json& value) {
    value.kind = Json::Kind::object;
    expect('{');
    if (taken('}')) return;
    do {
      space();
      std::string key = string();
      expect(':');
      if (!value.members.emplace(std::move(key), read()).second) wrong();  // a key twice
    } while (taken(','));
    expect('}');
  }

  void read_array(Json& value) {
    value.kind = Json::Kind::array;
    expect('[');
    if (taken(']')) return;
    do {
      value.items.push_back(read());
    } while (taken(','));
    expect(']');
  }

  void read_scalar(Json& value) {
    if (word("null")) return;
    value.kind = Json::Kind::boolean;
    if (word("false")) return;
    if (word("true")) {
      value.number = 1;
      return;
    }
    value.kind = Json::Kind::number;
    const auto end = std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
    if (end == at_) wrong();
    value.number = std::strtod(std::string(text_.substr(at_, end - at_)).c_str(), nullptr);
    at_ = end;
  }

  std::string string() {
    expect('"');
    std::string out;
    for (;; ++at_) {
      if (at_ >= text_.size()) wrong();
      const char c = text_[at_];
      if (c == '"') break;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (++at_ >= text_.size()) wrong();
      switch (text_[at_]) {
        case 'n':
          out += '\n';
          break;
        case 't':
          out += '\t';
          break;
        case 'r':
          out += '\r';
          break;
        case 'b':
          out += '\b';
          break;
        case 'f':
          out += '\f';
          break;
        case 'u': {
          if (at_ + 4 >= text_.size()) wrong();
          const long code = std::strtol(std::string(text_.substr(at_ + 1, 4)).c_str(), nullptr, 16);
          out += code < 0x80 ? static_cast<char>(code) : '?';
          at_ += 4;
          break;
        }
        default:
          out += text_[at_];
      }
    }
    ++at_;
    return out;
  }

  std::string_view text_;
  std::size_t at_{0};
};

double events(const Json& amounts) {
  double sum = 0;
  for (const auto& [reason, amount] : amounts.members) sum += amount["events"].number;
  return sum;
}

}  // namespace

Json Json::parse(std::string_view text) {
  return Reader(text).whole();
}

const Json& Json::named(const std::string& name) const {
  for (const Json& item : items) {
    if (item["name"].text == name) return item;
  }
  throw std::out_of_range("nothing is named " + name);
}

SinkLedger sink_ledger(const Json& ledger, const std::string& sink) {
  const Json& entry = ledger["pipelines"][0]["sinks"].named(sink);
  return {entry["received"]["events"].number,  entry["delivered"]["events"].number,
          events(entry["discarded"]),          events(entry["failed"]),
          entry["in_flight"]["events"].number, entry["balanced"].number == 1};
}

}  // namespace logpipe::test
