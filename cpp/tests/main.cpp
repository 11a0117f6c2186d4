// Runs the tests of the suites named on the command line, or all of them.

#include <algorithm>
#include <cstring>

#include "check.hpp"

namespace check {
namespace {

int failures = 0;
constexpr int kMostPrinted = 30;

}  // namespace

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

void fail(const std::string& message, std::source_location where) {
  if (++failures <= kMostPrinted)
    std::printf("%s:%u: %s\n", where.file_name(), static_cast<unsigned>(where.line()), message.c_str());
}

}  // namespace check

int main(int argc, char** argv) {
  int run = 0;
  for (const check::Case& test : check::cases()) {
    const bool wanted = argc == 1 || std::any_of(argv + 1, argv + argc,
                                                 [&](const char* name) { return !std::strcmp(name, test.suite); });
    if (!wanted) continue;
    ++run;
    const int before = check::failures;
    try {
      test.run();
    } catch (const std::exception& error) {
      check::fail(std::string("uncaught: ") + error.what(), std::source_location::current());
    }
    if (check::failures > before) std::printf("FAILED %s.%s\n", test.suite, test.name);
  }
  std::printf("%d tests, %d failed checks\n", run, check::failures);
  return run == 0 || check::failures > 0;
}
