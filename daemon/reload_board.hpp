#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "channel/mutex.hpp"

namespace logpipe {

/// Who asked for a reload, and what became of it. Requests are numbered; an answer holds for all that were asked before
/// its reload began, so requests that come while one is going on share the next. Threads: any. Limits: the 64 youngest
/// answers are kept; older requests get the oldest of them.
class ReloadBoard {
 public:
  /// One more request; its number.
  std::uint64_t ask();
  /// Whether there is a request without an answer.
  bool wanted() const;
  /// The reload that begins now answers all requests so far; the number of the last of them.
  std::uint64_t begin() const;
  /// `outcome`: for people, one line or several.
  void answer(std::uint64_t through, bool ok, std::string outcome);

  /// What became of the request of this number, and of those that shared its reload; nothing as long as it waits.
  struct Answer {
    bool ok{true};
    std::string outcome;
  };
  std::optional<Answer> answer_to(std::uint64_t number) const;
  /// Somebody has asked for it.
  bool knows(std::uint64_t number) const;

  /// One line of JSON with a final newline: {"asked":3,"answered":2,"ok":true,"outcome":"pipeline main begun again"};
  /// `ok` and `outcome` are those of the last answer.
  std::string to_json() const;

 private:
  mutable Mutex mutex_;
  std::uint64_t asked_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t answered_ LOGPIPE_GUARDED_BY(mutex_){0};
  struct Past {
    std::uint64_t through;
    Answer answer;
  };
  std::deque<Past> past_ LOGPIPE_GUARDED_BY(mutex_);  // the youngest last; bounded
};

}  // namespace logpipe
