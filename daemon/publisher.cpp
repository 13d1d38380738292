#include "daemon/publisher.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "channel/assert.hpp"
#include "channel/topic.hpp"
#include "daemon/topology.hpp"
#include "sinks/encoder.hpp"

namespace logpipe {

namespace {

constexpr std::size_t kRememberedTopics = 4096;
constexpr std::size_t kFewTopics = 16;
constexpr std::uint32_t kNotWanted = 0xFFFFFFFF;

/// A topic's name, told apart from the same one for taps only.
std::string key_of(std::string_view topic, bool unpublished) {
  return (unpublished ? "?" : "") + std::string(topic);
}

/// A name of the configuration as a word of a topic.
std::string word_of(std::string_view name) {
  std::string word;
  append_topic_value(name, TopicTemplate::kValueBytesMax, word);
  return word;
}

}  // namespace

Publisher::Publisher(const Plan& plan, std::size_t pipeline, BlockPool& pool, TopicHub* topics)
    : plan_(plan), pipeline_(plan.pipelines[pipeline]), index_(pipeline), pool_(pool), topics_(topics) {
  const auto add_source = [this](std::size_t source, const std::string& name) {
    auto topic = TopicTemplate::parse(word_of(pipeline_.name) + "." + word_of(name) + ".{level}");
    LOGPIPE_ASSERT(topic.has_value());
    by_source_.emplace(static_cast<std::uint32_t>(source), std::move(*topic));
  };
  if (pipeline_.publish) return;
  for (const std::size_t source : pipeline_.sources) add_source(source, plan.sources[source].name);
  for (const std::size_t from : pipeline_.publishers) add_source(Plan::kPublications + from, plan.pipelines[from].name);
}

BlockRef Publisher::operator()(const Batch& batch) {
  const bool any = !batch.events.empty() || !batch.routed.empty();
  everything_ = any && topics_ != nullptr && !pipeline_.catches_up && topics_->wants(batch.block().size());
  if (!everything_ && pipeline_.subscribers.empty()) return nullptr;
  lines_.clear();
  origins_.clear();
  names_.clear();
  unpublished_.clear();
  indexes_.clear();
  const TopicTemplate& topic = pipeline_.publish ? *pipeline_.publish : by_source_.at(batch.block().source);
  const bool publishes = pipeline_.publish.has_value() || everything_;

  std::vector<Segment> segments;
  segments.reserve(batch.block().segments.size());
  auto event = batch.events.begin();
  auto routed = batch.routed.begin();
  for (const Segment& from : batch.block().segments) {
    const auto begin = static_cast<std::uint32_t>(lines_.size());
    for (;;) {
      const bool more = event != batch.events.end() && event->offset < from.end;
      const bool more_routed = routed != batch.routed.end() && routed->event.offset < from.end;
      if (!more && !more_routed) break;
      if (more && (!more_routed || event->offset < routed->event.offset)) {
        if (publishes) add(batch, *event, topic, !pipeline_.publish);
        ++event;
      } else {
        add(batch, routed->event, *routed->topic, false);
        ++routed;
      }
    }
    segments.push_back({from.file, from.file_begin, from.file_end, begin, static_cast<std::uint32_t>(lines_.size()),
                        SegmentKind::rewritten, from.witness});
  }
  const bool subscribed = !pipeline_.subscribers.empty();
  if (subscribed) {
    names_.push_back(pipeline_topic(index_));
    unpublished_.push_back(false);
  }
  if (names_.empty()) return nullptr;

  // What only taps and the past hold is bounded by their own limits; no pipeline waits for memory on their account.
  const std::size_t capacity = std::max<std::size_t>(lines_.size(), 1);
  BlockPtr block = subscribed ? pool_.take(capacity) : BlockPtr(new Block(capacity, nullptr));
  std::size_t filled = 0;
  while (filled < lines_.size()) {
    iovec pieces[64];
    const std::size_t count = lines_.iovecs(&batch.block(), filled, pieces, std::size(pieces));
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(block->data() + filled, pieces[i].iov_base, pieces[i].iov_len);
      filled += pieces[i].iov_len;
    }
  }
  block->set_size(filled);
  block->segments = std::move(segments);
  block->origins = origins_;
  block->unpublished = unpublished_;
  block->charge_origins();
  block->topics = std::make_shared<const std::vector<std::string>>(std::move(names_));
  block->source = static_cast<std::uint32_t>(Plan::kPublications + index_);
  block->read_at = batch.block().read_at;
  block->read_mono = batch.block().read_mono;
  return freeze(std::move(block));
}

void Publisher::add(const Batch& batch, const Event& event, const TopicTemplate& topic, bool unpublished) {
  topic_.clear();
  topic.append(batch, event, topic_);
  const std::uint32_t index = topic_index(topic_, unpublished);
  if (index == kNotWanted) return;
  origins_.push_back({static_cast<std::uint32_t>(lines_.size()), index, batch.file_offset(event)});
  encode_events(batch, {&event, 1}, Encoding::automatic, lines_);
}

std::uint32_t Publisher::topic_index(std::string_view topic, bool unpublished) {
  if (names_.size() < kFewTopics) {
    // Few topics in a block, and mostly the same again.
    for (std::size_t i = names_.size(); i-- > 0;) {
      if (names_[i] == topic && unpublished_[i] == unpublished) return static_cast<std::uint32_t>(i);
    }
  } else {
    for (std::size_t i = indexes_.size(); i < names_.size(); ++i) {
      indexes_.emplace(key_of(names_[i], unpublished_[i]), static_cast<std::uint32_t>(i));
    }
    const auto known = indexes_.find(key_of(topic, unpublished));
    if (known != indexes_.end()) return known->second;
  }
  if (!everything_ && !topic_wanted(topic)) return kNotWanted;
  names_.emplace_back(topic);
  unpublished_.push_back(unpublished);
  return static_cast<std::uint32_t>(names_.size() - 1);
}

bool Publisher::topic_wanted(std::string_view topic) {
  const auto known = wanted_.find(std::string(topic));
  if (known != wanted_.end()) return known->second;
  const bool wanted =
      std::any_of(pipeline_.subscribers.begin(), pipeline_.subscribers.end(), [&](std::size_t subscriber) {
        const std::vector<std::string>& patterns = plan_.pipelines[subscriber].subscribe;
        return std::any_of(patterns.begin(), patterns.end(),
                           [&](const std::string& pattern) { return topic_matches(pattern, topic); });
      });
  if (wanted_.size() >= kRememberedTopics) wanted_.clear();
  wanted_.emplace(topic, wanted);
  return wanted;
}

}  // namespace logpipe
