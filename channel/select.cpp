#include "channel/select.hpp"

#include <random>

namespace logpipe::detail {
namespace {

/// Below `bound`. Any quick generator will do: nobody's safety depends on it.
std::uint32_t random_below(std::uint32_t bound) {
  thread_local std::minstd_rand generator{std::random_device()()};
  return static_cast<std::uint32_t>(generator()) % bound;
}

}  // namespace

Selected SelectScope::run(const Context& ctx, SelectOrder order, std::optional<SteadyTime> deadline, bool may_wait) {
  Selected selected;
  if (ctx.done()) return selected;
  arrange(order);
  if (pass(selected)) return selected;
  if (!may_wait) return Selected{count_, SelectStatus::otherwise};

  std::optional<SteadyTime> wake_at = ctx.deadline();
  if (deadline && (!wake_at || *deadline < *wake_at)) wake_at = deadline;
  Parker parker;
  const CancelListener listener(
      ctx, [](void* told) noexcept { static_cast<Parker*>(told)->tell_and_wake(); }, &parker);
  struct Leave {  // also when a send finds no memory
    SelectScope* scope;
    ~Leave() { scope->dismiss(); }
  } leave{this};
  for (;;) {
    enlist(parker);
    if (ctx.done()) return Selected{};
    if (pass(selected)) return selected;
    if (deadline && std::chrono::steady_clock::now() >= *deadline) return Selected{count_, SelectStatus::timeout};
    if (offers_withdrawn_) continue;  // not in all lists: try again when in them
    parker.sleep(wake_at);
    parker.reset();
    for (std::size_t i = 0; i < count_; ++i) at(i).entry_.acknowledge();
  }
}

/// Fisher and Yates' shuffle, or as given.
void SelectScope::arrange(SelectOrder order) noexcept {
  for (std::size_t i = 0; i < count_; ++i) at(i).turn_ = static_cast<std::uint32_t>(i);
  if (order == SelectOrder::priority) return;
  for (std::size_t i = count_; i > 1; --i) {
    std::swap(at(i - 1).turn_, at(random_below(static_cast<std::uint32_t>(i))).turn_);
  }
}

bool SelectScope::pass(Selected& selected) {
  for (std::size_t i = 0; i < count_; ++i) {
    const std::size_t index = at(i).turn_;
    SelectCase& candidate = at(index);
    if (candidate.point() == nullptr || !candidate.attempt(*this, selected.status)) continue;
    selected.index = index;
    return true;
  }
  return false;
}

void SelectScope::enlist(Parker& parker) noexcept {
  offers_withdrawn_ = false;
  for (std::size_t i = 0; i < count_; ++i) {
    SelectCase& each = at(i);
    if (each.point() == nullptr || each.entry_.point() != nullptr) continue;
    each.point()->enlist(each.entry_, parker, each.need());
    each.enlisted();
  }
}

void SelectScope::dismiss() noexcept {
  for (std::size_t i = 0; i < count_; ++i) {
    SelectCase& each = at(i);
    WaitPoint* const point = each.entry_.point();
    if (point == nullptr) continue;
    if (point->dismiss(each.entry_)) each.hand_on();
    each.dismissed();
  }
}

void SelectScope::withdraw_offers() noexcept {
  for (std::size_t i = 0; i < count_; ++i) {
    SelectCase& each = at(i);
    WaitPoint* const point = each.entry_.point();
    if (point == nullptr || !each.rendezvous_sender()) continue;
    if (point->dismiss(each.entry_)) each.hand_on();
    each.dismissed();
    offers_withdrawn_ = true;
  }
}

int SelectScope::enlisted_at(const WaitPoint& point) const noexcept {
  int count = 0;
  for (std::size_t i = 0; i < count_; ++i) count += at(i).entry_.point() == &point ? 1 : 0;
  return count;
}

}  // namespace logpipe::detail
