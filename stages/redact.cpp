#include "stages/redact.hpp"

#include <array>
#include <string>
#include <string_view>

#include "event/text_edit.hpp"
#include "stages/field_names.hpp"
#include "stages/hmac_sha256.hpp"

namespace logpipe {
namespace {

constexpr std::size_t kHashBytes = 16;

class RedactStage final : public Stage {
 public:
  RedactStage(const RedactOptions& options, const StageServices& services)
      : kinds_(options.kinds), with_(options.with), hmac_(options.key ? options.key->value : std::string()) {
    for (const Sensitive kind : {Sensitive::email, Sensitive::card, Sensitive::ip, Sensitive::token}) {
      names_.emplace_back(config::name_of(kind));
    }
    for (const auto& pattern : options.patterns) {
      patterns_.push_back(*pattern.value);
      names_.push_back(pattern.name);
    }
    for (const FieldPath& path : options.fields) fields_.emplace_back(path);
    for (std::size_t i = 0; i < names_.size(); ++i) {
      redacted_.push_back(std::make_unique<SharedCounter>(
          services.metrics,
          MetricInfo{.name = "logpipe_redacted_total", .help = "Stretches of text that were made unreadable."},
          Labels{{"component", services.name}, {"kind", names_[i]}}));
    }
  }

  void apply(Batch& batch, const Context&) const override {
    thread_local Work work;  // stays warm from batch to batch
    work.stage = this;
    work.counts.assign(names_.size(), 0);
    for (Event& event : batch.events) {
      if (clean_as_it_came(batch, event, work)) continue;
      bool changed = false;
      if (fields_.empty()) changed = change_texts(batch, event, &RedactStage::change, &work);
      for (const FieldTarget& field : fields_) {
        changed = change_texts(batch, event, field, &RedactStage::change, &work) || changed;
      }
      if (changed) event.redacted = true;
    }
    for (std::size_t i = 0; i < names_.size(); ++i) redacted_[i]->add(work.counts[i]);
  }

 private:
  struct Work {
    const RedactStage* stage{nullptr};
    std::vector<Finding> findings;
    std::vector<std::string_view> groups;
    std::vector<std::uint64_t> counts;
    std::string made;
  };

  /// Most events hold nothing private, and one look at their bytes tells so. Not where what is looked for may be
  /// written in another way there: behind a backslash, or in an edit. Own patterns may ask for a text's beginning.
  bool clean_as_it_came(const Batch& batch, const Event& event, Work& work) const {
    if (event.edits != kNoEdit || event.form == Form::fields || !patterns_.empty()) return false;
    const std::string_view text = batch.text(event);
    if (event.form != Form::text && text.find('\\') != std::string_view::npos) return false;
    work.findings.clear();
    for (const Sensitive kind : kinds_) find_sensitive(text, kind, work.findings);
    return work.findings.empty();
  }

  static std::optional<std::string_view> change(void* context, std::string_view text) {
    auto& work = *static_cast<Work*>(context);
    return work.stage->redacted(text, work);
  }

  std::optional<std::string_view> redacted(std::string_view text, Work& work) const {
    work.findings.clear();
    for (const Sensitive kind : kinds_) find_sensitive(text, kind, work.findings);
    for (std::size_t i = 0; i < patterns_.size(); ++i) find_own(text, i, work);
    if (work.findings.empty()) return std::nullopt;
    settle(work.findings);
    work.made.clear();
    std::size_t copied = 0;
    for (const Finding& finding : work.findings) {
      work.made.append(text.substr(copied, finding.begin - copied));
      replace(text.substr(finding.begin, finding.end - finding.begin), names_[finding.kind], work.made);
      ++work.counts[finding.kind];
      copied = finding.end;
    }
    work.made.append(text.substr(copied));
    return work.made;
  }

  /// The first group of each match, or all of it where the pattern has none.
  void find_own(std::string_view text, std::size_t index, Work& work) const {
    for (std::size_t from = 0; from < text.size();) {
      const std::uint64_t gave_up = patterns_[index].gave_up();
      if (!patterns_[index].capture(text.substr(from), work.groups)) {
        // A matcher that has given up may have missed something: nothing of the rest leaves.
        if (patterns_[index].gave_up() != gave_up) {
          work.findings.push_back({from, text.size(), kSensitiveKinds + index});
        }
        return;
      }
      const std::string_view all = work.groups.front();
      if (all.data() == nullptr) return;
      const std::string_view part = work.groups.size() > 1 && work.groups[1].data() != nullptr ? work.groups[1] : all;
      const auto begin = static_cast<std::size_t>(part.data() - text.data());
      if (!part.empty()) work.findings.push_back({begin, begin + part.size(), kSensitiveKinds + index});
      const auto end = static_cast<std::size_t>(all.data() - text.data()) + all.size();
      from = end > from ? end : from + 1;
    }
  }

  void replace(std::string_view found, std::string_view name, std::string& out) const {
    if (with_ == RedactWith::remove) return;
    out += '[';
    out += name;
    if (with_ == RedactWith::hash) {
      constexpr char kHex[] = "0123456789abcdef";
      const Sha256::Digest digest = hmac_.of(found);
      out += ':';
      for (std::size_t i = 0; i < kHashBytes; ++i) {
        out += kHex[digest[i] >> 4];
        out += kHex[digest[i] & 15];
      }
    }
    out += ']';
  }

  const std::vector<Sensitive> kinds_;
  const RedactWith with_;
  const HmacSha256 hmac_;
  std::vector<Pattern> patterns_;
  std::vector<std::string> names_;  // of the kinds, then of the patterns
  std::vector<FieldTarget> fields_;
  std::vector<std::unique_ptr<const SharedCounter>> redacted_;
};

void verify(const RedactOptions& options, config::Decoder& decoder) {
  if (options.with == RedactWith::hash && (!options.key || options.key->value.empty())) {
    decoder.error_at("with", "a hash needs a `key`", "for example `key: ${cred:redact_key}`",
                     config::Code::missing_option);
  }
  if (options.with != RedactWith::hash && options.key) {
    decoder.error_at("key", "has a meaning with `with: hash` only", {}, config::Code::conflict);
  }
  if (options.kinds.empty() && options.patterns.empty()) {
    decoder.error("nothing to redact", "name some `kinds` or `patterns`", config::Code::missing_option);
  }
  constexpr std::size_t kPatternsMax = 32;
  if (options.patterns.size() > kPatternsMax) decoder.error_at("patterns", "at most 32 patterns");
}

}  // namespace

const config::Schema<RedactOptions>& schema_of(config::Tag<RedactOptions>) {
  static const auto schema =
      config::Schema<RedactOptions>("Redact")
          .optional("kinds", &RedactOptions::kinds,
                    "What is looked for. `redact: [email]` is short for `redact: {kinds: [email]}`.")
          .or_single()
          .optional("patterns", &RedactOptions::patterns,
                    "Regular expressions of your own, by name: their first group, or all that they match. At most 32.")
          .optional("fields", &RedactOptions::fields,
                    "Where: names of fields, or paths such as `.user.contact`, with all that is below them; by default "
                    "everywhere.")
          .or_single()
          .optional("with", &RedactOptions::with, "What takes the place of what is found.")
          .optional("key", &RedactOptions::key, "With `with: hash`: the key.")
          .scalar(&RedactOptions::kinds)
          .verify_with(&verify);
  return schema;
}

std::unique_ptr<Stage> make_redact_stage(const RedactOptions& options, const StageServices& services) {
  return std::make_unique<RedactStage>(options, services);
}

}  // namespace logpipe
