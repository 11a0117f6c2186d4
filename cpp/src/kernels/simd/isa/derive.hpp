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

/// Vectors of lowered products that one pass over the slots takes at most, unless a single one is larger: the nearest
/// cache keeps them beside the rows of a tile, while sums go through memory from pass to pass.
inline constexpr int kLoweredVectors = 16 * 1024 / MLIUQ_SIMD_BYTES;

/// A product times its factor, lowered: per element of the half plane of the level below what multiplies Re v, then
/// what multiplies Im v, by GradientPart. Returns the end of what it wrote.
template <class Real>
[[gnu::noinline]] Vector<Real>* lower(const Plan<Real>& plan, const Block<Real>& block, const GradientTerm<Real>& term,
                                      Vector<Real>* out) {
  using V = Vector<Real>;
  const Product& product = plan.products[term.product];
  const V* z = vectors(block.Z) + 2 * product.stored;
  const int n = half_used(product.j - 1);
  const LoweredElement* element = plan.lowered_elements + first_lowered(product.j);
  const Real* const unscaled = plan.lowered_coefficients + 8 * first_lowered(product.j);
  Real* c = block.coefficients;
  for (int i = 0; i < 8 * n; ++i) c[i] = term.factor * unscaled[i];
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

/// What is kept of a slot between the passes of a component: the gradients of its products so far, and its value.
template <class Real>
struct SlotSums {
  Vector<Real> G[kGradientParts], F;
};

/// Products of a component that go through the slots together. They are sorted by level: those of level 0, which are
/// numbers, come with the first pass.
template <class Real>
struct Pass {
  int first, last;     ///< terms
  Vector<Real> value;  ///< of the products of level 0
  bool begins, ends;   ///< the component
};

/// Lowers the products of the pass that begins with term `first`.
template <class Real>
MLIUQ_INLINE Pass<Real> lower_pass(const Plan<Real>& plan, const Block<Real>& block, int first, int begin, int end) {
  Pass<Real> pass{.first = first, .last = first, .value = {}, .begins = first == begin, .ends = false};
  Vector<Real>* const lowered = vectors(block.lowered);
  Vector<Real>* out = lowered;
  for (; pass.last < end; ++pass.last) {
    const GradientTerm<Real>& term = plan.gradient_terms[pass.last];
    const Product& product = plan.products[term.product];
    if (product.j == 0) {
      pass.value += term.factor * vectors(block.Z)[2 * product.stored];
      continue;
    }
    const long size = 2 * kGradientParts * half_used(product.j - 1);
    if (out != lowered && out - lowered + size > kLoweredVectors) break;
    out = lower(plan, block, term, out);
  }
  pass.ends = pass.last == end;
  return pass;
}

/// Where the derivatives of a component at the slots of a tile go.
template <class Real>
struct DerivativeTarget {
  long stride;
  Vector<Real>* dB;     ///< [slot][3][stride]
  Vector<Real>* total;  ///< [3][stride], sums over slots are added
};

/// Turns gradients and values of a component at the slots of a tile into its derivatives.
template <int Slots, class Real>
MLIUQ_INLINE void put_derivatives(const SlotFrame<Real>* frames, const Vector<Real> (&gradients)[Slots][kGradientParts],
                                  const SlotSums<Real>* kept, const DerivativeTarget<Real>& target) {
  using V = Vector<Real>;
  V total[3] = {};
  MLIUQ_UNROLL
  for (int s = 0; s < Slots; ++s) {
    const SlotFrame<Real>& frame = frames[s];
    const V* G = gradients[s];
    const V along = frame.turn * G[kG0] + frame.stretch * frame.radial(G) + frame.slope * kept[s].F;
    MLIUQ_UNROLL
    for (int x = 0; x < 3; ++x) {
      const V d = frame.across * G[x] + frame.n[x] * along;
      target.dB[(3 * s + x) * target.stride] = d;
      total[x] += d;
    }
  }
  for (int x = 0; x < 3; ++x) target.total[x * target.stride] += total[x];
}

/// Adds the gradients of the lowered products of a pass at the slots of a tile to their sums, and their shares to the
/// values. Derivatives follow where the component ends: their stores drain while the next tile is summed.
template <int Slots, class Real>
[[gnu::noinline]] void add_gradients(const Plan<Real>& plan, const Block<Real>& block, const Pass<Real>& pass,
                                     const Vector<Real>* v, const SlotFrame<Real>* frames, SlotSums<Real>* kept,
                                     const DerivativeTarget<Real>& target) {
  using V = Vector<Real>;
  V G[Slots][kGradientParts];
  if (pass.begins) {
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) {
      MLIUQ_UNROLL
      for (int g = 0; g < kGradientParts; ++g) G[s][g] = V{};
      kept[s].F = pass.value;
    }
  } else {
    MLIUQ_UNROLL
    for (int s = 0; s < Slots; ++s) {
      MLIUQ_UNROLL
      for (int g = 0; g < kGradientParts; ++g) G[s][g] = kept[s].G[g];
    }
  }
  const V* factor = vectors(block.lowered);
  for (int t = pass.first; t < pass.last; ++t) {
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
    for (int s = 0; s < Slots; ++s) kept[s].F += term.value_share * frames[s].along_q(G[s]);
  }
  if (pass.ends) return put_derivatives<Slots, Real>(frames, G, kept, target);
  MLIUQ_UNROLL
  for (int s = 0; s < Slots; ++s) {
    MLIUQ_UNROLL
    for (int g = 0; g < kGradientParts; ++g) kept[s].G[g] = G[s][g];
  }
}

/// Adds Σ r ⊗ ∂B/∂r over slots by Voigt component; r [slot][kPackedFields], dB [slot][3][stride].
template <class Real>
[[gnu::noinline]] void add_strain(int n_components, int n_slots, const Vector<Real>* packed, const Vector<Real>* dB,
                                  long stride, Vector<Real>* strain) {
  using V = Vector<Real>;
  constexpr int first[6] = {0, 1, 2, 1, 0, 0}, second[6] = {0, 1, 2, 2, 2, 1};
  const long K = n_components;
  for (int k = 0; k < n_components; ++k) {
    V sum[6] = {};
    for (int s = 0; s < n_slots; ++s) {
      const V *r = packed + kPackedFields * s + kDx, *d = dB + 3 * s * stride + k;
      MLIUQ_UNROLL
      for (int c = 0; c < 6; ++c) sum[c] += r[first[c]] * d[second[c] * stride];
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
  const long K = plan.n_components, stride = padded_row(K);
  V* const dB = vectors(block.dB) + 1;  // behind the constant's
  SlotSums<Real> kept[kDeriveSlots];
  for (int k = 0; k < K; ++k) {
    int first = terms[k];
    do {  // once for a component without products of this channel: its derivatives are zero
      const Pass<Real> pass = lower_pass(plan, block, first, terms[k], terms[k + 1]);
      for (int tile = 0; tile < tiles.n; ++tile) {
        const int slot = tiles.first[tile], count = tiles.first[tile + 1] - slot;
        const DerivativeTarget<Real> target{
            .stride = stride, .dB = dB + 3 * slot * stride + k, .total = vectors(block.total) + 1 + k};
        const auto run = [&](auto add) {
          add(plan, block, pass, vectors(block.v) + tiles.place[slot], frames + slot, kept + slot, target);
        };
        if (count == 1) run(add_gradients<1, Real>);
        if (count == 2) run(add_gradients<2, Real>);
        if (count == 3) run(add_gradients<3, Real>);
        if constexpr (kTileSlots > 3) {
          if (count == 4) run(add_gradients<4, Real>);
          if (count == 5) run(add_gradients<5, Real>);
          if (count == 6) run(add_gradients<6, Real>);
        }
      }
      first = pass.last;
    } while (first < terms[k + 1]);
  }
  if (strain) add_strain<Real>(plan.n_components, n_slots, packed, dB, stride, vectors(block.strain));
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
