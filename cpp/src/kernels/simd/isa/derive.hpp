#pragma once

// ∂B/∂r of a few slots: gradients of each product with the density of one neighbour, added up by component.
//
// In v, row mb of level j is made of the coefficients of t in (conj(a) − conj(b) t)^{j−mb} (b + a t)^{mb}, so that
//     ∂v^j_mb/∂conj(a) = (j−mb) v^{j−1}_mb            ∂v^j_mb/∂b = mb v^{j−1}_{mb−1}.
// A product y = Z^j scaled as u is from v makes a real polynomial F = Σ conj(y) v of degree j in the four numbers
// (q0, q) = (cosθ, n sinθ) of a = q0 − i qz, b = qy − i qx. Its gradient G needs only v of the level below, dotted with
//     2 (j−mb) y_{mb,m} ± 2 (mb+1) y_{mb+1,m+1}       and       2 (mb+1) y_{mb+1,m} ± 2 (j−mb) y_{mb,m+1},
// which are formed once per block ("lowered"): four sums over j² numbers where three directions of ∂v take three over
// (j+1)² and have to be formed for every slot first. F itself is (q0 G0 + q·G)/j, by Euler. With radial weight s,
//     ∂(s F)/∂r = s (sinθ/r) G + n (α_j G0 + β_j n·G),
//     α_j = s' cosθ/j − s θ' sinθ,   β_j = s' sinθ/j + s θ' cosθ − s sinθ/r.

#include "kernels/simd/isa/density.hpp"
#include "kernels/simd/isa/slot_frame.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// Slots whose sums fill the vector registers, four to each.
inline constexpr int kTileSlots = MLIUQ_SIMD_BYTES == 64 ? 6 : 3;
static_assert(kDeriveSlots % kTileSlots == 0, "derive_tiles takes whole tiles");

/// At a slot the last part of a gradient makes way for what goes along n.
inline constexpr GradientPart kAlong = kG0;

/// Element (mb, m) of the full plane of level j of a product, as y.
template <class Real>
MLIUQ_INLINE void scaled_element(const Plan<Real>& plan, const Vector<Real>* z, int j, int mb, int m, Vector<Real>& re,
                                 Vector<Real>& im) {
  const bool mirrored = 2 * mb > j || (2 * mb == j && m > mb);
  const int row = mirrored ? j - mb : mb, column = mirrored ? j - m : m;
  const int at = row * (j + 1) + column;
  const Real scale = mirrored && (mb + m) % 2 ? -plan.to_u[half_level(j) + at] : plan.to_u[half_level(j) + at];
  re = scale * z[2 * at];
  im = (mirrored ? -scale : scale) * z[2 * at + 1];
}

/// All products lowered: per element of the half plane of the level below what multiplies Re v, then what multiplies
/// Im v, by GradientPart.
template <class Real>
void lower(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  for (int p = 0; p < plan.n_products; ++p) {
    const int j = plan.products[p].j, below = j - 1;
    const V* z = vectors(block.Z) + 2 * plan.products[p].stored;
    V* out = vectors(block.lowered) + 2 * kGradientParts * static_cast<long>(plan.products[p].lowered);
    for (int mb = 0; 2 * mb <= below; ++mb)
      for (int m = 0; m <= (2 * mb == below ? mb : below); ++m, out += 2 * kGradientParts) {
        const Real share = 2 * plan.share[half_level(below) + mb * j + m];
        const Real stay = share * (j - mb), rise = share * (mb + 1);
        V here[2], across[2], above[2], beside[2];
        scaled_element(plan, z, j, mb, m, here[0], here[1]);
        scaled_element(plan, z, j, mb + 1, m + 1, across[0], across[1]);
        scaled_element(plan, z, j, mb + 1, m, above[0], above[1]);
        scaled_element(plan, z, j, mb, m + 1, beside[0], beside[1]);
        out[kG0] = stay * here[0] + rise * across[0];
        out[kGz] = stay * here[1] - rise * across[1];
        out[kGy] = rise * above[0] - stay * beside[0];
        out[kGx] = -(rise * above[1] + stay * beside[1]);
        out += kGradientParts;
        out[kG0] = stay * here[1] + rise * across[1];
        out[kGz] = rise * across[0] - stay * here[0];
        out[kGy] = rise * above[1] - stay * beside[1];
        out[kGx] = rise * above[0] + stay * beside[0];
        out -= kGradientParts;
      }
  }
}

/// Keeps every row of one slot of a tile: v [element][re, im][kTileSlots].
template <class Real>
struct KeepRows {
  Vector<Real>* kept;

  MLIUQ_INLINE Vector<Real> start(const Vector<Real>*) const { return broadcast(Real(1)); }
  MLIUQ_INLINE void load(int, const Vector<Real>*) {}
  MLIUQ_INLINE void store(int) {}

  template <class Level, int N>
  MLIUQ_INLINE void row(Level level, const Row<Real, N>& v) {
    Vector<Real>* out = kept + 2 * kTileSlots * (half_level(level.j) + level.mb * (level.j + 1));
    const int last = 2 * level.mb == level.j ? level.mb : level.j;
    MLIUQ_UNROLL
    for (int m = 0; m <= last; ++m) {
      out[2 * kTileSlots * m] = v.re[m];
      out[2 * kTileSlots * m + kTileSlots] = v.im[m];
    }
  }
};

/// What of a product of level j goes along n: its value is (q·G)/j.
template <class Real>
MLIUQ_INLINE Vector<Real> along(const SlotFrame<Real>& frame, int j, const Vector<Real>* G) {
  const Real share = Real(1) / j;
  return (frame.turn + share * frame.slope_cos) * G[kG0] + (frame.stretch + share * frame.slope_sin) * frame.radial(G);
}

/// Gradients of every product at the slots of a tile → block.dots [product][slot][part].
template <int Slots, class Real>
[[gnu::noinline]] void dot_products(const Plan<Real>& plan, const Block<Real>& block, const SlotFrame<Real>* frames) {
  using V = Vector<Real>;
  for (int p = 0; p < plan.n_products; ++p) {
    const int j = plan.products[p].j;
    V* dots = vectors(block.dots) + static_cast<long>(p) * kTileSlots * kGradientParts;
    V sum[Slots][kGradientParts] = {};
    if (j == 0) {
      const V z = vectors(block.Z)[2 * plan.products[p].stored];
      MLIUQ_UNROLL
      for (int s = 0; s < Slots; ++s) sum[s][kAlong] = frames[s].slope * z;
    } else {
      const V* factor = vectors(block.lowered) + 2 * kGradientParts * static_cast<long>(plan.products[p].lowered);
      const V* v = vectors(block.v) + 2 * kTileSlots * half_level(j - 1);
      for (int i = 2 * half_used(j - 1); i > 0; --i, factor += kGradientParts, v += kTileSlots) {
        V by[kGradientParts];
        MLIUQ_UNROLL
        for (int g = 0; g < kGradientParts; ++g) by[g] = in_register(factor[g]);
        MLIUQ_UNROLL
        for (int s = 0; s < Slots; ++s) {
          const V row = in_register(v[s]);
          MLIUQ_UNROLL
          for (int g = 0; g < kGradientParts; ++g) sum[s][g] += by[g] * row;
        }
      }
      MLIUQ_UNROLL
      for (int s = 0; s < Slots; ++s) sum[s][kAlong] = along(frames[s], j, sum[s]);
    }
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) {
      MLIUQ_UNROLL
      for (int g = 0; g < kGradientParts; ++g) dots[s * kGradientParts + g] = sum[s][g];
    }
  }
}

/// ∂B [slot][3][component] ← Σ factor · gradient over the terms of every component.
template <int Slots, class Real>
[[gnu::noinline]] void gather_components(const Plan<Real>& plan, const Block<Real>& block,
                                         const SlotFrame<Real>* frames, int channel, Vector<Real>* dB) {
  using V = Vector<Real>;
  const int* first = plan.first_gradient_term + static_cast<long>(channel) * plan.n_components;
  for (int k = 0; k < plan.n_components; ++k) {
    V sum[Slots][kGradientParts] = {};
    for (int t = first[k]; t < first[k + 1]; ++t) {
      const GradientTerm<Real>& term = plan.gradient_terms[t];
      const V* dots = vectors(block.dots) + static_cast<long>(term.product) * kTileSlots * kGradientParts;
      MLIUQ_UNROLL
      for (int s = 0; s < Slots; ++s) {
        MLIUQ_UNROLL
        for (int g = 0; g < kGradientParts; ++g) sum[s][g] += term.factor * dots[s * kGradientParts + g];
      }
    }
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) {
      MLIUQ_UNROLL
      for (int x = 0; x < 3; ++x)
        dB[(3 * s + x) * plan.n_components + k] = frames[s].across * sum[s][x] + frames[s].n[x] * sum[s][kAlong];
    }
  }
}

template <int Slots, class Real>
void derive_tile(const Plan<Real>& plan, const Block<Real>& block, int channel, int first_slot, Vector<Real>* dB) {
  const Vector<Real>* geometry = vectors(block.geometry) + kGeometryFields * first_slot;
  const Vector<Real>* packed = vectors(block.packed) + kPackedFields * first_slot;
  SlotFrame<Real> frames[Slots];
  for (int s = 0; s < Slots; ++s) {
    if (plan.twojmax > 0)
      walk(plan, block, plan.twojmax - 1, first_slot + s, first_slot + s + 1, KeepRows<Real>{vectors(block.v) + s});
    frames[s].set(geometry + kGeometryFields * s, packed[kPackedFields * s + kThetaScale]);
  }
  dot_products<Slots>(plan, block, frames);
  gather_components<Slots>(plan, block, frames, channel, dB);
}

/// ∂B/∂r of slots first_slot … first_slot + n_slots − 1, all of one channel.
template <class Real>
void derive(const Plan<Real>& plan, const Block<Real>& block, int channel, int first_slot, int n_slots) {
  static_assert(kTileSlots <= 6, "one case per number of slots");
  for (int done = 0; done < n_slots; done += kTileSlots) {
    Vector<Real>* dB = vectors(block.dB) + static_cast<long>(3 * done) * plan.n_components;
    const int slot = first_slot + done;
    const int count = n_slots - done < kTileSlots ? n_slots - done : kTileSlots;
    if (count == 1) derive_tile<1>(plan, block, channel, slot, dB);
    if (count == 2) derive_tile<2>(plan, block, channel, slot, dB);
    if (count == 3) derive_tile<3>(plan, block, channel, slot, dB);
    if constexpr (kTileSlots > 3) {
      if (count == 4) derive_tile<4>(plan, block, channel, slot, dB);
      if (count == 5) derive_tile<5>(plan, block, channel, slot, dB);
      if (count == 6) derive_tile<6>(plan, block, channel, slot, dB);
    }
  }
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
