#pragma once

// Index conventions of the whole core, those of LAMMPS (`compute sna/atom`): angular momenta are doubled integers
// 0 ≤ j2 ≤ j1 ≤ j ≤ twojmax with j1 − j2 ≤ j ≤ j1 + j2 in steps of two; j1 outermost, then j2, then j.

#include <vector>

namespace mliuq {

struct BispectrumTriple {
  int j1, j2, j;
};

/// The (j1, j2, j) of every bispectrum component of one channel, in order.
std::vector<BispectrumTriple> bispectrum_triples(int twojmax);

/// Number of components of one channel (2J = 8: 55).
int bispectrum_count(int twojmax);

/// Clebsch-Gordan coefficient ⟨j1 m1 j2 m2 | j m⟩ with doubled j and m counted from 0 (m = 0 … j stands for
/// −j/2 … j/2). Zero unless the projections add up. Racah's formula; Varshalovich et al. (1988), chapter 8.
double clebsch_gordan(int j1, int m1, int j2, int m2, int j, int m);

}  // namespace mliuq
