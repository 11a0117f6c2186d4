#pragma once

// ∂B/∂r of a few slots: ∂v/∂r from the ladders of force.hpp, applied to v this time, then dotted with every Z. A dot of
// product p with direction x of slot n serves each component that p has a term in.

#include "kernels/simd/isa/density.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// Z scaled as u is from v and by its share of the half plane: what ∂v is dotted with.
template <class Real>
void weigh_products(const Plan<Real>& plan, const Block<Real>& block) {
  for (int p = 0; p < plan.n_products; ++p) {
    Vector<Real>* z = vectors(block.Z) + 2 * plan.products[p].stored;
    const int first = half_level(plan.products[p].j);
    for (int i = 0; i < half_used(plan.products[p].j); ++i) {
      const Real scale = plan.to_v[first + i];
      z[2 * i] *= scale;
      z[2 * i + 1] *= scale;
    }
  }
}

/// Keeps every row of v.
template <class Real>
struct KeepRows {
  Vector<Real>* kept;

  MLIUQ_INLINE Vector<Real> start(const Vector<Real>*) const { return broadcast(Real(1)); }
  MLIUQ_INLINE void load(int, const Vector<Real>*) {}
  MLIUQ_INLINE void store(int) {}

  template <class Level, int N>
  MLIUQ_INLINE void row(Level level, const Row<Real, N>& v) {
    Vector<Real>* out = kept + 2 * (half_level(level.j) + level.mb * (level.j + 1));
    MLIUQ_UNROLL
    for (int m = 0; m <= level.j; ++m) {
      out[2 * m] = v.re[m];
      out[2 * m + 1] = v.im[m];
    }
  }
};

/// dU ← 2 ∂(s v)/∂r of one slot. The gradient of force.hpp is M τ + 2 s' S n, linear in conj(y), with the 3×3 matrix
/// M = s [(θ' − sinθ cosθ/r) n nᵀ + (sinθ cosθ/r) 1 − (sin²θ/r) n×].
template <class Real>
void derive_rows(const Plan<Real>& plan, const Vector<Real>* g, Vector<Real> theta_rate, const Vector<Real>* v,
                 Vector<Real>* dU) {
  using V = Vector<Real>;
  V M[3][3], along[3];
  const V s = g[kS] + g[kS], stretch = s * (theta_rate - g[kSinCosOverR]), tilt = s * g[kSinCosOverR];
  const V turn = s * g[kSinSinOverR];
  MLIUQ_UNROLL
  for (int x = 0; x < 3; ++x) {
    const int y = (x + 1) % 3, z = (x + 2) % 3;
    const V radial = stretch * g[kNx + x];
    M[x][x] = radial * g[kNx + x] + tilt;
    M[x][y] = radial * g[kNx + y] + turn * g[kNx + z];
    M[x][z] = radial * g[kNx + z] - turn * g[kNx + y];
    along[x] = (g[kDs] + g[kDs]) * g[kNx + x];
  }
  for (int j = 0; j <= plan.twojmax; ++j)
    for (int mb = 0; 2 * mb <= j; ++mb) {
      const int row = half_level(j) + mb * (j + 1);
      const int last = 2 * mb == j ? mb : j;
      for (int m = 0; m <= last; ++m) {
        const V* at = v + 2 * (row + m);
        V* out = dU + 2 * (row + m);
        const Real up = j - m + 1, down = m + 1, spin = 2 * m - j;
        const V up_re = m > 0 ? up * at[-2] : V{}, up_im = m > 0 ? up * at[-1] : V{};
        const V down_re = m < j ? down * at[2] : V{}, down_im = m < j ? down * at[3] : V{};
        const V plus_re = up_re + down_re, plus_im = up_im + down_im;
        const V minus_re = up_re - down_re, minus_im = up_im - down_im;
        const V spin_re = spin * at[0], spin_im = spin * at[1];
        MLIUQ_UNROLL
        for (int x = 0; x < 3; ++x) {
          out[2 * x * plan.n_half] = along[x] * at[0] + M[x][0] * plus_im - M[x][1] * minus_re + M[x][2] * spin_im;
          out[2 * x * plan.n_half + 1] = along[x] * at[1] - M[x][0] * plus_re - M[x][1] * minus_im - M[x][2] * spin_re;
        }
      }
    }
}

/// Products dotted at a time: as many sums as the vector registers hold.
inline constexpr int kDotRows = MLIUQ_SIMD_BYTES == 64 ? 4 : 2;

/// Real dots of `Rows` products with the three directions of `Slots` slots, over one level.
template <int Rows, int Slots, class Real>
MLIUQ_INLINE void dot_level(const Plan<Real>& plan, const Block<Real>& block, int j, const int* products) {
  using V = Vector<Real>;
  const V* z[Rows];
  V sum[Rows][3 * Slots];
  MLIUQ_UNROLL
  for (int r = 0; r < Rows; ++r) {
    MLIUQ_UNROLL
    for (int x = 0; x < 3 * Slots; ++x) sum[r][x] = V{};
  }
  MLIUQ_UNROLL
  for (int r = 0; r < Rows; ++r) z[r] = vectors(block.Z) + 2 * plan.products[products[r]].stored;
  const V* dU = vectors(block.dU) + 2 * half_level(j);
  for (int i = 0; i < 2 * half_used(j); ++i) {
    V factor[Rows];
    MLIUQ_UNROLL
    for (int r = 0; r < Rows; ++r) factor[r] = in_register(z[r][i]);
    MLIUQ_UNROLL
    for (int x = 0; x < 3 * Slots; ++x) {
      const V d = in_register(dU[2 * x * plan.n_half + i]);
      MLIUQ_UNROLL
      for (int r = 0; r < Rows; ++r) sum[r][x] += factor[r] * d;
    }
  }
  V* dots = vectors(block.dots);
  MLIUQ_UNROLL
  for (int r = 0; r < Rows; ++r) {
    MLIUQ_UNROLL
    for (int x = 0; x < 3 * Slots; ++x) dots[x * plan.n_products + products[r]] = sum[r][x];
  }
}

template <int Slots, class Real>
[[gnu::noinline]] void dot_products(const Plan<Real>& plan, const Block<Real>& block) {
  for (int j = 0; j <= plan.twojmax; ++j) {
    const int* product = plan.level_products + plan.first_of_level[j];
    const int* last = plan.level_products + plan.first_of_level[j + 1];
    for (; product + kDotRows <= last; product += kDotRows) dot_level<kDotRows, Slots>(plan, block, j, product);
    for (; product < last; ++product) dot_level<1, Slots>(plan, block, j, product);
  }
}

/// ∂B ← Σ factor · dot over the terms of every component. All directions go together: alone, each would wait for its
/// own last store.
template <int Slots, class Real>
[[gnu::noinline]] void gather_components(const Plan<Real>& plan, const Block<Real>& block, int channel) {
  Vector<Real>* dB = vectors(block.dB);
  set_zero<Real>(dB, 3 * Slots * plan.n_components);
  for (int p = 0; p < plan.n_products; ++p) {
    const Vector<Real>* dots = vectors(block.dots) + p;
    const int* first = plan.first_term + p * plan.n_channels + channel;
    for (int t = first[0]; t < first[1]; ++t) {
      const Real factor = plan.terms[t].factor;
      Vector<Real>* sum = dB + plan.terms[t].component;
      MLIUQ_UNROLL
      for (int x = 0; x < 3 * Slots; ++x) sum[x * plan.n_components] += factor * dots[x * plan.n_products];
    }
  }
}

/// ∂B/∂r of slots first_slot … first_slot + n_slots − 1, all of one channel.
template <class Real>
void derive(const Plan<Real>& plan, const Block<Real>& block, int channel, int first_slot, int n_slots) {
  static_assert(kDeriveSlots == 2, "one case per number of slots");
  for (int slot = first_slot; slot < first_slot + n_slots; ++slot) {
    walk(plan, block, slot, slot + 1, KeepRows<Real>{vectors(block.v)});
    derive_rows<Real>(plan, vectors(block.geometry) + kGeometryFields * slot,
                      vectors(block.packed)[kPackedFields * slot + kThetaScale], vectors(block.v),
                      vectors(block.dU) + static_cast<long>(slot - first_slot) * 6 * plan.n_half);
  }
  if (n_slots == 1)
    dot_products<1>(plan, block);
  else
    dot_products<2>(plan, block);
  if (n_slots == 1)
    gather_components<1>(plan, block, channel);
  else
    gather_components<2>(plan, block, channel);
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
