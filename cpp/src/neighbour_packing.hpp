#pragma once

// The one place that decides who is a neighbour: a species of the model, inside the pair's cutoff, not on top of the
// centre. Every kernel packs through it.

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "mliuq/error.hpp"
#include "mliuq/neighbourhood.hpp"
#include "mliuq/snap_params.hpp"

namespace mliuq {

/// Squared distance, Å², below which two atoms are one atom given twice: no descriptor means anything there.
inline constexpr double kClosest = 1e-6;

/// Squared cutoffs of all pairs of elements, [n_elements][n_elements], Å².
inline std::vector<double> squared_cutoffs(const SnapParams& params) {
  const int n = params.n_elements();
  std::vector<double> table(static_cast<std::size_t>(n) * n);
  for (int a = 0; a < n; ++a)
    for (int b = 0; b < n; ++b) table[a * n + b] = params.cutoff(a, b) * params.cutoff(a, b);
  return table;
}

/// Calls visit(j, species_j, d, r²) for each neighbour of a centre, d = r_j − r_i. `cutoffs` is the row of the
/// centre's element in squared_cutoffs(). Throws Error for atoms on top of each other.
template <class Visit>
inline void for_each_neighbour(const Neighbourhood& atoms, int centre, const double* cutoffs, Visit&& visit) {
  const double* ri = atoms.positions + 3 * static_cast<std::size_t>(centre);
  const int* list = atoms.neighbours[centre];
  const int count = atoms.n_neighbours[centre];
  for (int n = 0; n < count; ++n) {
    const int j = list[n] & atoms.index_mask;
    const double* rj = atoms.positions + 3 * static_cast<std::size_t>(j);
    const double d[3] = {rj[0] - ri[0], rj[1] - ri[1], rj[2] - ri[2]};
    const double r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    const int species = atoms.species(j);
    if (species < 0 || !(r2 < cutoffs[species])) continue;
    if (r2 > kClosest)
      visit(j, species, d, r2);
    else if (j != centre)  // a list may hold the centre itself
      throw Error("atoms " + std::to_string(centre + 1) + " and " + std::to_string(j + 1) + " are " +
                  std::to_string(std::sqrt(r2)) + " Å apart, expected more than 0.001 Å");
  }
}

}  // namespace mliuq
