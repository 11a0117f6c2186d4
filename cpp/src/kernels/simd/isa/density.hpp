#pragma once

// The density of each channel, U = Σ_slots s u + self, first as v in the half plane, then as u in the full plane.

#include "kernels/simd/isa/recursion.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// Adds every row to the half plane. The radial weight rides along in v^0.
template <class Real>
struct AddToDensity {
  Vector<Real>* U;

  MLIUQ_INLINE Vector<Real> start(const Vector<Real>* geometry) const { return geometry[kS]; }
  MLIUQ_INLINE void load(int, const Vector<Real>*) {}
  MLIUQ_INLINE void store(int) {}

  template <class Level, int N>
  MLIUQ_INLINE void row(Level level, const Row<Real, N>& v) {
    Vector<Real>* sum = U + 2 * (half_level(level.j) + level.mb * (level.j + 1));
    const int last = 2 * level.mb == level.j ? level.mb : level.j;
    MLIUQ_UNROLL
    for (int m = 0; m <= last; ++m) {
      sum[2 * m] += v.re[m];
      sum[2 * m + 1] += v.im[m];
    }
  }
};

template <class Real>
MLIUQ_INLINE void set_zero(Vector<Real>* first, int count) {
  for (int i = 0; i < count; ++i) first[i] = Vector<Real>{};
}

template <class Real>
void density(const Plan<Real>& plan, const Block<Real>& block) {
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    Vector<Real>* U = vectors(block.U_half) + 2 * plan.n_half * channel;
    set_zero<Real>(U, 2 * plan.n_half);
    walk(plan, block, block.first_slot[channel], block.first_slot[channel + 1], AddToDensity<Real>{U});
  }
}

/// v → u, plus the central atom's own 1 on the diagonal. The half plane is left multiplied by its share of a sum over
/// the full plane, so that Re Σ conj(U) Z needs no weights.
template <class Real>
void expand(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    V* half = vectors(block.U_half) + 2 * plan.n_half * channel;
    V* full = vectors(block.U_full) + 2 * plan.n_full * channel;
    const bool has_self = !plan.chem || plan.wselfall || channel == block.species;
    const Real self = has_self ? 1 : 0;
    for (int j = 0; j <= plan.twojmax; ++j)
      for (int mb = 0; 2 * mb <= j; ++mb) {
        const int h = half_level(j) + mb * (j + 1);
        V* row = half + 2 * h;
        V* to = full + 2 * (full_level(j) + mb * (j + 1));
        V* mirror = full + 2 * (full_level(j) + (j - mb) * (j + 1) + j);
        const int last = 2 * mb == j ? mb : j;
        Real sign = mb % 2 ? -1 : 1;
        for (int ma = 0; ma <= last; ++ma, row += 2, to += 2, mirror -= 2, sign = -sign) {
          V re = row[0] * plan.to_u[h + ma];
          const V im = row[1] * plan.to_u[h + ma];
          if (ma == mb) re += self;
          mirror[0] = sign * re;
          mirror[1] = -sign * im;
          to[0] = re;
          to[1] = im;
          row[0] = re * plan.share[h + ma];
          row[1] = im * plan.share[h + ma];
        }
      }
  }
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
