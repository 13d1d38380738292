#include "event/member_reader.hpp"

#include "event/json_walk.hpp"

namespace logpipe {

MemberReader::MemberReader(const FieldValue& value) noexcept : keys_(value.type == ValueType::object) {
  if (value.type != ValueType::object && value.type != ValueType::array) return;
  rest_ = value.text.substr(1, value.text.size() - 2);
}

bool MemberReader::next(std::string_view& key, FieldValue& value) noexcept {
  json::TextMember member;
  if (!json::next_member(rest_, member, keys_)) return false;
  key = keys_ ? member.key : std::string_view();
  value = json::classify(member.value);
  return true;
}

}  // namespace logpipe
