#pragma once

// The list of coupling operations: which sums make every element of every product Z, over which images of the density,
// with which coefficients.
//
// A product (κ j1, λ j2) → j with j1 ≥ j2 (and κ ≤ λ where j1 = j2) is Z^j of the densities of channels κ and λ. For
// each pair the levels j run downwards from min(twojmax, j1 + j2) to j1 − j2, in steps of two, and S = j1 + j2. Element
// (mb, ma) of level j collects rows k, mb' − k and columns a, s − a with mb' = mb + (S − j)/2, s = ma + (S − j)/2: all
// levels j ≥ |2s − S| share those products.
//
// Coefficients that are not needed. Of all levels that share a column s the lowest, j = max(|2s − S|, j1 − j2), has
// Clebsch-Gordan coefficients that factorise (Varshalovich, Moskalev & Khersonskii 1988, section 8.5):
//     C^j(a, s − a) = ± N g1(a) g2(s − a),   with alternating signs and
//         j = S − 2s:    g1 = g2 = √((j − m)!/m!)              of the column m (and mirrored for j = 2s − S)
//         j = j1 − j2:   g1 = 1/√binom(j1, m), g2 = √binom(j2, m).
// The factors are multiplied into images of the density, and the lowest level is a sum of products as they are. The
// levels above are polynomials of degree 1, 2 … in a, times that. A sum of products with weights of degree 1 is a
// running sum of running sums, and so on: two levels are made so, and coefficients multiply from the fourth level on.
//
// Rows have the same coefficients as columns. The sum over the axis with fewer levels is the inner one, so that its
// lowest level is the lowest of the operation; where that is the axis of rows, a transposed image is walked.

#include <cstdint>
#include <vector>

#include "kernels/simd/layout.hpp"
#include "mliuq/snap_params.hpp"

namespace mliuq::simd {

/// One element (row, column) of the products Z^j = u_{j1} × u_{j2} of a few neighbouring levels j at once: a double sum
/// over rows and columns of u_{j1}, whose products all levels share (coupling.hpp). Offsets count complex elements.
/// Small, because every block of atoms reads the whole list: 11,000 operations at 2J = 14.
struct CouplingOp {
  std::uint32_t u1, u2;              ///< first factors in the images; u1 walks up, u2 down
  std::uint32_t outer_cg, inner_cg;  ///< coefficients [row][level]; header and coefficients [column][level]
  std::uint32_t product;             ///< of the first level; that of level t is t further on
  std::uint8_t stride1, stride2;     ///< from row to row
  std::uint8_t outer_cg_stride;
  std::uint8_t n_rows, n_columns;           ///< of the double sum, both at least 1
  std::uint8_t n_descriptors;               ///< the last so many levels have j ≤ j2: their Z makes a B
  std::uint8_t negate_re, negate_im;        ///< 0 or 1
  std::uint16_t target[kMaxCoupledLevels];  ///< of the element in the half plane, by level, descending j
};
static_assert(2 * kMaxTwojmax <= 255 && half_level(kMaxTwojmax + 1) <= 65535, "an operation is small");

/// Neighbouring operations of one shape, run by one instance of the loops.
struct CouplingGroup {
  int n_levels;   ///< that an operation serves, at most kMaxCoupledLevels
  int n_columns;  ///< 0: different ones
  int n_free;     ///< lowest levels, that are not multiplied
  int first, last;
};

template <class Real>
struct Coupling {
  std::vector<CouplingOp> ops;  ///< neighbours of one shape together
  std::vector<CouplingGroup> groups;
  std::vector<Real> coefficients;  ///< of both sums
};

/// Levels that densities j1 ≥ j2 couple to, descending.
std::vector<int> coupled_levels(int twojmax, int j1, int j2);

/// Place of the pair (κ j1, λ j2) in a table [n_channels][twojmax + 1][n_channels][twojmax + 1].
static constexpr int pair_index(int twojmax, int n_channels, int e1, int j1, int e2, int j2) {
  return ((e1 * (twojmax + 1) + j1) * n_channels + e2) * (twojmax + 1) + j2;
}

/// `first_product`: where the products of each pair begin, by pair_index.
template <class Real>
Coupling<Real> tabulate_coupling(int twojmax, int n_channels, const std::vector<int>& first_product);

/// Factors of column m of level j in the images of the density.
double image_root(int j, int m);  ///< √binom(j, m)
double image_fall(int j, int m);  ///< √((j − m)!/m!)

extern template Coupling<double> tabulate_coupling(int, int, const std::vector<int>&);
extern template Coupling<float> tabulate_coupling(int, int, const std::vector<int>&);

}  // namespace mliuq::simd
