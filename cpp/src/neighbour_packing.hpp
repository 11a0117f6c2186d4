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
      throw Error("atoms " + atoms.name(centre) + " and " + atoms.name(j) + " are " + std::to_string(std::sqrt(r2)) +
                  " Å apart, expected more than 0.001 Å");
  }
}

/// A neighbour inside the cutoff.
struct FoundNeighbour {
  int atom;
  int species;
};

/// The same neighbours written to `found`, which has room for the centre's whole list; their number. Every entry is
/// written and then kept or not: whether a listed atom lies inside is as good as random, and a mispredicted branch
/// costs more than the store.
inline int collect_neighbours(const Neighbourhood& atoms, int centre, const double* cutoffs, FoundNeighbour* found) {
  const double* ri = atoms.positions + 3 * static_cast<std::size_t>(centre);
  const double x = ri[0], y = ri[1], z = ri[2];
  const int* list = atoms.neighbours[centre];
  const int count = atoms.n_neighbours[centre];
  int n_found = 0;
  bool overlap = false;
  for (int n = 0; n < count; ++n) {
    const int j = list[n] & atoms.index_mask;
    const double* rj = atoms.positions + 3 * static_cast<std::size_t>(j);
    const double dx = rj[0] - x, dy = rj[1] - y, dz = rj[2] - z;
    const double r2 = dx * dx + dy * dy + dz * dz;
    const int species = atoms.species(j);
    const double cutoff = species >= 0 ? cutoffs[species] : 0.0;
    found[n_found] = {j, species};
    n_found += static_cast<int>(r2 < cutoff) & static_cast<int>(r2 > kClosest);
    overlap |= r2 <= kClosest;
  }
  if (overlap)
    for_each_neighbour(atoms, centre, cutoffs, [](int, int, const double*, double) {});  // throws, or it was i
  return n_found;
}

}  // namespace mliuq
