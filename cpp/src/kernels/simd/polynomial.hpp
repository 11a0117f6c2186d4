#pragma once

// The density as moments, and forces as gradients of polynomials.
//
// In v (isa/recursion.hpp) an element of level j is a homogeneous polynomial of degree j in the four numbers of
// a = x + iy, b = z + iw. On the unit sphere a level may be multiplied by (|a|² + |b|²)^k: all levels of one parity
// become polynomials of one degree n, 2J or 2J − 1, and there are as many of these, (n + 1)(n + 2)(n + 3)/6, as
// independent real numbers in those levels. So instead of every level of every neighbour the moments
//     M_{p,i,l} = Σ_slots s X^p_i(x, y) X^{n−p}_l(z, w),      X^p_i(x, y) = x^i y^{p−i} / (i! (p−i)!)
// are summed, one multiply-add each, and taken to v once for a block of atoms. Y goes the other way, through the
// transposed map, and becomes the coefficients of a polynomial F(x, y, z, w) = Σ conj(y) v for each parity, whose
// gradient at a neighbour gives the force; with divided powers ∂X^p_i/∂x = X^{p−1}_{i−1} and ∂X^p_i/∂y = X^{p−1}_i.
//
// The map has three sparse factors: from monomials of (z, w), and of (x, y), to b^t conj(b)^u and a^r conj(a)^s (their
// real or imaginary parts), and from products of these to v, whose coefficients are integers:
//     v^j_{mb,m} = [t^m] (conj(a) − conj(b) t)^{j−mb} (b + a t)^mb.

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/simd/layout.hpp"

namespace mliuq::simd {

/// Rows of a sparse map with equally many terms.
struct SparseGroup {
  int n_terms, n_rows;
};

/// to[target] = Σ coefficient · from[source].
template <class Real>
struct SparseMap {
  const SparseGroup* groups;
  int n_groups;
  const std::uint16_t* targets;
  const std::uint16_t* sources;
  const Real* coefficients;
};

/// Moments of degree n, and where those of power p of (x, y) begin among them.
static constexpr int n_moments(int n) { return n < 0 ? 0 : (n + 1) * (n + 2) * (n + 3) / 6; }
static constexpr int first_moment(int n, int p) { return (n + 1) * p * (p + 1) / 2 - (p - 1) * p * (p + 1) / 3; }

/// Where X^p begins in a table of powers: each row has a zero before and behind.
static constexpr int padded_column(int p) { return p * (p + 5) / 2; }

/// Steps from moments to v, and from Y to coefficients.
inline constexpr int kMapSteps = 3;

using SparseRow = std::vector<std::pair<int, double>>;  ///< source, coefficient

template <class Real>
class SparseMapStorage {
 public:
  explicit SparseMapStorage(const std::vector<SparseRow>& rows);  ///< by target; those without terms are left out
  SparseMap<Real> view() const;

 private:
  std::vector<SparseGroup> groups_;
  std::vector<std::uint16_t> targets_, sources_;
  std::vector<Real> coefficients_;
};

/// moments → v as the steps of a chain, and Y → coefficients of F, whose last factor holds 2 · `to_v` of the half
/// plane.
template <class Real>
struct PolynomialMaps {
  PolynomialMaps(int twojmax, const std::vector<Real>& to_v);
  std::vector<SparseMapStorage<Real>> to_density, from_Y;
};

extern template struct PolynomialMaps<double>;
extern template struct PolynomialMaps<float>;

}  // namespace mliuq::simd
