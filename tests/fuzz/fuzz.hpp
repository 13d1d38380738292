#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// A fuzz target is one file with LLVMFuzzerTestOneInput, as libFuzzer wants it, and, for a beginning, a few inputs of
// its own. With clang it can be linked with -fsanitize=fuzzer in place of fuzz_main.cpp.

/// Must return for every input; what it finds wrong ends the program (std::abort, a sanitizer).
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace logpipe::fuzz {

/// Inputs to begin with, when no corpus is given, and words that are put into others.
std::vector<std::string> seeds();

}  // namespace logpipe::fuzz
