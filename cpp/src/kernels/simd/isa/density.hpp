#pragma once

// The density of each channel, U = Σ_slots s u + self, first as v in the half plane, then as images of u in the full
// plane.

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
    walk(plan, block, plan.twojmax, block.first_slot[channel], block.first_slot[channel + 1], AddToDensity<Real>{U});
  }
}

/// An element of u and the one it determines, (−1)^{ma−mb} conj(u).
template <class Real>
struct MirroredElement {
  Vector<Real> re, im, mirror_re, mirror_im;

  MLIUQ_INLINE void put(Vector<Real>* level, int element, Real factor) const {
    level[2 * element] = factor * re;
    level[2 * element + 1] = factor * im;
  }
  MLIUQ_INLINE void put_mirrored(Vector<Real>* level, int mirror, Real factor) const {
    level[2 * mirror] = factor * mirror_re;
    level[2 * mirror + 1] = factor * mirror_im;
  }
};

/// v → u, plus the central atom's own 1 on the diagonal, as images of the full plane. The half plane is left multiplied
/// by its share of a sum over the full plane, so that Re Σ conj(U) Z needs no weights. Left out is what no operation
/// reads: the last column of kFall and of what is stored transposed.
template <class Real>
void expand(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    V* half = vectors(block.U_half) + 2 * plan.n_half * channel;
    V* images = vectors(block.images) + 2 * kImages * plan.n_full * channel;
    const bool has_self = !plan.chem || plan.wselfall || channel == block.species;
    const Real self = has_self ? 1 : 0;
    for (int j = 0; j <= plan.twojmax; ++j) {
      const Real* root = plan.root + first_column(j);
      const Real* inverse_root = plan.inverse_root + first_column(j);
      const Real* fall = plan.fall + first_column(j);
      V* level = images + 2 * full_level(j);
      const int n = j + 1, last_element = n * n - 1, image = 2 * plan.n_full;
      for (int mb = 0; 2 * mb <= j; ++mb) {
        const int h = half_level(j) + mb * n;
        V* row = half + 2 * h;
        const int last = 2 * mb == j ? mb : j;
        Real sign = mb % 2 ? -1 : 1;
        for (int ma = 0; ma <= last; ++ma, row += 2, sign = -sign) {
          V re = row[0] * plan.to_u[h + ma];
          const V im = row[1] * plan.to_u[h + ma];
          if (ma == mb) re += self;
          const MirroredElement<Real> u{re, im, sign * re, -sign * im};
          const int element = mb * n + ma, mirror = last_element - element;
          const int turned = ma * n + mb, turned_mirror = last_element - turned;
          u.put(level + kRoot * image, element, root[ma]);
          u.put_mirrored(level + kRoot * image, mirror, root[ma]);
          u.put(level + kInverseRoot * image, element, inverse_root[ma]);
          u.put_mirrored(level + kInverseRoot * image, mirror, inverse_root[ma]);
          if (ma < j) u.put(level + kFall * image, element, fall[ma]);
          if (ma > 0) u.put_mirrored(level + kFall * image, mirror, fall[j - ma]);
          u.put(level + kFallTransposed * image, turned, fall[mb]);
          if (mb > 0) u.put_mirrored(level + kFallTransposed * image, turned_mirror, fall[j - mb]);
          row[0] = re * plan.share[h + ma];
          row[1] = im * plan.share[h + ma];
        }
      }
    }
  }
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
