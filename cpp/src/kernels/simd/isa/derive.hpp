#pragma once

// ∂B/∂r of a few slots: the gradients of three products with the density of one neighbour, added up in registers.
//
// In v, row mb of level j is made of the coefficients of t in (conj(a) − conj(b) t)^{j−mb} (b + a t)^{mb}, so that
//     ∂v^j_mb/∂conj(a) = (j−mb) v^{j−1}_mb            ∂v^j_mb/∂b = mb v^{j−1}_{mb−1}.
// A product y = Z^j scaled as u is from v makes a real polynomial F = Σ conj(y) v of degree j in the four numbers
// q = (cosθ, n sinθ) of a = q0 − i qz, b = qy − i qx. Its gradient G needs only v of the level below, dotted with
//     2 (j−mb) y_{mb,m} ± 2 (mb+1) y_{mb+1,m+1}       and       2 (mb+1) y_{mb+1,m} ± 2 (j−mb) y_{mb,m+1},
// which are formed once per block ("lowered"): four sums over j² numbers where three directions of ∂v take three over
// (j+1)² and have to be formed for every slot first. F itself is q·G/j, by Euler.
//
// A component has up to three products, of levels j1 ≤ j2 ≤ j3, whose gradients are summed as they come. With D_i = q·G
// after the i-th of them, all values together are
//     Σ F_i = Σ (D_i − D_{i−1})/j_i = Σ D_i (1/j_i − 1/j_{i+1}),       1/j_4 = 0,
// and with radial weight s
//     ∂(s F)/∂r = s (sinθ/r) G + n [s' F − s θ' sinθ G0 + (s θ' cosθ − s sinθ/r) n·G].

#include "kernels/simd/isa/density.hpp"
#include "kernels/simd/isa/slot_frame.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// Slots whose sums fill the vector registers, four to each.
inline constexpr int kTileSlots = kRegisters == 32 ? 6 : 3;
static_assert(kDeriveSlots % kTileSlots == 0, "derive takes whole tiles");

/// A product times a factor, lowered: per element of the half plane of the level below what multiplies Re v, then what
/// multiplies Im v, by GradientPart. Returns the end of what it wrote.
template <class Real>
MLIUQ_INLINE Vector<Real>* lower(const Plan<Real>& plan, const Block<Real>& block, const Vector<Real>* z, int j,
                                 Real factor, Vector<Real>* out) {
  using V = Vector<Real>;
  const int n = half_used(j - 1);
  const LoweredElement* element = plan.lowered_elements + first_lowered(j);
  const Real* const unscaled = plan.lowered_coefficients + 8 * first_lowered(j);
  Real* c = block.coefficients;
  for (int i = 0; i < 8 * n; ++i) c[i] = factor * unscaled[i];
  for (int i = 0; i < n; ++i, ++element, c += 8, out += 2 * kGradientParts) {
    V re[4], im[4];  // here, across, above, beside; the last two im negative
    MLIUQ_UNROLL
    for (int e = 0; e < 4; ++e) {
      re[e] = c[2 * e] * z[2 * element->from[e]];
      im[e] = c[2 * e + 1] * z[2 * element->from[e] + 1];
    }
    out[kG0] = re[0] + re[1];
    out[kGz] = im[0] - im[1];
    out[kGy] = re[2] - re[3];
    out[kGx] = im[2] + im[3];
    V* const imaginary = out + kGradientParts;
    imaginary[kG0] = im[0] + im[1];
    imaginary[kGz] = re[1] - re[0];
    imaginary[kGy] = im[3] - im[2];
    imaginary[kGx] = re[2] + re[3];
  }
  return out;
}

/// All products of a component and channel → block.lowered, one after the other; the sum of those of level 0, which are
/// numbers.
template <class Real>
[[gnu::noinline]] Vector<Real> lower_component(const Plan<Real>& plan, const Block<Real>& block, int first, int last) {
  using V = Vector<Real>;
  V value{}, *out = vectors(block.lowered);
  for (int t = first; t < last; ++t) {
    const GradientTerm<Real>& term = plan.gradient_terms[t];
    const Product& product = plan.products[term.product];
    const V* z = vectors(block.Z) + 2 * product.stored;
    if (product.j == 0)
      value += term.factor * z[0];
    else
      out = lower(plan, block, z, product.j, term.factor, out);
  }
  return value;
}

/// Calls for the products of a component, which the nearest caches do not hold, while another is derived.
template <class Real>
MLIUQ_INLINE void prefetch_component(const Plan<Real>& plan, const Block<Real>& block, int first, int last) {
  for (int t = first; t < last; ++t) {
    const Product& product = plan.products[plan.gradient_terms[t].product];
    const Vector<Real>* z = vectors(block.Z) + 2 * product.stored;
    for (int i = 0; i < 2 * half_size(product.j); ++i) __builtin_prefetch(z + i);
  }
}

/// Vectors of all rows of a tile's slots below the highest level.
static inline int tile_rows(int twojmax) { return 2 * kTileSlots * half_level(twojmax); }

/// Slots in tiles of about equal size: the fewer slots a tile has, the more there is to load for each sum.
struct Tiles {
  int n, first[kDeriveSlots + 1];
  long place[kDeriveSlots];  ///< of each slot in v [tile][element][re, im][slot of the tile]

  MLIUQ_INLINE Tiles(int n_slots, int tile_rows) : n((n_slots + kTileSlots - 1) / kTileSlots), first{} {
    for (int tile = 0, slot = 0; tile < n; ++tile) {
      const int end = slot + (n_slots - slot + n - tile - 1) / (n - tile);
      for (int s = slot; s < end; ++s) place[s] = static_cast<long>(tile) * tile_rows + s - slot;
      first[tile + 1] = slot = end;
    }
  }
};

/// Keeps every row of each slot.
template <class Real>
struct KeepRows {
  Vector<Real>* v;
  const long* place;
  int first_slot;
  Vector<Real>* kept = nullptr;

  MLIUQ_INLINE Vector<Real> start(const Vector<Real>*) const { return broadcast(Real(1)); }
  MLIUQ_INLINE void load(int slot, const Vector<Real>*) { kept = v + place[slot - first_slot]; }
  MLIUQ_INLINE void store(int) {}

  template <class Level, int N>
  MLIUQ_INLINE void row(Level level, const Row<Real, N>& row) {
    Vector<Real>* out = kept + 2 * kTileSlots * (half_level(level.j) + level.mb * (level.j + 1));
    const int last = 2 * level.mb == level.j ? level.mb : level.j;
    MLIUQ_UNROLL
    for (int m = 0; m <= last; ++m) {
      out[2 * kTileSlots * m] = row.re[m];
      out[2 * kTileSlots * m + kTileSlots] = row.im[m];
    }
  }
};

/// ∂B of one component at the slots of a tile → dB [slot][3][n_components], added to sums [3][n_components]. `value`:
/// of the products of level 0.
template <int Slots, class Real>
[[gnu::noinline]] void derive_component(const Plan<Real>& plan, const Block<Real>& block, int first, int last,
                                        Vector<Real> value, const SlotFrame<Real>* frames, const Vector<Real>* v,
                                        Vector<Real>* dB, Vector<Real>* sums) {
  using V = Vector<Real>;
  V G[Slots][kGradientParts] = {}, F[Slots];
  MLIUQ_UNROLL
  for (int s = 0; s < Slots; ++s) F[s] = value;
  const V* factor = vectors(block.lowered);
  for (int t = first; t < last; ++t) {
    const GradientTerm<Real>& term = plan.gradient_terms[t];
    const int j = plan.products[term.product].j;
    if (j == 0) continue;
    const V* below = v + 2 * kTileSlots * half_level(j - 1);
    for (int i = 2 * half_used(j - 1); i > 0; --i, factor += kGradientParts, below += kTileSlots) {
      V by[kGradientParts];
      MLIUQ_UNROLL
      for (int g = 0; g < kGradientParts; ++g) by[g] = in_register(factor[g]);
      MLIUQ_UNROLL
      for (int s = 0; s < Slots; ++s) {
        const V row = in_register(below[s]);
        MLIUQ_UNROLL
        for (int g = 0; g < kGradientParts; ++g) G[s][g] += by[g] * row;
      }
    }
    if (term.value_share == Real(0)) continue;
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) F[s] += term.value_share * frames[s].along_q(G[s]);
  }
  const long K = plan.n_components;
  V total[3] = {};
  MLIUQ_UNROLL
  for (int s = 0; s < Slots; ++s) {
    const V along = frames[s].turn * G[s][kG0] + frames[s].stretch * frames[s].radial(G[s]) + frames[s].slope * F[s];
    MLIUQ_UNROLL
    for (int x = 0; x < 3; ++x) {
      const V d = frames[s].across * G[s][x] + frames[s].n[x] * along;
      dB[(3 * s + x) * K] = d;
      total[x] += d;
    }
  }
  for (int x = 0; x < 3; ++x) sums[x * K] += total[x];
}

/// Adds Σ r ⊗ ∂B/∂r over slots by Voigt component; r [slot][kPackedFields], dB [slot][3][component].
template <class Real>
[[gnu::noinline]] void add_strain(int n_components, int n_slots, const Vector<Real>* packed, const Vector<Real>* dB,
                                  Vector<Real>* strain) {
  using V = Vector<Real>;
  constexpr int first[6] = {0, 1, 2, 1, 0, 0}, second[6] = {0, 1, 2, 2, 2, 1};
  const long K = n_components;
  for (int k = 0; k < n_components; ++k) {
    V sum[6] = {};
    for (int s = 0; s < n_slots; ++s) {
      const V *r = packed + kPackedFields * s + kDx, *d = dB + 3 * s * K + k;
      MLIUQ_UNROLL
      for (int c = 0; c < 6; ++c) sum[c] += r[first[c]] * d[second[c] * K];
    }
    MLIUQ_UNROLL
    for (int c = 0; c < 6; ++c) strain[c * K + k] += sum[c];
  }
}

/// ∂B/∂r of slots first_slot … first_slot + n_slots − 1, all of one channel, and their sums.
template <class Real>
void derive(const Plan<Real>& plan, const Block<Real>& block, int channel, int first_slot, int n_slots, bool strain) {
  static_assert(kTileSlots <= 6, "one case per number of slots");
  using V = Vector<Real>;
  const V* geometry = vectors(block.geometry) + kGeometryFields * first_slot;
  const V* packed = vectors(block.packed) + kPackedFields * first_slot;
  SlotFrame<Real> frames[kDeriveSlots];
  for (int s = 0; s < n_slots; ++s)
    frames[s].set(geometry + kGeometryFields * s, packed[kPackedFields * s + kThetaScale]);
  const Tiles tiles(n_slots, tile_rows(plan.twojmax));
  if (plan.twojmax > 0)
    walk(plan, block, plan.twojmax - 1, first_slot, first_slot + n_slots,
         KeepRows<Real>{vectors(block.v), tiles.place, first_slot});
  const int* terms = plan.first_gradient_term + static_cast<long>(channel) * plan.n_components;
  for (int k = 0; k < plan.n_components; ++k) {
    const int first = terms[k], last = terms[k + 1];
    const V value = lower_component(plan, block, first, last);
    if (k + 1 < plan.n_components) prefetch_component(plan, block, last, terms[k + 2]);
    for (int tile = 0; tile < tiles.n; ++tile) {
      const int slot = tiles.first[tile], count = tiles.first[tile + 1] - slot;
      const SlotFrame<Real>* frame = frames + slot;
      const V* v = vectors(block.v) + tiles.place[slot];
      V *dB = vectors(block.dB) + static_cast<long>(3 * slot) * plan.n_components + k, *sums = vectors(block.total) + k;
      if (count == 1) derive_component<1>(plan, block, first, last, value, frame, v, dB, sums);
      if (count == 2) derive_component<2>(plan, block, first, last, value, frame, v, dB, sums);
      if (count == 3) derive_component<3>(plan, block, first, last, value, frame, v, dB, sums);
      if constexpr (kTileSlots > 3) {
        if (count == 4) derive_component<4>(plan, block, first, last, value, frame, v, dB, sums);
        if (count == 5) derive_component<5>(plan, block, first, last, value, frame, v, dB, sums);
        if (count == 6) derive_component<6>(plan, block, first, last, value, frame, v, dB, sums);
      }
    }
  }
  if (strain) add_strain<Real>(plan.n_components, n_slots, packed, vectors(block.dB), vectors(block.strain));
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
