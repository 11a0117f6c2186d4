#pragma once

// What the C++ tests need of a framework, and no more:
//   TEST(suite, name) { CHECK(x); CHECK_NEAR(found, expected, tolerance); CHECK_THROWS(expression, "part of the
//   message"); }
// A failed check prints where and what and the test goes on; NaN passes no CHECK_NEAR.

#include <cmath>
#include <cstdio>
#include <exception>
#include <source_location>
#include <string>
#include <vector>

namespace check {

struct Case {
  const char* suite;
  const char* name;
  void (*run)();
};

std::vector<Case>& cases();
void fail(const std::string& message, std::source_location where);

struct Registration {
  Registration(const char* suite, const char* name, void (*run)()) { cases().push_back({suite, name, run}); }
};

inline void holds(bool value, const char* text, std::source_location where = std::source_location::current()) {
  if (!value) fail(std::string(text) + " does not hold", where);
}

inline void near(double found, double expected, double tolerance, const char* text,
                 std::source_location where = std::source_location::current()) {
  if (std::abs(found - expected) <= tolerance) return;
  char numbers[120];
  std::snprintf(numbers, sizeof numbers, " is %.17g, expected %.17g to within %.1g", found, expected, tolerance);
  fail(text + std::string(numbers), where);
}

template <class Expected, class Function>
void throws(Function&& function, const std::string& part, const char* text,
            std::source_location where = std::source_location::current()) {
  try {
    function();
  } catch (const Expected& error) {
    if (std::string(error.what()).find(part) == std::string::npos)
      fail(std::string(text) + " says '" + error.what() + "', expected '" + part + "'", where);
    return;
  }
  fail(std::string(text) + " throws nothing, expected '" + part + "'", where);
}

}  // namespace check

#define TEST(suite, name)                                                                           \
  static void test_##suite##_##name();                                                              \
  static const check::Registration register_##suite##_##name(#suite, #name, test_##suite##_##name); \
  static void test_##suite##_##name()
#define CHECK(condition) check::holds(static_cast<bool>(condition), #condition)
#define CHECK_NEAR(found, expected, tolerance) check::near(found, expected, tolerance, #found)
#define CHECK_THROWS(expression, part) \
  check::throws<mliuq::Error>([&] { static_cast<void>(expression); }, part, #expression)
