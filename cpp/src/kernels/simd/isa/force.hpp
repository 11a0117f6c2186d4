#pragma once

// Forces by ladder operators. Moving a neighbour turns its SU(2) element, and the generators act on the rows of v as
// ladders. With y = Y scaled as u is from v, and halved where the half plane counts twice, per slot
//     S = Re Σ conj(y_m) v_m                 Z = Im Σ (2m − j) conj(y_m) v_m
//     G = Re(T₊ − T₋), H = Im(T₊ + T₋),      T₊ = Σ (j−m+1) conj(y_m) v_{m−1},  T₋ = Σ (m+1) conj(y_m) v_{m+1}
// and, with τ = 2(H, −G, Z),
//     ∂e/∂r = s [n (τ·n) θ' + (sinθ cosθ/r)(τ − n(τ·n)) + (sin²θ/r)(τ × n)] + 2 s' S n.
// Here the ladders act on y once per block instead of on v for every slot: T± are sums of conj(P±_m) v_m with
// P₊_m = (j−m) y_{m+1}, P₋_m = m y_{m−1}.

#include "kernels/simd/isa/density.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

enum LadderField { kY, kYz, kYminus, kYplus, kLadderFields };

/// y, (2m − j) y, P₊ − P₋ and P₊ + P₋ of every element.
template <class Real>
void ladder(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    const V* Y = vectors(block.Y) + 2 * plan.n_half * channel;
    const Real* scale = plan.to_v;
    V* out = vectors(block.ladder) + 2 * kLadderFields * plan.n_half * channel;
    for (int j = 0; j <= plan.twojmax; ++j)
      for (int mb = 0; 2 * mb <= j; ++mb) {
        V below[2] = {}, here[2] = {Y[0] * scale[0], Y[1] * scale[0]};
        for (int m = 0; m <= j; ++m, Y += 2, ++scale, out += 2 * kLadderFields) {
          MLIUQ_UNROLL
          for (int part = 0; part < 2; ++part) {
            const V above = m < j ? Y[2 + part] * scale[1] : V{};
            const V up = Real(j - m) * above, down = Real(m) * below[part];
            out[2 * kY + part] = here[part];
            out[2 * kYz + part] = Real(2 * m - j) * here[part];
            out[2 * kYminus + part] = up - down;
            out[2 * kYplus + part] = up + down;
            below[part] = here[part];
            here[part] = above;
          }
        }
      }
  }
}

template <class Real>
struct DotWithLadder {
  const Vector<Real>* fields;
  Vector<Real>* sums;
  Vector<Real> S, Z, G, H;

  MLIUQ_INLINE Vector<Real> start(const Vector<Real>*) const { return broadcast(Real(1)); }

  MLIUQ_INLINE void load(int slot, const Vector<Real>*) {
    const Vector<Real>* from = sums + 4 * slot;
    S = from[0], Z = from[1], G = from[2], H = from[3];
  }
  MLIUQ_INLINE void store(int slot) {
    Vector<Real>* to = sums + 4 * slot;
    to[0] = S, to[1] = Z, to[2] = G, to[3] = H;
  }

  template <class Level, int N>
  MLIUQ_INLINE void row(Level level, const Row<Real, N>& v) {
    const Vector<Real>* y = fields + 2 * kLadderFields * (half_level(level.j) + level.mb * (level.j + 1));
    // y vanishes beyond the middle of the middle row, the raised y one element later.
    const int last = 2 * level.mb == level.j && level.j > 0 ? level.mb + 1 : level.j;
    MLIUQ_UNROLL
    for (int m = 0; m <= last; ++m, y += 2 * kLadderFields) {
      if (m <= level.mb || 2 * level.mb < level.j) {
        S += y[2 * kY] * v.re[m];
        S += y[2 * kY + 1] * v.im[m];
        if (2 * m != level.j) {
          Z += y[2 * kYz] * v.im[m];
          Z -= y[2 * kYz + 1] * v.re[m];
        }
      }
      if (level.j > 0) {
        G += y[2 * kYminus] * v.re[m];
        G += y[2 * kYminus + 1] * v.im[m];
        H += y[2 * kYplus] * v.im[m];
        H -= y[2 * kYplus + 1] * v.re[m];
      }
    }
  }
};

template <class Real>
void force(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  set_zero<Real>(vectors(block.sums), 4 * block.n_slots);
  for (int channel = 0; channel < plan.n_channels; ++channel) {
    const V* fields = vectors(block.ladder) + 2 * kLadderFields * plan.n_half * channel;
    walk(plan, block, plan.twojmax, block.first_slot[channel], block.first_slot[channel + 1],
         DotWithLadder<Real>{fields, vectors(block.sums), {}, {}, {}, {}});
  }
  for (int slot = 0; slot < block.n_slots; ++slot) {
    const V* g = vectors(block.geometry) + kGeometryFields * slot;
    const V* sums = vectors(block.sums) + 4 * slot;
    V* f = vectors(block.forces) + 3 * slot;
    const V S = sums[0], tx = Real(2) * sums[3], ty = Real(-2) * sums[2], tz = Real(2) * sums[1];
    const V nx = g[kNx], ny = g[kNy], nz = g[kNz];
    const V theta_rate = vectors(block.packed)[kPackedFields * slot + kThetaScale];
    const V along = tx * nx + ty * ny + tz * nz;
    const V radial = g[kS] * along * (theta_rate - g[kSinCosOverR]) + Real(2) * g[kDs] * S;
    const V tilt = g[kS] * g[kSinCosOverR], turn = g[kS] * g[kSinSinOverR];
    f[0] = radial * nx + tilt * tx + turn * (ty * nz - tz * ny);
    f[1] = radial * ny + tilt * ty + turn * (tz * nx - tx * nz);
    f[2] = radial * nz + tilt * tz + turn * (tx * ny - ty * nx);
  }
}

/// Padding adds nothing: its weight and with it its force is zero.
template <class Real>
void virial(const Plan<Real>&, const Block<Real>& block) {
  using V = Vector<Real>;
  V sum[6] = {};
  for (int slot = 0; slot < block.n_slots; ++slot) {
    const V* d = vectors(block.packed) + kPackedFields * slot;
    const V* f = vectors(block.forces) + 3 * slot;
    sum[0] -= d[0] * f[0];
    sum[1] -= d[1] * f[1];
    sum[2] -= d[2] * f[2];
    sum[3] -= d[1] * f[2];
    sum[4] -= d[0] * f[2];
    sum[5] -= d[0] * f[1];
  }
  for (int v = 0; v < 6; ++v) vectors(block.virial)[v] = sum[v];
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
