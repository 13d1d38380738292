#include "daemon/reload_board.hpp"

#include <utility>

#include "event/json.hpp"

namespace logpipe {

namespace {

constexpr std::size_t kPastMax = 64;

}  // namespace

std::uint64_t ReloadBoard::ask() {
  const MutexLock lock(mutex_);
  return ++asked_;
}

bool ReloadBoard::wanted() const {
  const MutexLock lock(mutex_);
  return answered_ < asked_;
}

std::uint64_t ReloadBoard::begin() const {
  const MutexLock lock(mutex_);
  return asked_;
}

void ReloadBoard::answer(std::uint64_t through, bool ok, std::string outcome) {
  const MutexLock lock(mutex_);
  if (through <= answered_) return;
  answered_ = through;
  past_.push_back({through, {ok, std::move(outcome)}});
  if (past_.size() > kPastMax) past_.pop_front();
}

std::optional<ReloadBoard::Answer> ReloadBoard::answer_to(std::uint64_t number) const {
  const MutexLock lock(mutex_);
  for (const Past& past : past_) {
    if (past.through >= number) return past.answer;
  }
  return std::nullopt;
}

bool ReloadBoard::knows(std::uint64_t number) const {
  const MutexLock lock(mutex_);
  return number >= 1 && number <= asked_;
}

std::string ReloadBoard::to_json() const {
  const MutexLock lock(mutex_);
  const Answer last = past_.empty() ? Answer{} : past_.back().answer;
  return "{\"asked\":" + std::to_string(asked_) + ",\"answered\":" + std::to_string(answered_) +
         ",\"ok\":" + (last.ok ? "true" : "false") + ",\"outcome\":" + json_string(last.outcome) + "}\n";
}

}  // namespace logpipe
