#pragma once

// The way out of the lanes: [n][lanes] → one contiguous array for each lane.

#include "kernels/simd/isa/vector.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// Lanes at an address that need not be aligned.
typedef double Unaligned __attribute__((vector_size(MLIUQ_SIMD_BYTES), aligned(8), may_alias));

/// Exchanges the off-diagonal blocks of Distance × Distance numbers of a square of vectors, then of smaller ones.
template <int Distance>
MLIUQ_INLINE void transpose(Vector<double>* rows) {
  typedef long long Places __attribute__((vector_size(MLIUQ_SIMD_BYTES)));
  constexpr int L = kLanes<double>;
  Places low, high;
  MLIUQ_UNROLL
  for (int l = 0; l < L; ++l) {
    low[l] = l & Distance ? L + l - Distance : l;
    high[l] = l & Distance ? L + l : l + Distance;
  }
  MLIUQ_UNROLL
  for (int i = 0; i < L; ++i) {
    if (i & Distance) continue;
    const Vector<double> a = rows[i], b = rows[i + Distance];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + Distance] = __builtin_shuffle(a, b, high);
  }
  if constexpr (Distance > 1) transpose<Distance / 2>(rows);
}

/// to[lane][i] ← from[i][lane] for i < n, or is lessened by it; a lane whose array is null is left out. In squares of
/// lanes; the last one overlaps the one before, whose numbers it takes again, or takes nothing from.
template <bool Subtract, class Real>
MLIUQ_INLINE void unpack_by(const Real* from, int n, double* const* to) {
  constexpr int L = kLanes<Real>;
  if (sizeof(Real) != sizeof(double) || n < L) {
    for (int i = 0; i < n; ++i)
      for (int lane = 0; lane < L; ++lane)
        if (to[lane]) to[lane][i] = Subtract ? to[lane][i] - from[i * L + lane] : double(from[i * L + lane]);
    return;
  }
  for (int i = 0, done = 0; done < n; done = i + L) {
    i = done + L <= n ? done : n - L;
    Vector<double> rows[L];
    MLIUQ_UNROLL
    for (int r = 0; r < L; ++r)
      rows[r] = Subtract && i + r < done ? Vector<double>{} : reinterpret_cast<const Vector<double>*>(from)[i + r];
    transpose<L / 2>(rows);
    MLIUQ_UNROLL
    for (int lane = 0; lane < L; ++lane) {
      if (!to[lane]) continue;
      Unaligned& out = *reinterpret_cast<Unaligned*>(to[lane] + i);
      out = Subtract ? out - rows[lane] : rows[lane];
    }
  }
}

template <class Real>
void unpack(const Real* from, int n, double* const* to) {
  unpack_by<false>(from, n, to);
}
template <class Real>
void unpack_and_subtract(const Real* from, int n, double* const* to) {
  unpack_by<true>(from, n, to);
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
