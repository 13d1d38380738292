#include "channel/assert.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace logpipe::detail {
namespace {

void print(const char* text) noexcept {
  // The program is about to abort: there is nothing to do about a failed write.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
}

void print_number(int number) noexcept {
  char digits[16];
  char* first = digits + sizeof digits;
  *--first = '\0';
  do {
    *--first = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  print(first);
}

}  // namespace

void assertion_failed(const char* condition, const char* file, int line) noexcept {
  print(file);
  print(":");
  print_number(line);
  print(": broken invariant: ");
  print(condition);
  print("\n");
  std::abort();
}

}  // namespace logpipe::detail
