#pragma once

// Wigner matrices without coefficients. In v, u^j_{mb,ma} = v^j_{mb,ma} sqrt(ma!(j−ma)! / (mb!(j−mb)!)), the recursion
// in the Cayley-Klein parameters is
//     same row, next level:      v_m ← conj(a) v_m − conj(b) v_{m−1}       (v_{−1} = v_j = 0)
//     middle row of level 2mb:   v'_m = b v_m + a v_{m−1}                  from row mb − 1 of level 2mb − 1,
// so that each row mb is one chain of levels that never leaves the registers. Chains run outside, slots inside: what a
// visitor reads or adds to for one chain stays in the nearest cache, and a slot leaves the base row of its next chain
// in memory.
//
// A visitor has: Real start (v^0); load(slot), store(slot); row(level, v) for each row reached.

#include "kernels/simd/isa/vector.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

template <int J, int MB>
struct FixedLevel {
  static constexpr int j = J, mb = MB;
};
struct RunningLevel {
  int j, mb;
};

template <class Real, int N>
struct Row {
  Vector<Real> re[N], im[N];
};

template <class Real>
struct Rotation {
  Vector<Real> ar, ai, br, bi;
  MLIUQ_INLINE explicit Rotation(const Vector<Real>* g) : ar(g[kAr]), ai(g[kAi]), br(g[kBr]), bi(g[kBi]) {}
};

/// Row mb of level j − 1 → row mb of level j, in place.
template <class Level, class Real, int N>
MLIUQ_INLINE void climb(Level level, const Rotation<Real>& g, Row<Real, N>& v) {
  MLIUQ_UNROLL
  for (int m = level.j; m >= 0; --m) {
    Vector<Real> re, im;
    if (m == level.j) {
      re = -(g.br * v.re[m - 1]) - g.bi * v.im[m - 1];
      im = g.bi * v.re[m - 1] - g.br * v.im[m - 1];
    } else if (m == 0) {
      re = g.ar * v.re[0] + g.ai * v.im[0];
      im = g.ar * v.im[0] - g.ai * v.re[0];
    } else {
      re = g.ar * v.re[m] + g.ai * v.im[m] - g.br * v.re[m - 1] - g.bi * v.im[m - 1];
      im = g.ar * v.im[m] - g.ai * v.re[m] - g.br * v.im[m - 1] + g.bi * v.re[m - 1];
    }
    v.re[m] = re;
    v.im[m] = im;
  }
}

/// Row of level j → the middle row of level j + 1, out of place.
template <class Level, class Real, int N>
MLIUQ_INLINE void next_base(Level level, const Rotation<Real>& g, const Row<Real, N>& v, Vector<Real>* base) {
  MLIUQ_UNROLL
  for (int m = 0; m <= level.j + 1; ++m) {
    Vector<Real> re{}, im{};
    if (m <= level.j) {
      re = g.br * v.re[m] - g.bi * v.im[m];
      im = g.br * v.im[m] + g.bi * v.re[m];
    }
    if (m > 0) {
      re += g.ar * v.re[m - 1] - g.ai * v.im[m - 1];
      im += g.ar * v.im[m - 1] + g.ai * v.re[m - 1];
    }
    base[2 * m] = re;
    base[2 * m + 1] = im;
  }
}

template <int MB, int J, class Real, int N, class Visitor>
MLIUQ_INLINE void levels_from(int top, const Rotation<Real>& g, Row<Real, N>& v, Visitor& visitor, Vector<Real>* base) {
  visitor.row(FixedLevel<J, MB>{}, v);
  if constexpr (J < kUnrolledTwojmax) {
    if (J == top) return;
    if constexpr (J == 2 * MB + 1) next_base(FixedLevel<J, MB>{}, g, v, base);
    climb(FixedLevel<J + 1, MB>{}, g, v);
    levels_from<MB, J + 1>(top, g, v, visitor, base);
  }
}

/// All levels of row MB, slot after slot.
template <int MB, class Real, class Visitor>
[[gnu::noinline]] void chain(const Plan<Real>& plan, const Block<Real>& block, int top, int first, int last,
                             Visitor visitor) {
  for (int slot = first; slot < last; ++slot) {
    const Vector<Real>* geometry = vectors(block.geometry) + kGeometryFields * slot;
    Vector<Real>* base = vectors(block.rows) + 2 * (plan.twojmax + 1) * slot;
    const Rotation<Real> g(geometry);
    Row<Real, kUnrolledTwojmax + 1> v;
    visitor.load(slot, geometry);
    if constexpr (MB == 0) {
      v.re[0] = visitor.start(geometry);
      v.im[0] = Vector<Real>{};
    } else {
      MLIUQ_UNROLL
      for (int m = 0; m <= 2 * MB; ++m) {
        v.re[m] = base[2 * m];
        v.im[m] = base[2 * m + 1];
      }
    }
    levels_from<MB, 2 * MB>(top, g, v, visitor, base);
    visitor.store(slot);
  }
}

/// The same with loops instead of unrolled levels, for any twojmax.
template <class Real, class Visitor>
[[gnu::noinline]] void running_chains(const Plan<Real>& plan, const Block<Real>& block, int top, int first, int last,
                                      Visitor visitor) {
  for (int mb = 0; 2 * mb <= top; ++mb)
    for (int slot = first; slot < last; ++slot) {
      const Vector<Real>* geometry = vectors(block.geometry) + kGeometryFields * slot;
      Vector<Real>* base = vectors(block.rows) + 2 * (plan.twojmax + 1) * slot;
      const Rotation<Real> g(geometry);
      Row<Real, kMaxTwojmax + 1> v;
      visitor.load(slot, geometry);
      v.re[0] = visitor.start(geometry);
      v.im[0] = Vector<Real>{};
      for (int m = 0; mb > 0 && m <= 2 * mb; ++m) {
        v.re[m] = base[2 * m];
        v.im[m] = base[2 * m + 1];
      }
      for (int j = 2 * mb;; ++j) {
        visitor.row(RunningLevel{j, mb}, v);
        if (j == top) break;
        if (j == 2 * mb + 1) next_base(RunningLevel{j, mb}, g, v, base);
        climb(RunningLevel{j + 1, mb}, g, v);
      }
      visitor.store(slot);
    }
}

/// Every row of the half plane of slots first … last − 1, up to level `top` of at most twojmax.
template <class Real, class Visitor>
void walk(const Plan<Real>& plan, const Block<Real>& block, int top, int first, int last, const Visitor& visitor) {
  if (top > kUnrolledTwojmax) return running_chains(plan, block, top, first, last, visitor);
  if constexpr (kUnrolledTwojmax > 0) {
    static_assert(kUnrolledTwojmax <= 14, "one call per row of the half plane");
    chain<0>(plan, block, top, first, last, visitor);
    if (top >= 2) chain<1>(plan, block, top, first, last, visitor);
    if (top >= 4) chain<2>(plan, block, top, first, last, visitor);
    if (top >= 6) chain<3>(plan, block, top, first, last, visitor);
    if (top >= 8) chain<4>(plan, block, top, first, last, visitor);
    if (top >= 10) chain<5>(plan, block, top, first, last, visitor);
    if (top >= 12) chain<6>(plan, block, top, first, last, visitor);
    if (top >= 14) chain<7>(plan, block, top, first, last, visitor);
  }
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
