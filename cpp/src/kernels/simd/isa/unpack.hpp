#pragma once

// The way out of the lanes: [n][lanes] → one contiguous array for each lane.

#include "kernels/simd/isa/vector.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

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

/// to[lane][i] ← from[i][lane] for i < n; a lane whose array is null is left out.
template <class Real>
void unpack(const Real* from, int n, double* const* to) {
  constexpr int L = kLanes<Real>;
  int i = 0;
  if constexpr (sizeof(Real) == sizeof(double)) {
    for (; i + L <= n; i += L) {
      Vector<double> rows[L];
      MLIUQ_UNROLL
      for (int r = 0; r < L; ++r) rows[r] = reinterpret_cast<const Vector<double>*>(from)[i + r];
      transpose<L / 2>(rows);
      MLIUQ_UNROLL
      for (int lane = 0; lane < L; ++lane)
        if (to[lane]) __builtin_memcpy(to[lane] + i, &rows[lane], sizeof rows[lane]);
    }
  }
  for (; i < n; ++i)
    for (int lane = 0; lane < L; ++lane)
      if (to[lane]) to[lane][i] = from[i * L + lane];
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
