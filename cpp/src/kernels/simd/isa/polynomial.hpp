#pragma once

// Density and forces by moments and polynomials instead of the recursion: kernels/simd/polynomial.hpp has the formulas.

#include "kernels/simd/isa/density.hpp"
#include "kernels/simd/isa/slot_frame.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// Slots side by side and rows of sums: what the registers hold.
inline constexpr int kPolynomialSlots = kRegisters == 32 ? 4 : 3, kPolynomialRows = kRegisters == 32 ? 5 : 3;
static_assert(kPolynomialSlots <= kMaxPolynomialSlots, "the workspace has room");

template <class Real>
struct Reciprocals {
  Real of[kMaxTwojmax + 1];
  constexpr Reciprocals() : of() {
    for (int n = 1; n <= kMaxTwojmax; ++n) of[n] = Real(1) / n;
  }
};
template <class Real>
inline constexpr Reciprocals<Real> kReciprocals;

/// A number known to the compiler.
template <int N>
struct Count {
  static constexpr int value = N;
};

/// Rows of a group of a map, with a number of terms known to the compiler or, Terms = 0, not.
template <int Terms, class Real>
MLIUQ_INLINE void apply_rows(const SparseGroup& group, const std::uint16_t* target, const std::uint16_t* source,
                             const Real* c, const Vector<Real>* from, Vector<Real>* to) {
  const int n = Terms > 0 ? Terms : group.n_terms;
  for (int row = 0; row < group.n_rows; ++row, source += n, c += n) {
    Vector<Real> sum = c[0] * from[source[0]];
    MLIUQ_UNROLL
    for (int t = 1; t < n; ++t) sum += c[t] * from[source[t]];
    to[*target++] = sum;
  }
}

/// to ← map · from, which must not overlap.
template <class Real>
void apply(const SparseMap<Real>& map, const Vector<Real>* from, Vector<Real>* to) {
  const std::uint16_t *target = map.targets, *source = map.sources;
  const Real* c = map.coefficients;
  for (const SparseGroup* group = map.groups; group != map.groups + map.n_groups; ++group) {
    const int n = group->n_terms;
    if (n == 1)
      apply_rows<1>(*group, target, source, c, from, to);
    else if (n == 2)
      apply_rows<2>(*group, target, source, c, from, to);
    else if (n == 3)
      apply_rows<3>(*group, target, source, c, from, to);
    else if (n == 4)
      apply_rows<4>(*group, target, source, c, from, to);
    else if (n == 5)
      apply_rows<5>(*group, target, source, c, from, to);
    else if (n == 6)
      apply_rows<6>(*group, target, source, c, from, to);
    else
      apply_rows<0>(*group, target, source, c, from, to);
    target += group->n_rows;
    source += n * group->n_rows;
    c += n * group->n_rows;
  }
}

/// X^p_i(x, y) of the slots of a tile for all p ≤ degree, starting from X^0. Row p + 1 begins p + 3 places after row p.
template <int Slots, class Real>
MLIUQ_INLINE void powers(int degree, const Vector<Real>* x, const Vector<Real>* y, const Vector<Real>* start,
                         Vector<Real>* table) {
  using V = Vector<Real>;
  V* diagonal = table + kPolynomialSlots;  // X^i_i
  V power[Slots];
  MLIUQ_UNROLL
  for (int s = 0; s < Slots; ++s) diagonal[s] = power[s] = start[s];
  V* to = diagonal;
  for (int p = 1; p <= degree; ++p) {
    to += (p + 2) * kPolynomialSlots;
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) to[s] = power[s] = power[s] * (y[s] * kReciprocals<Real>.of[p]);
  }
  for (int i = 1; i <= degree; ++i) {
    const V* from = diagonal;
    to = diagonal += (i + 3) * kPolynomialSlots;
    V step[Slots];
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) step[s] = x[s] * kReciprocals<Real>.of[i];
    for (int stride = (i + 2) * kPolynomialSlots, last = (degree + 2) * kPolynomialSlots; stride <= last;
         stride += kPolynomialSlots) {  // of row p − 1, p = i … degree
      MLIUQ_UNROLL
      for (int s = 0; s < Slots; ++s) to[s] = from[s] * step[s];
      from += stride;
      to += stride + kPolynomialSlots;
    }
  }
}

/// Calls run(Count<n>, first) for shares of about equal size, at most Most. One share, as there is mostly, needs no
/// division.
template <int Most, class Run>
MLIUQ_INLINE void for_shares(int n, const Run& run) {
  int n_left = n <= Most ? 1 : (n + Most - 1) / Most;
  for (int first = 0; first < n; --n_left) {
    const int count = n_left == 1 ? n - first : (n - first + n_left - 1) / n_left;
    static_assert(Most <= 5, "one case per count");
    if constexpr (Most > 4)
      if (count == 5) run(Count<5>{}, first);
    if constexpr (Most > 3)
      if (count == 4) run(Count<4>{}, first);
    if (count == 3) run(Count<3>{}, first);
    if (count == 2) run(Count<2>{}, first);
    if (count == 1) run(Count<1>{}, first);
    first += count;
  }
}

/// moments [row][column] += Σ_slots a[row] b[column].
template <int Rows, int Slots, class Real>
MLIUQ_INLINE void add_products(const Vector<Real>* a, const Vector<Real>* b, int n_columns, int row_stride,
                               int column_stride, Vector<Real>* moments) {
  using V = Vector<Real>;
  V factor[Rows][Slots];
  MLIUQ_UNROLL
  for (int r = 0; r < Rows; ++r) {
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) factor[r][s] = in_register(a[r * kPolynomialSlots + s]);
  }
  for (int l = 0; l < n_columns; ++l, b += kPolynomialSlots, moments += column_stride) {
    V sum[Rows];
    MLIUQ_UNROLL
    for (int r = 0; r < Rows; ++r) sum[r] = moments[r * row_stride];
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) {
      const V by = in_register(b[s]);
      MLIUQ_UNROLL
      for (int r = 0; r < Rows; ++r) sum[r] += factor[r][s] * by;
    }
    MLIUQ_UNROLL
    for (int r = 0; r < Rows; ++r) moments[r * row_stride] = sum[r];
  }
}

template <int Slots, class Real>
[[gnu::noinline]] void add_moments(const Plan<Real>& plan, const Block<Real>& block, int first_slot) {
  using V = Vector<Real>;
  const int top = plan.twojmax;
  V* A = vectors(block.powers);
  V* B = A + padded_column(top + 1) * kPolynomialSlots;
  V ar[Slots], ai[Slots], br[Slots], bi[Slots], weight[Slots], one[Slots];
  for (int s = 0; s < Slots; ++s) {
    const V* g = vectors(block.geometry) + kGeometryFields * (first_slot + s);
    ar[s] = g[kAr], ai[s] = g[kAi], br[s] = g[kBr], bi[s] = g[kBi], weight[s] = g[kS];
    one[s] = broadcast(Real(1));
  }
  powers<Slots, Real>(top, ar, ai, weight, A);
  powers<Slots, Real>(top, br, bi, one, B);
  V* moments = vectors(block.moments);
  for (int n = top; n >= 0 && n >= top - 1; --n)
    for (int p = 0; p <= n; ++p) {
      const V* a = A + (padded_column(p) + 1) * kPolynomialSlots;
      const V* b = B + (padded_column(n - p) + 1) * kPolynomialSlots;
      // The shorter side in rows, whose powers stay in registers.
      const bool a_in_rows = 2 * p <= n;
      const int size_a = p + 1, size_b = n - p + 1;
      for_shares<kPolynomialRows>(a_in_rows ? size_a : size_b, [&](auto rows, int first) {
        if (a_in_rows)
          add_products<rows.value, Slots, Real>(a + first * kPolynomialSlots, b, size_b, size_b, 1,
                                                moments + first * size_b);
        else
          add_products<rows.value, Slots, Real>(b + first * kPolynomialSlots, a, size_a, 1, size_b, moments + first);
      });
      moments += size_a * size_b;
    }
}

template <class Real>
void density_by_moments(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  const int count = n_moments(plan.twojmax) + n_moments(plan.twojmax - 1);
  V* moments = vectors(block.moments);
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    set_zero<Real>(moments, count);
    const int first = block.first_slot[channel];
    for_shares<kPolynomialSlots>(block.first_slot[channel + 1] - first,
                                 [&](auto slots, int slot) { add_moments<slots.value>(plan, block, first + slot); });
    V* U = vectors(block.U_half) + 2 * plan.n_half * channel;
    apply(plan.to_density[0], moments, moments + count);
    apply(plan.to_density[1], moments + count, moments);
    apply(plan.to_density[2], moments, U);
  }
}

/// Y → coefficients of the polynomials F.
template <class Real>
void polynomial_of_Y(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  const int count = n_moments(plan.twojmax) + n_moments(plan.twojmax - 1);
  V* scratch = vectors(block.moments);
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    V* F = vectors(block.ladder) + count * channel;
    apply(plan.from_Y[0], vectors(block.Y) + 2 * plan.n_half * channel, F);
    apply(plan.from_Y[1], F, scratch);
    apply(plan.from_Y[2], scratch, F);
  }
}

/// Gradient in the two variables of one table: rows of coefficients contracted with the powers of the other table
/// first.
template <int Rows, int Slots, class Real>
MLIUQ_INLINE void add_gradient(const Vector<Real>* c, int row_stride, int column_stride, int n_columns,
                               const Vector<Real>* by, const Vector<Real>* below, Vector<Real>* by_first,
                               Vector<Real>* by_second) {
  using V = Vector<Real>;
  V sum[Rows][Slots];
  MLIUQ_UNROLL
  for (int s = 0; s < Slots; ++s) {
    const V b = in_register(by[s]);
    MLIUQ_UNROLL
    for (int r = 0; r < Rows; ++r) sum[r][s] = c[r * row_stride] * b;
  }
  for (int l = 1; l < n_columns; ++l) {
    c += column_stride;
    by += kPolynomialSlots;
    V factor[Rows];
    MLIUQ_UNROLL
    for (int r = 0; r < Rows; ++r) factor[r] = in_register(c[r * row_stride]);
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) {
      const V b = in_register(by[s]);
      MLIUQ_UNROLL
      for (int r = 0; r < Rows; ++r) sum[r][s] += factor[r] * b;
    }
  }
  MLIUQ_UNROLL
  for (int s = 0; s < Slots; ++s) {
    V first = by_first[s], second = by_second[s];
    MLIUQ_UNROLL
    for (int r = 0; r < Rows; ++r) {
      first += sum[r][s] * below[r * kPolynomialSlots + s];
      second += sum[r][s] * below[(r + 1) * kPolynomialSlots + s];
    }
    by_first[s] = first;
    by_second[s] = second;
  }
}

template <int Slots, class Real>
MLIUQ_INLINE void add_gradient_rows(const Vector<Real>* c, int n_rows, int row_stride, int column_stride, int n_columns,
                                    const Vector<Real>* by, const Vector<Real>* below, Vector<Real>* by_first,
                                    Vector<Real>* by_second) {
  for_shares<kPolynomialRows>(n_rows, [&](auto rows, int first) {
    add_gradient<rows.value, Slots, Real>(c + first * row_stride, row_stride, column_stride, n_columns, by,
                                          below + first * kPolynomialSlots, by_first, by_second);
  });
}

template <int Slots, class Real>
[[gnu::noinline]] void force_of_tile(const Plan<Real>& plan, const Block<Real>& block, const Vector<Real>* c,
                                     int first_slot) {
  using V = Vector<Real>;
  const int top = plan.twojmax;
  V* A = vectors(block.powers);
  V* B = A + padded_column(top + 1) * kPolynomialSlots;
  V q[4][Slots], one[Slots], G[4][Slots], F[Slots];
  for (int s = 0; s < Slots; ++s) {
    const V* g = vectors(block.geometry) + kGeometryFields * (first_slot + s);
    q[0][s] = g[kAr], q[1][s] = g[kAi], q[2][s] = g[kBr], q[3][s] = g[kBi];
    one[s] = broadcast(Real(1));
    F[s] = G[0][s] = G[1][s] = G[2][s] = G[3][s] = V{};
  }
  powers<Slots, Real>(top, q[0], q[1], one, A);
  powers<Slots, Real>(top, q[2], q[3], one, B);
  for (int n = top; n >= 0 && n >= top - 1; --n) {
    for (int p = 0; p <= n; ++p) {
      const int n_columns = n - p + 1;
      const V* a = A + (padded_column(p) + 1) * kPolynomialSlots;
      const V* b = B + (padded_column(n - p) + 1) * kPolynomialSlots;
      if (p > 0)
        add_gradient_rows<Slots, Real>(c, p + 1, n_columns, 1, n_columns, b,
                                       A + padded_column(p - 1) * kPolynomialSlots, G[0], G[1]);
      if (p < n)
        add_gradient_rows<Slots, Real>(c, n_columns, 1, n_columns, p + 1, a,
                                       B + padded_column(n - p - 1) * kPolynomialSlots, G[2], G[3]);
      c += (p + 1) * n_columns;
    }
    // Euler: n F = q·G, of both degrees so far where the first one's share is taken off again.
    for (int s = 0; s < Slots; ++s) {
      const V dot = q[0][s] * G[0][s] + q[1][s] * G[1][s] + q[2][s] * G[2][s] + q[3][s] * G[3][s];
      if (n == 0)
        F[s] += c[-1];
      else if (n == top)
        F[s] = dot * kReciprocals<Real>.of[n];
      else
        F[s] = (dot - Real(top) * F[s]) * kReciprocals<Real>.of[n] + F[s];
    }
  }
  for (int s = 0; s < Slots; ++s) {
    const V* g = vectors(block.geometry) + kGeometryFields * (first_slot + s);
    V* f = vectors(block.forces) + 3 * (first_slot + s);
    SlotFrame<Real> frame;
    frame.set(g, vectors(block.packed)[kPackedFields * (first_slot + s) + kThetaScale]);
    const V gradient[kGradientParts] = {-G[3][s], G[2][s], -G[1][s], G[0][s]};
    const V along = frame.turn * gradient[kG0] + frame.stretch * frame.radial(gradient) + frame.slope * F[s];
    for (int x = 0; x < 3; ++x) f[x] = frame.across * gradient[x] + along * frame.n[x];
  }
}

template <class Real>
void force_by_polynomial(const Plan<Real>& plan, const Block<Real>& block) {
  const int count = n_moments(plan.twojmax) + n_moments(plan.twojmax - 1);
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    const Vector<Real>* F = vectors(block.ladder) + count * channel;
    const int first = block.first_slot[channel];
    for_shares<kPolynomialSlots>(block.first_slot[channel + 1] - first, [&](auto slots, int slot) {
      force_of_tile<slots.value>(plan, block, F, first + slot);
    });
  }
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
