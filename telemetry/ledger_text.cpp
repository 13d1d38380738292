#include <algorithm>
#include <array>
#include <cstddef>

#include "telemetry/ledger.hpp"
#include "telemetry/text.hpp"

namespace logpipe {
namespace {

using detail::append_json_string;
using detail::append_number;

void append_amount(std::string& out, const Amount& amount) {
  out += "{\"events\":";
  append_number(out, amount.events);
  out += ",\"bytes\":";
  append_number(out, amount.bytes);
  out += '}';
}

void append_amounts(std::string& out, const Amounts& amounts) {
  out += '{';
  bool first = true;
  for (const auto& [reason, amount] : amounts) {
    if (!first) out += ',';
    first = false;
    append_json_string(out, reason);
    out += ':';
    append_amount(out, amount);
  }
  out += '}';
}

void append_balanced(std::string& out, bool balanced) {
  out.append("\"balanced\":").append(balanced ? "true" : "false");
}

void append_sink(std::string& out, const LedgerSnapshot::Sink& sink) {
  out += "{\"name\":";
  append_json_string(out, sink.name);
  out += ",\"received\":";
  append_amount(out, sink.received);
  out += ",\"delivered\":";
  append_amount(out, sink.delivered);
  out += ",\"discarded\":";
  append_amounts(out, sink.discarded);
  out += ",\"failed\":";
  append_amounts(out, sink.failed);
  out += ",\"dead_lettered\":";
  append_amounts(out, sink.dead_lettered);
  out += ",\"in_flight\":";
  append_amount(out, sink.in_flight);
  out += ',';
  append_balanced(out, sink.balanced);
  out += '}';
}

void append_stage(std::string& out, const LedgerSnapshot::Stage& stage) {
  out += "{\"component\":";
  append_json_string(out, stage.component);
  out += ",\"discarded\":";
  append_amounts(out, stage.discarded);
  out += ",\"failed\":";
  append_amounts(out, stage.failed);
  out += '}';
}

void append_source(std::string& out, const Amounts::value_type& source) {
  out += "{\"name\":";
  append_json_string(out, source.first);
  out += ",\"received\":";
  append_amount(out, source.second);
  out += '}';
}

template <class List, class Append>
void append_list(std::string& out, const List& list, Append append) {
  out += '[';
  bool first = true;
  for (const auto& each : list) {
    if (!first) out += ',';
    first = false;
    append(out, each);
  }
  out += ']';
}

void append_pipeline(std::string& out, const LedgerSnapshot::Pipeline& pipeline) {
  out += "{\"name\":";
  append_json_string(out, pipeline.name);
  out += ",\"received\":";
  append_amount(out, pipeline.received);
  out += ",\"sources\":";
  append_list(out, pipeline.sources, append_source);
  out += ",\"stages\":";
  append_list(out, pipeline.stages, append_stage);
  out += ",\"sinks\":";
  append_list(out, pipeline.sinks, append_sink);
  out += '}';
}

constexpr std::size_t kColumns = 9;
using Row = std::array<std::string, kColumns>;

/// 1234567 as 1,234,567.
std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

Row sink_row(const std::string& pipeline, const LedgerSnapshot::Sink& sink, std::uint64_t Amount::*part) {
  const bool events = part == &Amount::events;
  return {events ? pipeline : "",
          events ? sink.name : "",
          events ? "events" : "bytes",
          grouped(sink.received.*part),
          grouped(sink.delivered.*part),
          grouped(total(sink.discarded).*part),
          grouped(total(sink.failed).*part),
          grouped(total(sink.dead_lettered).*part),
          grouped(sink.in_flight.*part)};
}

void append_row(std::string& out, const Row& row, const std::array<std::size_t, kColumns>& widths) {
  std::string line;
  for (std::size_t i = 0; i < kColumns; ++i) {
    const std::string padding(widths[i] - row[i].size(), ' ');
    if (i > 0) line += "  ";
    line += i < 3 ? row[i] + padding : padding + row[i];  // words to the left, figures to the right
  }
  while (line.ends_with(' ')) line.pop_back();
  out.append(line).append("\n");
}

void append_reasons(std::string& out, std::string_view what, const Amounts& amounts) {
  for (const auto& [reason, amount] : amounts) {
    out.append("  ").append(what).append(" ").append(reason).append(": ");
    out.append(grouped(amount.events)).append(" events, ").append(grouped(amount.bytes)).append(" bytes\n");
  }
}

}  // namespace

std::string LedgerSnapshot::to_json() const {
  std::string out = "{";
  append_balanced(out, balanced);
  out += ",\"pipelines\":";
  append_list(out, pipelines, append_pipeline);
  if (!lifetime.empty()) {
    out += ",\"lifetime\":";
    append_list(out, lifetime, [](std::string& text, const Lifetime& each) {
      text += "{\"pipeline\":";
      append_json_string(text, each.pipeline);
      text += ",\"sink\":";
      append_sink(text, each.sink);
      text += '}';
    });
  }
  out += "}\n";
  return out;
}

std::string LedgerSnapshot::to_table() const {
  std::vector<Row> rows{
      {"pipeline", "sink", "", "received", "delivered", "discarded", "failed", "dead letters", "in flight"}};
  for (const Pipeline& pipeline : pipelines) {
    for (const Sink& sink : pipeline.sinks) {
      rows.push_back(sink_row(pipeline.name, sink, &Amount::events));
      rows.push_back(sink_row(pipeline.name, sink, &Amount::bytes));
    }
  }
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out = balanced ? "ledger: balanced\n" : "ledger: NOT BALANCED\n";
  for (const Row& row : rows) append_row(out, row, widths);
  for (const Pipeline& pipeline : pipelines) {
    for (const Sink& sink : pipeline.sinks) {
      const std::string where = pipeline.name + "/" + sink.name;
      append_reasons(out, where + " discarded", sink.discarded);
      append_reasons(out, where + " failed", sink.failed);
      append_reasons(out, where + " dead-lettered", sink.dead_lettered);
      if (!sink.balanced) out.append("  ").append(where).append(" does not balance: this is a bug in logpipe\n");
    }
  }
  return out;
}

}  // namespace logpipe
