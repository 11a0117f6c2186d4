#include "mliuq/snap_params.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "bispectrum_index.hpp"
#include "mliuq/error.hpp"

namespace mliuq {
namespace {

std::string number(double value) {
  if (value == 0.0 || (std::abs(value) >= 1e-4 && std::abs(value) < 1e6)) return std::to_string(value);
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

[[noreturn]] void fail(const std::string& key, const std::string& what) {
  throw ParameterError(key, "SNAP parameters: " + what);
}

void require_per_element(const std::string& key, std::size_t found, std::size_t expected) {
  if (found != expected)
    fail(key, key + " has " + std::to_string(found) + " values, expected one per element (" + std::to_string(expected) +
                  ")");
}

void require_finite_positive(const std::string& key, const std::string& what, double value) {
  if (!(std::isfinite(value) && value > 0.0)) fail(key, what + " is " + number(value) + ", expected a positive number");
}

}  // namespace

int SnapParams::n_components() const {
  const int channels = chemflag ? n_elements() * n_elements() * n_elements() : 1;
  return channels * bispectrum_count(twojmax);
}

int SnapParams::n_weights() const {
  const int k = n_components();
  return 1 + k + (quadraticflag ? k * (k + 1) / 2 : 0);
}

double SnapParams::max_cutoff() const {
  double widest = 0.0;
  for (double radius : radii) widest = std::max(widest, radius);
  return 2.0 * widest * rcutfac;
}

int SnapParams::index_of(const std::string& element) const {
  const auto found = std::find(elements.begin(), elements.end(), element);
  return found == elements.end() ? -1 : static_cast<int>(found - elements.begin());
}

void SnapParams::validate() const {
  if (twojmax < 0 || twojmax > kMaxTwojmax)
    fail("twojmax", "twojmax is " + std::to_string(twojmax) + ", expected 0 to " + std::to_string(kMaxTwojmax));
  require_finite_positive("rcutfac", "rcutfac", rcutfac);
  if (!(std::isfinite(rfac0) && rfac0 > 0.0 && rfac0 <= 1.0))
    fail("rfac0", "rfac0 is " + number(rfac0) + ", expected more than 0 and at most 1 (θ must stay within π)");
  if (!(std::isfinite(rmin0) && rmin0 >= 0.0))
    fail("rmin0", "rmin0 is " + number(rmin0) + ", expected a number of at least 0 Å");
  if (elements.empty()) fail("elements", "no elements given, expected at least one");
  const std::size_t n = elements.size();
  require_per_element("radii", radii.size(), n);
  require_per_element("weights", weights.size(), n);
  for (std::size_t e = 0; e < n; ++e) {
    if (elements[e].empty()) fail("elements", "element " + std::to_string(e + 1) + " has an empty name");
    if (!std::all_of(elements[e].begin(), elements[e].end(), [](char c) { return c > ' ' && c <= '~'; }))
      fail("elements",
           "the name of element " + std::to_string(e + 1) + " holds a character that is not printable ASCII");
    if (std::count(elements.begin(), elements.end(), elements[e]) > 1)
      fail("elements", "element " + elements[e] + " is given twice");
    require_finite_positive("radii", "radius of " + elements[e], radii[e]);
    if (!std::isfinite(weights[e])) fail("weights", "weight of " + elements[e] + " is not a finite number");
    const double cutoff = rcutfac * 2.0 * radii[e];
    if (!(cutoff >= kShortestCutoff && cutoff <= kLongestCutoff))
      fail("rcutfac", "the cutoff of " + elements[e] + " (2 radius rcutfac) is " + number(cutoff) + " Å, expected " +
                          number(kShortestCutoff) + " to " + number(kLongestCutoff) + " Å");
    if (rmin0 >= cutoff)
      fail("rmin0", "rmin0 is " + number(rmin0) + " Å, expected less than the cutoff of " + elements[e] + " (" +
                        number(cutoff) + " Å)");
  }
  if (switchinnerflag) {
    require_per_element("sinner", sinner.size(), n);
    require_per_element("dinner", dinner.size(), n);
    for (std::size_t e = 0; e < n; ++e) {
      if (!(std::isfinite(sinner[e]) && sinner[e] >= 0.0))
        fail("sinner", "sinner of " + elements[e] + " is " + number(sinner[e]) + ", expected a number of at least 0 Å");
      require_finite_positive("dinner", "dinner of " + elements[e], dinner[e]);
    }
  } else if (!sinner.empty() || !dinner.empty()) {
    fail("sinner", "sinner and dinner are given, expected only with switchinnerflag 1");
  }
  // In floating point: a hostile number of elements must not overflow before it is refused.
  const double channels = chemflag ? static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) : 1.0;
  const double k = channels * bispectrum_count(twojmax);
  const double weights_per_element = 1.0 + k + (quadraticflag ? 0.5 * k * (k + 1.0) : 0.0);
  if (weights_per_element * static_cast<double>(n) > 5e7)
    fail("twojmax",
         std::to_string(static_cast<long long>(std::min(weights_per_element, 9e18))) +
             " weights per element, expected a model of at most 50 million weights; lower twojmax or drop chemflag "
             "or quadraticflag");
}

}  // namespace mliuq
