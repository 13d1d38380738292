#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

namespace logpipe {

/// What a regular file holds; nothing, and why, when it cannot be read or has more than `bytes_max`. Never waits for
/// what is no file.
std::optional<std::string> file_text(const std::filesystem::path& path, std::size_t bytes_max, std::string& why);

}  // namespace logpipe
