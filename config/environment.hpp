#pragma once

#include <map>
#include <optional>
#include <string>

namespace logpipe::config {

/// Where `${env:NAME}` looks, and `${cred:NAME}` for CREDENTIALS_DIRECTORY. Threads: one at a time.
class Environment {
 public:
  virtual ~Environment() = default;
  /// Nothing when the variable is not set.
  virtual std::optional<std::string> variable(const std::string& name) const = 0;
};

/// The variables of this process.
class ProcessEnvironment final : public Environment {
 public:
  std::optional<std::string> variable(const std::string& name) const override;
};

/// A fixed set of variables; for tests and for embedding.
class FixedEnvironment final : public Environment {
 public:
  FixedEnvironment() = default;
  explicit FixedEnvironment(std::map<std::string, std::string> variables) : variables_(std::move(variables)) {}
  std::optional<std::string> variable(const std::string& name) const override;

 private:
  std::map<std::string, std::string> variables_;
};

}  // namespace logpipe::config
