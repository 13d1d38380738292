#include "daemon/cli.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostics.hpp"
#include "config/environment.hpp"
#include "config/load.hpp"
#include "config/suggest.hpp"
#include "config/units.hpp"
#include "daemon/cases.hpp"
#include "daemon/daemon.hpp"
#include "daemon/exit_status.hpp"
#include "daemon/explain.hpp"
#include "daemon/filter_config.hpp"
#include "daemon/reload_client.hpp"
#include "daemon/settings.hpp"
#include "daemon/tap_client.hpp"
#include "daemon/torture.hpp"
#include "daemon/verify.hpp"
#include "daemon/version.hpp"
#include "event/expression.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

struct Arguments {
  std::vector<std::string> config;
  bool once{false};
  std::string ledger;
  std::string log_level;
  std::string log_format;
  std::string color{"auto"};
  bool quiet{false};
  bool verbose{false};
  FilterArguments filter;
  std::string diagnostics_format{"text"};
  TapWords tap;
  AdminAddress admin;
  VerifyOptions verify;
  std::string verify_memory;
  bool json{false};
  TortureOptions torture;
  std::string torture_duration;
  ExplainOptions explain;
  TestOptions test;
};

bool color_wanted(const std::string& choice, int fd) {
  if (choice == "always") return true;
  if (choice == "never") return false;
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::string(term) != "dumb";
}

void configure_log(const Arguments& arguments, const LogSettings& settings) {
  log::Options options;
  options.severity = settings.level;
  options.format = settings.format;
  if (arguments.quiet) options.severity = log::Severity::error;
  if (arguments.verbose) options.severity = log::Severity::debug;
  if (const auto severity = log::parse_severity(arguments.log_level)) options.severity = *severity;
  if (const auto format = log::parse_format(arguments.log_format)) options.format = *format;
  if (arguments.color == "always") options.color = log::Color::always;
  if (arguments.color == "never") options.color = log::Color::never;
  log::configure(options);
}

/// Loads and decodes; reports everything that is wrong to stderr. Nothing when there are errors. `read_with` gets what
/// the settings' marks point into.
std::optional<Settings> load_settings(const Arguments& arguments, std::string* problems = nullptr,
                                      config::Diagnostics* read_with = nullptr) {
  config::Diagnostics diagnostics;
  Settings settings;
  try {
    const config::ProcessEnvironment environment;
    const config::Node root = arguments.config.empty()
                                  ? filter_config(arguments.filter, color_wanted(arguments.color, STDOUT_FILENO))
                                  : config::load(arguments.config, environment, diagnostics);
    settings = decode_settings(root, diagnostics);
  } catch (const config::Error& error) {
    diagnostics = error.diagnostics();
  } catch (const std::exception& error) {
    // Out of memory, say. While running this must not end more than the reload.
    diagnostics.error({}, {}, std::string("cannot be read: ") + error.what(), {}, config::Code::surroundings);
  }
  const std::string text =
      arguments.diagnostics_format == "json"
          ? config::render_json(diagnostics) + "\n"
          : config::render_text(diagnostics,
                                color_wanted(arguments.color, STDERR_FILENO) ? config::Color::on : config::Color::off);
  std::FILE* where = arguments.diagnostics_format == "json" ? stdout : stderr;
  std::fputs(text.c_str(), where);
  if (problems != nullptr) *problems += config::render_text(diagnostics, config::Color::off);
  if (!diagnostics.ok()) return std::nullopt;
  if (read_with != nullptr) *read_with = std::move(diagnostics);
  return settings;
}

int run(const Arguments& arguments, const CLI::App& app) {
  if (arguments.config.empty() && arguments.filter.empty() && isatty(STDIN_FILENO) == 1) {
    std::fprintf(stderr,
                 "logpipe: nothing to do: no --config FILE, and stdin is a terminal.\n\n"
                 "  logpipe --config FILE                                        run a pipeline\n"
                 "  cmd | logpipe --parse auto --level warn --output pretty      filter what cmd writes\n\n"
                 "`%s --help` lists everything.\n",
                 app.get_name().c_str());
    return kExitUsage;
  }
  std::optional<Settings> settings = load_settings(arguments);
  if (!settings) return kExitConfig;
  if (settings->reads_stdin() &&
      std::find(arguments.config.begin(), arguments.config.end(), "-") != arguments.config.end()) {
    std::fputs("logpipe: --config - reads standard input, and so does a source of that pipeline; put it into a file.\n",
               stderr);
    return kExitConfig;
  }
  if (arguments.config.empty())
    settings->log.level = log::Severity::warn;  // a filter is silent unless something is wrong
  configure_log(arguments, settings->log);
  RunRequest request;
  request.once = arguments.once;
  request.ledger_path = arguments.ledger;
  if (!arguments.config.empty()) {
    request.reload = [arguments](std::string& problems) { return load_settings(arguments, &problems); };
    request.configure_log = [arguments](const Settings& now) { configure_log(arguments, now.log); };
  }
  return run_daemon(std::move(*settings), std::move(request));
}

int validate(const Arguments& arguments) {
  const std::optional<Settings> settings = load_settings(arguments);
  if (!settings) return kExitConfig;
  if (arguments.diagnostics_format == "json") return kExitDone;
  std::string files;
  for (const std::string& file : arguments.config) files += (files.empty() ? "" : ", ") + file;
  std::size_t stages = 0;
  for (const auto& pipeline : settings->pipelines) stages += pipeline.stages.size();
  const std::size_t pipelines = settings->pipelines.size();
  std::printf("%s: valid: %zu sources, %zu stages, %zu sinks%s\n%s", files.c_str(), settings->sources.size(), stages,
              settings->sinks.size(),
              pipelines == 1 ? "" : (", in " + std::to_string(pipelines) + " pipelines").c_str(),
              settings->memory_report().c_str());
  return kExitDone;
}

/// Where the daemon is that a command talks to: named, or found in its configuration. Otherwise the exit status.
std::optional<int> find_daemon(Arguments& arguments, const char* command) {
  if (!arguments.admin.socket.empty() || !arguments.admin.listen.empty()) return std::nullopt;
  if (arguments.config.empty()) {
    std::fprintf(stderr, "logpipe: %s: which daemon? Name its --socket, its --listen address or its --config file.\n",
                 command);
    return kExitUsage;
  }
  const std::optional<Settings> settings = load_settings(arguments);
  if (!settings) return kExitConfig;
  if (!settings->admin) {
    std::fprintf(stderr, "logpipe: %s: this configuration has no `admin:`, so nobody can look inside.\n", command);
    return kExitConfig;
  }
  arguments.admin = {settings->admin->socket.string(), settings->admin->listen};
  return std::nullopt;
}

int reload(Arguments arguments) {
  if (const std::optional<int> status = find_daemon(arguments, "reload")) return *status;
  return run_reload(arguments.admin);
}

int tap(Arguments arguments) {
  if (const std::optional<int> status = find_daemon(arguments, "tap")) return *status;
  if (arguments.tap.format.empty()) arguments.tap.format = isatty(STDOUT_FILENO) == 1 ? "pretty" : "raw";
  if (color_wanted(arguments.color, STDOUT_FILENO)) arguments.tap.color = "1";
  // What is wrong with the words is told before anybody is asked.
  if (const auto request = parse_tap(arguments.tap); !request) {
    std::fprintf(stderr, "logpipe: tap: %s\n", request.error().message.c_str());
    return kExitUsage;
  }
  return run_tap(arguments.admin, arguments.tap);
}

int verify_files(Arguments arguments) {
  if (!arguments.verify_memory.empty()) {
    const auto memory = config::parse_bytes(arguments.verify_memory);
    if (!memory || memory->value < 1024 * 1024) {
      std::fprintf(stderr, "logpipe: verify: --memory: expected a size of at least 1MiB, got \"%s\"\n",
                   arguments.verify_memory.c_str());
      return kExitUsage;
    }
    arguments.verify.memory = memory->value;
  }
  const auto report = verify(arguments.verify);
  if (!report) {
    std::fprintf(stderr, "logpipe: verify: %s\n", report.error().message.c_str());
    return report.error().kind == ErrorKind::invalid ? kExitUsage : kExitIo;
  }
  const std::string text =
      arguments.json ? verify_json(*report, arguments.verify) : verify_text(*report, arguments.verify);
  std::fputs(text.c_str(), stdout);
  return report->equal(arguments.verify) ? kExitDone : kExitOther;
}

void add_verify_options(CLI::App& app, Arguments& arguments) {
  app.add_option("--source", arguments.verify.sources, "Files that were read: paths or patterns; may be repeated")
      ->type_name("GLOB")
      ->required();
  app.add_option("--sink", arguments.verify.sinks, "Files that were written; .gz and .zst are read as what they hold")
      ->type_name("GLOB")
      ->required();
  app.add_option("--key", arguments.verify.key,
                 "Where a line's sequence number is: `.seq` for a field of JSON, or a regular expression with a group, "
                 "'seq=(\\d+)'. Without it whole lines are compared")
      ->type_name("FIELD|REGEX");
  app.add_option("--per", arguments.verify.per, "One sequence for each value of this, `.host` for example")
      ->type_name("FIELD|REGEX");
  app.add_flag("--allow-filtered", arguments.verify.allow_filtered, "Lines may be missing: the pipeline filters");
  app.add_flag("--json", arguments.json, "Print one JSON object");
  app.add_option("--memory", arguments.verify_memory, "What may be held in memory (default: 256MiB)")
      ->type_name("SIZE");
}

int torture_pipeline(const Arguments& arguments) {
  // What is wrong with the configuration is told before anything is tortured.
  if (!load_settings(arguments)) return kExitConfig;
  config::Diagnostics diagnostics;
  const config::ProcessEnvironment environment;
  return run_torture(config::load(arguments.config, environment, diagnostics), arguments.torture);
}

int explain(const Arguments& arguments) {
  config::Diagnostics marks;
  const std::optional<Settings> settings = load_settings(arguments, nullptr, &marks);
  if (!settings) return kExitConfig;
  return run_explain(*settings, marks, arguments.explain, stdin);
}

int test(const Arguments& arguments) {
  TestOptions options = arguments.test;
  options.config = arguments.config;
  return run_test(options);
}

void add_config_option(CLI::App& app, Arguments& arguments, bool required) {
  CLI::Option* option =
      app.add_option("-c,--config", arguments.config, "Configuration file; several are merged; `-` is stdin")
          ->envname("LOGPIPE_CONFIG")
          ->type_name("FILE")
          ->allow_extra_args(false);
  if (required) option->required();
}

/// For a flag that is a condition: what is wrong with it, with a mark below the place; empty when it is one.
std::string condition_problem(const std::string& text) {
  EventCondition::Problem problem;
  if (EventCondition::parse(text, &problem)) return {};
  std::string shown = problem.message + "\n  " + text + "\n  " + std::string(problem.offset, ' ') +
                      std::string(std::max<std::size_t>(problem.length, 1), '^');
  if (!problem.hint.empty()) shown += "\n  " + problem.hint;
  return shown;
}

void add_run_options(CLI::App& app, Arguments& arguments) {
  add_config_option(app, arguments, false);
  app.add_flag("--once", arguments.once, "Read what is there, drain, exit");
  app.add_option("--ledger", arguments.ledger, "Write the ledger (JSON) at the end; `-` is stdout")->type_name("FILE");
  app.add_option("--log-level", arguments.log_level, "The program's own log")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}));
  app.add_option("--log-format", arguments.log_format)->check(CLI::IsMember({"auto", "text", "json", "journal"}));
  app.add_option("--color", arguments.color, "Colours: auto, always, never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_flag("-q,--quiet", arguments.quiet, "Log errors only");
  app.add_flag("-v,--verbose", arguments.verbose, "Log more");

  const std::string filter = "Filter (stdin to stdout, without a file)";
  app.add_option("--parse", arguments.filter.parse, "How lines are understood: json, logfmt, syslog, clf, cri, kv, auto")
      ->check(CLI::IsMember({"json", "logfmt", "syslog", "clf", "cri", "kv", "auto"}))
      ->group(filter);
  app.add_option("--level", arguments.filter.level, "Keep events of this level and above")
      ->check([](const std::string& text) {
        return level_from_name(text)
                   ? std::string()
                   : "expected a level (trace debug info notice warn error critical alert fatal), got \"" + text + "\"";
      })
      ->group(filter);
  app.add_option("--where", arguments.filter.where, "Keep events for which this holds, such as `status >= 500`")
      ->type_name("CONDITION")
      ->check(&condition_problem)
      ->group(filter);
  app.add_option("--set", arguments.filter.set, "Add a field; may be repeated")
      ->type_name("NAME=VALUE")
      ->check([](const std::string& text) {
        const auto equals = text.find('=');
        return equals != std::string::npos && equals > 0 ? std::string() : "expected NAME=VALUE, got \"" + text + "\"";
      })
      ->allow_extra_args(false)
      ->group(filter);
  app.add_option("--output", arguments.filter.output, "auto, raw, json, logfmt, pretty, otel, ecs")
      ->check(CLI::IsMember({"auto", "raw", "json", "logfmt", "pretty", "otel", "ecs"}))
      ->group(filter);
}

/// Which daemon a command talks to.
void add_daemon_options(CLI::App& app, Arguments& arguments) {
  add_config_option(app, arguments, false);
  app.add_option("--socket", arguments.admin.socket, "The daemon's admin socket")->type_name("PATH");
  app.add_option("--listen", arguments.admin.listen, "Or its admin address")->type_name("ADDRESS:PORT");
}

void add_tap_options(CLI::App& app, Arguments& arguments) {
  app.add_option("PATTERN", arguments.tap.patterns,
                 "Topics to watch: words between dots, `*` for any one, `#` for the rest (default: `#`). A pipeline's "
                 "events have the topic it publishes them under, otherwise PIPELINE.SOURCE.LEVEL");
  add_daemon_options(app, arguments);
  app.add_option("--where", arguments.tap.where,
                 "Only these: a level and above, or a condition such as `status >= 500`")
      ->type_name("LEVEL|CONDITION");
  app.add_option("--replay", arguments.tap.replay, "Begin with the last N events")->type_name("N");
  app.add_option("--since", arguments.tap.since, "Begin with those that are not older")
      ->type_name("DURATION")
      ->excludes("--replay");
  app.add_option("--format", arguments.tap.format, "pretty, json, raw (default: pretty on a terminal, otherwise raw)")
      ->check(CLI::IsMember({"pretty", "json", "raw"}));
  app.add_option("--color", arguments.color, "Colours: auto, always, never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
}

void add_explain_options(CLI::App& app, Arguments& arguments) {
  add_config_option(app, arguments, true);
  app.add_option("--pipeline", arguments.explain.pipeline, "Only this pipeline (default: those the source feeds)")
      ->type_name("NAME");
  app.add_option("--source", arguments.explain.source, "As if this source had read it (default: the pipeline's first)")
      ->type_name("NAME");
  app.add_flag("--whole", arguments.explain.whole, "All of the input is one event (default: each line is one)");
  app.add_flag("--json", arguments.explain.json, "A JSON object for each event");
}

void add_test_options(CLI::App& app, Arguments& arguments) {
  app.add_option("CASES", arguments.test.files, "Files of cases")->type_name("FILE")->required();
  add_config_option(app, arguments, false);
  app.add_option("--junit", arguments.test.junit, "Write a JUnit report, too")->type_name("FILE");
}

void add_torture_options(CLI::App& app, Arguments& arguments) {
  add_config_option(app, arguments, true);
  TortureOptions& options = arguments.torture;
  app.add_option("--kill9", options.kills, "How many times the process is killed (default: 20)")->type_name("N");
  app.add_flag("--rotate", options.rotate, "Rename the logs now and then");
  app.add_flag("--truncate", options.truncate, "Cut the logs to nothing when they are read, as copytruncate does");
  app.add_flag("--disk-full", options.disk_full, "Let files grow no further for a while");
  app.add_option("--seed", options.seed, "The same seed breaks in the same places")->type_name("N");
  app.add_option("--duration", arguments.torture_duration, "End after that time, such as 10m")
      ->type_name("DURATION")
      ->check([&arguments](const std::string& text) {
        const auto duration = config::parse_duration(text);
        if (!duration) return "expected a duration such as 90s or 10m, got \"" + text + "\"";
        arguments.torture.duration = std::chrono::ceil<std::chrono::seconds>(*duration);
        return std::string();
      });
  app.add_option("--keep", options.keep, "Work in this empty directory and leave it there")->type_name("DIR");
  app.add_flag("--json", options.json, "The result as one line of JSON");
}

/// The closest of our flags and commands to what could not be understood.
std::string suggestion(const std::vector<std::string>& unknown) {
  static const std::vector<std::string_view> known{
      "--config", "--once",     "--ledger", "--log-level", "--log-format", "--color",   "--quiet",          "--verbose",
      "--parse",  "--level",    "--set",    "--output",    "--help",       "--version", "--format",         "run",
      "validate", "tap",        "reload",   "torture",     "--socket",     "--listen",  "--where",          "--replay",
      "--since",  "--kill9",    "--rotate", "--truncate",  "--disk-full",  "--seed",    "--duration",       "--keep",
      "--json",   "verify",     "--source", "--sink",      "--key",        "--per",     "--allow-filtered", "explain",
      "test",     "--pipeline", "--whole",  "--junit"};
  for (const std::string& word : unknown) {
    const auto best = config::suggest(word.substr(0, word.find('=')), known);
    if (!best.empty()) return "did you mean " + std::string(best) + "?";
  }
  return {};
}

}  // namespace

int run_command_line(int argc, char** argv) try {
  Arguments arguments;
  CLI::App app{"A streaming log pipeline: sources, stages, sinks.", "logpipe"};
  app.set_version_flag("-V,--version", std::string("logpipe ") + kVersion);
  app.footer(
      "Exit status: 0 done; 64 command line; 78 configuration; 73 state directory; 74 a source or sink failed;\n"
      "75 drain deadline passed; 70 ledger violated; 1 anything else. Manual: docs/ of the source tree.");
  add_run_options(app, arguments);
  app.require_subcommand(0, 1);
  CLI::App* run_command = app.add_subcommand("run", "Run a pipeline (the default)");
  add_run_options(*run_command, arguments);
  CLI::App* validate_command = app.add_subcommand("validate", "Check a configuration and say what it can take");
  add_config_option(*validate_command, arguments, true);
  validate_command->add_option("--format", arguments.diagnostics_format, "How findings are printed: text, json")
      ->check(CLI::IsMember({"text", "json"}));
  validate_command->add_option("--color", arguments.color)->check(CLI::IsMember({"auto", "always", "never"}));

  CLI::App* reload_command =
      app.add_subcommand("reload", "Let a running daemon read its configuration again, and wait for what comes of it");
  add_daemon_options(*reload_command, arguments);
  CLI::App* tap_command = app.add_subcommand("tap", "Watch events of a running daemon go by");
  add_tap_options(*tap_command, arguments);
  CLI::App* verify_command = app.add_subcommand("verify", "Compare what was read with what was written");
  add_verify_options(*verify_command, arguments);

  CLI::App* explain_command =
      app.add_subcommand("explain", "Show what every stage does to the events on standard input, and why");
  add_explain_options(*explain_command, arguments);
  CLI::App* test_command = app.add_subcommand("test", "Run cases: events that go in, and what has to come out");
  add_test_options(*test_command, arguments);

  CLI::App* torture_command =
      app.add_subcommand("torture", "Break a pipeline of files again and again, and count what arrives");
  add_torture_options(*torture_command, arguments);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
      return app.exit(error);  // --help, --version
    std::fprintf(stderr, "logpipe: %s\n", error.what());
    const std::string hint = suggestion(app.remaining(true));
    if (!hint.empty()) std::fprintf(stderr, "%s\n", hint.c_str());
    std::fputs("`logpipe --help` lists everything.\n", stderr);
    return kExitUsage;
  }
  const bool named_here = std::any_of(
      argv, argv + argc, [](std::string_view word) { return word.starts_with("-c") || word.starts_with("--config"); });
  if (!arguments.filter.empty() && !named_here) arguments.config.clear();  // flags win over LOGPIPE_CONFIG
  if (!arguments.config.empty() && !arguments.filter.empty()) {
    std::fputs(
        "logpipe: --parse, --level, --where, --set and --output make a filter of their own; they do not go with "
        "--config.\n",
        stderr);
    return kExitUsage;
  }
  if (validate_command->parsed()) return validate(arguments);
  if (reload_command->parsed()) return reload(arguments);
  if (tap_command->parsed()) return tap(arguments);
  if (verify_command->parsed()) return verify_files(arguments);
  if (explain_command->parsed()) return explain(arguments);
  if (test_command->parsed()) return test(arguments);
  if (torture_command->parsed()) return torture_pipeline(arguments);
  return run(arguments, app);
} catch (const std::exception& error) {
  std::fprintf(stderr, "logpipe: %s\n", error.what());
  return kExitOther;
}

}  // namespace logpipe
