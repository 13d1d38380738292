#include "delivery/journal_state.hpp"

#include <algorithm>
#include <optional>

#include "delivery/bytes.hpp"

namespace logpipe::journal {
namespace {

void put_key(std::string& out, const OutputKey& key) {
  put(out, key.device);
  put(out, key.inode);
}

void put_output(std::string& out, const OutputKey& key, const Output& output) {
  put_key(out, key);
  put(out, output.length);
  put(out, output.birth_ns);
  put_text(out, output.path);
}

std::uint32_t count_of(std::size_t size) {
  return static_cast<std::uint32_t>(size);
}

OutputKey take_key(ByteReader& in) {
  OutputKey key;
  key.device = in.take<std::uint64_t>();
  key.inode = in.take<std::uint64_t>();
  return key;
}

void put_position(std::string& out, std::uint64_t file_id, const Position& position) {
  put(out, file_id);
  put(out, position.offset);
  put(out, position.witness.hash);
  put(out, position.witness.bytes);
}

Position take_position(ByteReader& in) {
  Position position;
  position.offset = in.take<std::uint64_t>();
  position.witness.hash = in.take<std::uint64_t>();
  position.witness.bytes = in.take<std::uint32_t>();
  return position;
}

void put_amount(std::string& out, const Amount& amount) {
  put(out, amount.events);
  put(out, amount.bytes);
}

Amount take_amount(ByteReader& in) {
  Amount amount;
  amount.events = in.take<std::uint64_t>();
  amount.bytes = in.take<std::uint64_t>();
  return amount;
}

void put_amounts(std::string& out, const Amounts& amounts) {
  put(out, count_of(amounts.size()));
  for (const auto& [reason, amount] : amounts) {
    put_text(out, reason);
    put_amount(out, amount);
  }
}

Amounts take_amounts(ByteReader& in) {
  Amounts amounts;
  for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) {
    std::string reason(in.take_text());
    amounts[std::move(reason)] = take_amount(in);
  }
  return amounts;
}

LedgerSnapshot::Lifetime take_lifetime(ByteReader& in) {
  LedgerSnapshot::Lifetime lifetime;
  lifetime.pipeline = in.take_text();
  lifetime.sink.received = take_amount(in);
  lifetime.sink.delivered = take_amount(in);
  lifetime.sink.discarded = take_amounts(in);
  lifetime.sink.failed = take_amounts(in);
  lifetime.sink.dead_lettered = take_amounts(in);
  return lifetime;
}

FileRecord take_file(ByteReader& in) {
  FileRecord record;
  record.id = in.take<std::uint64_t>();
  record.identity.device = in.take<std::uint64_t>();
  record.identity.inode = in.take<std::uint64_t>();
  record.identity.birth_ns = in.take<std::uint64_t>();
  record.identity.head_hash = in.take<std::uint64_t>();
  record.identity.head_bytes = in.take<std::uint32_t>();
  record.first_offset = in.take<std::uint64_t>();
  record.origin = in.take<std::uint64_t>();
  record.others_end = in.take<std::uint64_t>();
  record.source = in.take_text();
  record.path = SharedText(in.take_text());
  return record;
}

SinkRecord take_sink(ByteReader& in) {
  SinkRecord record;
  record.sink = in.take_text();
  for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) {
    const auto id = in.take<std::uint64_t>();
    record.positions.emplace_back(id, take_position(in));
  }
  for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) {
    const OutputKey key = take_key(in);
    Output output;
    output.length = in.take<std::uint64_t>();
    output.birth_ns = in.take<std::uint64_t>();
    output.path = in.take_text();
    record.outputs.emplace_back(key, std::move(output));
  }
  for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) record.retired.push_back(take_key(in));
  for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) {
    record.lifetime.push_back(take_lifetime(in));
    record.lifetime.back().sink.name = record.sink;
  }
  return record;
}

std::optional<State> take_state(ByteReader& in) {
  State state;
  state.next_file_id = in.take<std::uint64_t>();
  for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) {
    ByteReader record(in.take_text());
    state.apply(take_file(record));
    if (!record.at_end()) return std::nullopt;
  }
  for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) {
    ByteReader record(in.take_text());
    state.apply(take_sink(record));
    if (!record.at_end()) return std::nullopt;
  }
  return in.at_end() ? std::optional(std::move(state)) : std::nullopt;
}

}  // namespace

void State::apply(const FileRecord& record) {
  next_file_id = std::max(next_file_id, record.id + 1);
  files[record.id] = record;
}

void State::apply(const SinkRecord& record) {
  SinkState& sink = sinks[record.sink];
  for (const auto& [id, position] : record.positions) sink.positions[id] = position;
  for (const auto& [key, output] : record.outputs) sink.outputs[key] = output;
  for (const OutputKey& key : record.retired) sink.outputs.erase(key);
  for (const auto& [pipeline, totals] : record.lifetime) sink.lifetime[pipeline] = totals;
}

void State::apply(const ForgottenRecord& record) {
  for (const std::uint64_t id : record.ids) {
    files.erase(id);
    for (auto& [name, sink] : sinks) sink.positions.erase(id);
  }
}

std::string encode(const FileRecord& record) {
  std::string out;
  put(out, record.id);
  put(out, record.identity.device);
  put(out, record.identity.inode);
  put(out, record.identity.birth_ns);
  put(out, record.identity.head_hash);
  put(out, record.identity.head_bytes);
  put(out, record.first_offset);
  put(out, record.origin);
  put(out, record.others_end);
  put_text(out, record.source);
  put_text(out, record.path);
  return out;
}

std::string encode(const SinkRecord& record) {
  std::string out;
  put_text(out, record.sink);
  put(out, count_of(record.positions.size()));
  for (const auto& [id, position] : record.positions) put_position(out, id, position);
  put(out, count_of(record.outputs.size()));
  for (const auto& [key, output] : record.outputs) put_output(out, key, output);
  put(out, count_of(record.retired.size()));
  for (const OutputKey& key : record.retired) put_key(out, key);
  put(out, count_of(record.lifetime.size()));
  for (const auto& [pipeline, totals] : record.lifetime) {
    put_text(out, pipeline);
    put_amount(out, totals.received);
    put_amount(out, totals.delivered);
    put_amounts(out, totals.discarded);
    put_amounts(out, totals.failed);
    put_amounts(out, totals.dead_lettered);
  }
  return out;
}

std::string encode(const ForgottenRecord& record) {
  std::string out;
  put(out, count_of(record.ids.size()));
  for (const std::uint64_t id : record.ids) put(out, id);
  return out;
}

std::string encode(const State& state) {
  std::string out;
  put(out, state.next_file_id);
  put(out, count_of(state.files.size()));
  for (const auto& [id, file] : state.files) put_text(out, encode(file));
  put(out, count_of(state.sinks.size()));
  for (const auto& [name, sink] : state.sinks) {
    SinkRecord record;
    record.sink = name;
    record.positions.assign(sink.positions.begin(), sink.positions.end());
    record.outputs.assign(sink.outputs.begin(), sink.outputs.end());
    for (const auto& [pipeline, totals] : sink.lifetime) record.lifetime.push_back({pipeline, totals});
    put_text(out, encode(record));
  }
  return out;
}

bool replay(State& state, std::uint16_t type, std::string_view payload) {
  ByteReader in(payload);
  switch (static_cast<RecordType>(type)) {
    case RecordType::snapshot: {
      std::optional<State> whole = take_state(in);
      if (!whole) return false;
      state = std::move(*whole);
      return true;
    }
    case RecordType::file: {
      const FileRecord record = take_file(in);
      if (!in.at_end() || record.id == 0) return false;
      state.apply(record);
      return true;
    }
    case RecordType::sink: {
      const SinkRecord record = take_sink(in);
      if (!in.at_end()) return false;
      state.apply(record);
      return true;
    }
    case RecordType::forgotten: {
      ForgottenRecord record;
      for (auto left = in.take<std::uint32_t>(); left > 0 && in.ok(); --left) {
        record.ids.push_back(in.take<std::uint64_t>());
      }
      if (!in.at_end()) return false;
      state.apply(record);
      return true;
    }
  }
  return false;
}

}  // namespace logpipe::journal
