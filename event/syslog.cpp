#include "event/syslog.hpp"

#include <array>
#include <cstddef>
#include <cstring>

#include "event/byte_search.hpp"
#include "event/syslog_parts.hpp"

namespace logpipe {
namespace {

using namespace syslog;

constexpr std::array<std::string_view, 8> kSeverities = {"emerg",   "alert",  "crit", "err",
                                                         "warning", "notice", "info", "debug"};
constexpr std::array<std::string_view, 24> kFacilities = {"kern",   "user",   "mail",   "daemon", "auth",     "syslog",
                                                          "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
                                                          "ntp",    "audit",  "alert",  "clock",  "local0",   "local1",
                                                          "local2", "local3", "local4", "local5", "local6",   "local7"};

/// What stands before anything else: `<34>`. Nullptr when there is a `<` and no PRI behind it.
const char* read_priority(const char* at, const char* end, const ScanOut& out, bool& found) {
  found = false;
  if (at == end || *at != '<') return at;
  unsigned value = 0;
  const char* digit = at + 1;
  while (digit != end && is_digit(*digit) && digit - at <= 3)
    value = value * 10 + static_cast<unsigned>(*digit++ - '0');
  if (digit == at + 1 || digit == end || *digit != '>' || value > 191) return nullptr;
  out.text("facility", kFacilities[value / 8]);
  out.text("severity", kSeverities[value % 8]);
  found = true;
  return digit + 1;
}

/// Everything behind the version of RFC 5424 section 6.
class Modern {
 public:
  Modern(const char* at, const char* end, const ScanOut& out) noexcept : at_(at), end_(end), out_(out) {}

  bool run() {
    return header("time") && header("host") && header("app") && process() && header("msgid") && structured_data() &&
           message();
  }

 private:
  bool next(std::string_view& value) noexcept {
    const char* const stop = find_byte(at_, end_, ' ');
    if (stop == at_ || stop == end_) return false;
    value = slice(at_, stop);
    at_ = stop + 1;
    return true;
  }

  bool header(std::string_view key) {
    std::string_view value;
    if (!next(value)) return false;
    if (value != "-") out_.text(key, value);
    return true;
  }

  bool process() {
    std::string_view value;
    if (!next(value)) return false;
    if (value != "-") out_.bare("pid", value);
    return true;
  }

  bool structured_data() {
    if (at_ == end_) return false;
    if (*at_ == '-') {
      ++at_;
      return true;
    }
    if (*at_ != '[') return false;
    StructuredData data(at_, end_, out_.arena);
    at_ = data.read();
    if (at_ == nullptr) return false;
    out_.json("sd", data.json());
    return true;
  }

  bool message() {
    if (at_ == end_) return true;
    if (*at_++ != ' ') return false;
    std::string_view text = slice(at_, end_);
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    out_.text("message", text);
    return true;
  }

  const char* at_;
  const char* const end_;
  const ScanOut& out_;
};

/// RFC 3164 and its relatives, behind the PRI.
class Traditional {
 public:
  Traditional(const char* at, const char* end, bool priority, const ScanOut& out) noexcept
      : at_(at), end_(end), priority_(priority), out_(out) {}

  bool run() {
    sequence();
    bool timed = time();
    // Some devices name themselves before the time: `: router1: *Mar  1 …`.
    if (!timed && priority_) timed = host_before_time();
    if (!timed && !priority_) return false;
    // What has a zone and a colon behind its time has no host.
    if (timed && !colon_) host();
    tag();
    out_.text("message", slice(at_, end_));
    return true;
  }

 private:
  void skip_blanks() noexcept {
    while (at_ != end_ && *at_ == ' ') ++at_;
  }

  /// `000123: `, `: `.
  void sequence() {
    const char* digit = at_;
    while (digit != end_ && is_digit(*digit)) ++digit;
    if (digit - at_ > 12 || end_ - digit < 2 || digit[0] != ':' || digit[1] != ' ' || !priority_) return;
    if (digit != at_) out_.text("sequence", slice(at_, digit));
    at_ = digit + 2;
  }

  bool time() {
    const char* const begin = at_;
    const char* at = at_;
    if (at != end_ && (*at == '*' || *at == '.')) ++at;
    const TimeText found = read_time(at, end_);
    if (found.end == nullptr) return false;
    const char* stop = found.end;
    at_ = stop;
    if (at_ != end_ && *at_ == ':') {
      colon_ = true;
      ++at_;
    } else if (const char* zone = zone_and_colon(stop, end_); zone != nullptr) {
      stop = zone;
      at_ = zone + 1;
      colon_ = true;
    }
    if (at_ != end_ && *at_ != ' ') {
      at_ = begin;
      colon_ = false;
      return false;
    }
    out_.text("time", slice(at, stop));
    skip_blanks();
    return true;
  }

  bool host_before_time() {
    const char* const begin = at_;
    const char* const stop = find_byte(at_, end_, ' ');
    if (stop == end_ || stop - at_ < 2 || stop[-1] != ':') return false;
    at_ = stop + 1;
    skip_blanks();
    if (!time()) {
      at_ = begin;
      return false;
    }
    out_.text("host", slice(begin, stop - 1));
    colon_ = true;
    return true;
  }

  /// The word behind the time, unless it is a tag already.
  void host() {
    const char* const stop = find_byte(at_, end_, ' ');
    if (stop == end_ || stop == at_) return;
    const std::string_view word = slice(at_, stop);
    if (word.back() == ':' || *at_ == '%' || tag_end(at_, end_).message != nullptr) return;
    out_.text("host", word);
    at_ = stop;
    skip_blanks();
    // `host : %ASA-6-…`
    if (end_ - at_ >= 2 && at_[0] == ':' && at_[1] == ' ') at_ += 2;
  }

  void tag() {
    if (at_ != end_ && *at_ == '%') {
      mnemonic();
      return;
    }
    const Tag found = tag_end(at_, end_);
    if (found.message == nullptr) return;
    out_.text("app", slice(at_, found.name_end));
    if (!found.pid.empty()) out_.bare("pid", found.pid);
    at_ = found.message;
  }

  /// `%SYS-5-CONFIG_I: `
  void mnemonic() {
    const char* const colon = find_byte(at_, end_, ':', ' ');
    if (colon == end_ || *colon != ':') return;
    const std::string_view name = slice(at_ + 1, colon);
    const std::size_t last = name.rfind('-');
    if (last == std::string_view::npos || last < 2 || name[last - 2] != '-') return;
    const char severity = name[last - 1];
    if (severity < '0' || severity > '7') return;
    if (!priority_) out_.text("severity", kSeverities[static_cast<std::size_t>(severity - '0')]);
    out_.text("msgid", name);
    at_ = colon + 1;
    if (at_ != end_ && *at_ == ' ') ++at_;
  }

  const char* at_;
  const char* const end_;
  const bool priority_;
  const ScanOut& out_;
  bool colon_{false};
};

/// `1 ` behind the PRI; versions have one or two digits and do not begin with 0.
const char* behind_version(const char* at, const char* end) noexcept {
  if (end - at < 2 || *at < '1' || *at > '9') return nullptr;
  if (at[1] == ' ') return at + 2;
  return end - at > 2 && is_digit(at[1]) && at[2] == ' ' ? at + 3 : nullptr;
}

}  // namespace

bool scan_syslog(std::string_view line, const ScanOut& out) {
  const char* const end = line.data() + line.size();
  bool priority = false;
  const char* at = read_priority(line.data(), end, out, priority);
  if (at == nullptr) return false;
  if (priority) {
    const std::size_t begin = out.fields.size();
    const char* const version = behind_version(at, end);
    if (version != nullptr && Modern(version, end, out).run()) return true;
    out.fields.resize(begin);
  }
  return Traditional(at, end, priority, out).run();
}

std::string_view syslog_severity_name(unsigned severity) noexcept {
  return severity < kSeverities.size() ? kSeverities[severity] : std::string_view();
}

std::string_view syslog_facility_name(unsigned facility) noexcept {
  return facility < kFacilities.size() ? kFacilities[facility] : std::string_view();
}

}  // namespace logpipe
