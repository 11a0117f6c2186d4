#include "bispectrum_index.hpp"

#include <algorithm>
#include <cmath>

namespace mliuq {
namespace {

double factorial(int n) { return std::tgamma(n + 1.0); }

template <class Visit>
void for_each_triple(int twojmax, Visit&& visit) {
  for (int j1 = 0; j1 <= twojmax; ++j1)
    for (int j2 = 0; j2 <= j1; ++j2)
      for (int j = j1 - j2; j <= std::min(twojmax, j1 + j2); j += 2)
        if (j >= j1) visit(BispectrumTriple{j1, j2, j});
}

}  // namespace

std::vector<BispectrumTriple> bispectrum_triples(int twojmax) {
  std::vector<BispectrumTriple> triples;
  for_each_triple(twojmax, [&](const BispectrumTriple& triple) { triples.push_back(triple); });
  return triples;
}

int bispectrum_count(int twojmax) {
  int n = 0;
  for_each_triple(twojmax, [&](const BispectrumTriple&) { ++n; });
  return n;
}

ChannelTriple weight_of_first(const BispectrumTriple& t, const ChannelTriple& c) {
  return t.j1 == t.j ? ChannelTriple{c.c3, c.c2, c.c1} : c;
}

ChannelTriple weight_of_second(const BispectrumTriple& t, const ChannelTriple& c) {
  if (t.j1 != t.j2) return c;
  return t.j2 == t.j ? ChannelTriple{c.c3, c.c1, c.c2} : ChannelTriple{c.c2, c.c1, c.c3};
}

double clebsch_gordan(int j1, int m1, int j2, int m2, int j, int m) {
  const int aa = 2 * m1 - j1, bb = 2 * m2 - j2, cc = 2 * m - j;
  if (aa + bb != cc || j < std::abs(j1 - j2) || j > j1 + j2) return 0.0;
  const int first = std::max({0, (j2 - j - aa) / 2, (j1 - j + bb) / 2});
  const int last = std::min({(j1 + j2 - j) / 2, (j1 - aa) / 2, (j2 + bb) / 2});
  double sum = 0.0;
  for (int k = first; k <= last; ++k) {
    const double term =
        1.0 / (factorial(k) * factorial((j1 + j2 - j) / 2 - k) * factorial((j1 - aa) / 2 - k) *
               factorial((j2 + bb) / 2 - k) * factorial((j - j2 + aa) / 2 + k) * factorial((j - j1 - bb) / 2 + k));
    sum += k % 2 ? -term : term;
  }
  const double triangle = factorial((j1 + j2 - j) / 2) * factorial((j1 - j2 + j) / 2) * factorial((-j1 + j2 + j) / 2) /
                          factorial((j1 + j2 + j) / 2 + 1);
  const double projections = factorial((j1 + aa) / 2) * factorial((j1 - aa) / 2) * factorial((j2 + bb) / 2) *
                             factorial((j2 - bb) / 2) * factorial((j + cc) / 2) * factorial((j - cc) / 2);
  return sum * std::sqrt((j + 1.0) * triangle * projections);
}

}  // namespace mliuq
