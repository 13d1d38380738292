#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "event/arena.hpp"
#include "event/block.hpp"
#include "event/level.hpp"

namespace logpipe {

class JsonTape;
class TopicTemplate;

/// How the body of an event is understood.
enum class Form : std::uint8_t {
  text,    ///< a line; as JSON it becomes {"message": "…"}
  json,    ///< one JSON object; index = its range of the batch's tape
  fields,  ///< key/value pairs found by a scanner (logfmt, clf, …); index = its range of Batch::fields
};

/// Why an event was not delivered. Bounded: the names are label values of metrics and keys of the ledger.
enum class Reason : std::uint8_t {
  level,              ///< discarded: below the wanted level
  unknown_level,      ///< discarded: no level found and `unknown: discard`
  when,               ///< discarded: the sink's condition does not hold
  already_delivered,  ///< discarded: read again after a restart for another sink's sake
  oversize,           ///< discarded: longer than max_line_bytes and `oversize: drop`
  parse,              ///< discarded or failed: not in the format that was asked for
  queue_full,         ///< discarded: a queue that drops was full
  throttled,          ///< discarded: above the rate of a `throttle` that discards
  routed,             ///< discarded here: published under a topic instead (Batch::routed)
  duplicate,          ///< discarded: the same was seen within the window of a `dedupe`
  topic,              ///< discarded: published under a topic that this pipeline does not subscribe to
  sampled,            ///< discarded: not among those that a `sample` keeps
  detached,           ///< discarded here: its sink has fallen behind, and reads it by itself later
  script,             ///< discarded or failed: by a script, or because of an error in it
  lookup,             ///< failed: a service did not answer, and `on_error: discard`
  where,              ///< discarded: the condition of a `where` does not hold
  damaged,            ///< failed: could not be read back from the disk as it was written
};
std::string_view reason_name(Reason reason) noexcept;

inline constexpr std::uint32_t kNoEdit = 0xFFFFFFFF;

/// One event: a slice of the block and what is known about it. 32 bytes; a batch holds them in one flat array.
struct Event {
  std::uint32_t offset{0};  ///< of the body in the block
  std::uint32_t length{0};  ///< of the body, without the line end (a CR before the LF belongs to it; see Batch::text)
  std::uint32_t source_bytes{0};  ///< what it took from its source: body, line end and anything cut off
  std::uint32_t index_begin{0};   ///< json: first entry on the tape; fields: first FieldRef
  std::uint32_t index_count{0};
  std::uint32_t edits{kNoEdit};  ///< first of its list of edits
  Level level{Level::unknown};
  Form form{Form::text};
  bool level_known{false};         ///< `level` was looked for (and may still be unknown)
  bool has_line_end{true};         ///< the body is followed by '\n' in the block
  bool truncated{false};           ///< the line was longer than the limit
  bool parse_failed{false};        ///< a parser was asked for and did not accept it; kept as text
  bool escaped{false};             ///< json: a backslash is in it somewhere
  bool several_lines : 1 {false};  ///< a line feed is in it somewhere
  bool redacted : 1 {false};   ///< what it holds was made unreadable by edits: its bytes must not leave as they came
  bool is_logfmt : 1 {false};  ///< fields: the body as it stands is logfmt
};
static_assert(sizeof(Event) <= 32);

/// A change to one event that leaves its bytes alone; encoders apply it while they copy. See event/fields.hpp. The
/// edits of an event are in the order of their targets, no two for the same one, appends last.
struct Edit {
  enum class Kind : std::uint8_t {
    replace,  ///< json: the value [target, target + target_length) of the block becomes `text`
    remove,   ///< json: the member [target, target + target_length), key and value, goes with the comma that held it
    member,   ///< json: the member [target, target + target_length) becomes the member `text`, key and value
    append,   ///< `text` is one or more members (`"k":1,"m":"x"`) that follow the last one
  };
  std::string_view text;    ///< JSON; lives in the batch's arena or in a stage, which outlives the batch's work
  std::uint32_t target{0};  ///< json: offset in the block; fields and text: which field, counted from 0
  std::uint32_t target_length{0};
  std::uint32_t next{kNoEdit};
  Kind kind{Kind::append};
};

/// One field of a `fields` event. Views into the block or the arena.
struct FieldRef {
  std::string_view key;
  std::string_view value;  ///< unescaped text
  bool quoted{false};      ///< it was written in quotes: a string, whatever it looks like
  bool json{false};        ///< the value is JSON that the scanner wrote: an object or an array
};

/// An event that a stage took out of the pipeline, to be published under a topic.
struct Routed {
  Event event;
  const TopicTemplate* topic{nullptr};  ///< the stage's, which outlives the batch's work
};

/// An event that was taken out, and why.
struct Removed {
  Event event;
  Reason reason;
  bool intentional;
};

/// What a stage put aside, counted per batch.
struct Tally {
  Reason reason;
  bool intentional;         ///< discarded; false: failed
  std::uint32_t component;  ///< index of the stage in its pipeline, or Batch::kSourceComponent
  std::uint32_t events;
  std::uint64_t bytes;
};

/// The events of one block while a worker works on them. A worker owns one Batch and reuses it for block after block,
/// so nothing is allocated per event or, once warm, per batch; what travels on is the block and what was encoded from
/// it.
/// Threads: one at a time.
class Batch {
 public:
  /// The component of tallies that arise when a block is opened: the source, not a stage.
  static constexpr std::uint32_t kSourceComponent = 0xFFFFFFFF;

  Batch();
  ~Batch();
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  /// Begins work on a block: forgets the last one and splits this one into events, one per line unless its segments say
  /// otherwise, in order. Events of
  /// dropped segments do not appear; they are counted in `tallies` under Reason::oversize, as are the bytes of a
  /// truncated line beyond 4 GiB, which its `source_bytes` cannot say.
  void open(BlockRef block);
  /// Lets go of the block and of all views into it; keeps the memory for the next.
  void close() noexcept;

  const Block& block() const noexcept { return *block_; }
  const BlockRef& block_ref() const noexcept { return block_; }

  /// The body as it came, with a trailing CR if there was one.
  std::string_view raw(const Event& event) const noexcept { return block_->text(event.offset, event.length); }
  /// The body as text: without the CR of a CRLF line end.
  std::string_view text(const Event& event) const noexcept {
    std::string_view body = raw(event);
    if (!body.empty() && body.back() == '\r') body.remove_suffix(1);
    return body;
  }
  /// The segment an event lies in, and the offset of its first byte in its source file.
  const Segment& segment_of(const Event& event) const noexcept;
  std::uint64_t file_offset(const Event& event) const noexcept;
  /// The origin of an event of a published block (Block::origins is not empty).
  const LineOrigin& origin_of(const Event& event) const noexcept;

  /// Keeps the events for which `keep` holds, in order; counts the others under what it returned.
  /// `keep(Event&) -> std::optional<Reason>`: nullopt keeps. `intentional` as in Tally.
  template <class Keep>
  void retain(std::uint32_t component, bool intentional, Keep&& keep) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < events.size(); ++i) {
      const auto reason = keep(events[i]);
      if (!reason) {
        if (kept != i) events[kept] = events[i];
        ++kept;
      } else {
        count(component, *reason, intentional, events[i].source_bytes);
        if (keeps_removed) removed.push_back({events[i], *reason, intentional});
      }
    }
    events.resize(kept);
  }
  void count(std::uint32_t component, Reason reason, bool intentional, std::uint64_t bytes);

  std::vector<Event> events;
  std::vector<Edit> edits;
  std::vector<FieldRef> fields;
  std::vector<Tally> tallies;
  /// What retain() took out, where `keeps_removed` is set before the block is opened: whoever needs to know its
  /// positions.
  std::vector<Removed> removed;
  bool keeps_removed{false};
  std::vector<Routed> routed;  ///< ascending by offset; counted in `tallies` like everything that is put aside
  Arena arena;
  /// What the text of edits lives in where that is neither the arena nor a stage; let go with the batch's work.
  std::vector<std::shared_ptr<const void>> held;
  /// What the block held when it was opened, before any stage: the "received" of the ledger.
  std::uint64_t received_events{0};
  std::uint64_t received_bytes{0};

  /// The tape of the block; built by parse_json (event/json.hpp), empty before.
  JsonTape& tape() noexcept { return *tape_; }
  const JsonTape& tape() const noexcept { return *tape_; }

 private:
  void split(const Segment& segment);
  template <class Items, class BeginOf>
  void split_at(const Segment& segment, const Items& items, BeginOf&& begin_of);
  Event& add(std::uint32_t begin, std::uint32_t end);
  void whole(const Segment& segment);
  void forget() noexcept;
  BlockRef block_;
  std::unique_ptr<JsonTape> tape_;
};

}  // namespace logpipe
