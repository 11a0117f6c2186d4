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

/// Channels κ, λ, μ of B^{κλμ}; one channel (0, 0, 0) without chemflag.
struct ChannelTriple {
  int c1, c2, c3;
};

// Where angular momenta coincide, B^{κλμ} does not change when the channels that share one are exchanged. LAMMPS reads
// the weight of the derivative with respect to the density of κ (or λ) from such an equal component. With equal weights
// on equal components — what any least-squares fit gives — that is the gradient of the energy; make_kernel sees to it.

/// Whose weight goes with the derivative of B^{κλμ} with respect to the density of κ.
ChannelTriple weight_of_first(const BispectrumTriple& t, const ChannelTriple& c);
/// Whose weight goes with the derivative of B^{κλμ} with respect to the density of λ.
ChannelTriple weight_of_second(const BispectrumTriple& t, const ChannelTriple& c);

/// Clebsch-Gordan coefficient ⟨j1 m1 j2 m2 | j m⟩ with doubled j and m counted from 0 (m = 0 … j stands for
/// −j/2 … j/2). Zero unless the projections add up. Racah's formula; Varshalovich et al. (1988), chapter 8.
double clebsch_gordan(int j1, int m1, int j2, int m2, int j, int m);

}  // namespace mliuq
