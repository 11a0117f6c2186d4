#pragma once

// What the arithmetic units can do at most: independent fused multiply-adds in registers, nothing else.

#include "kernels/simd/isa/vector.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

inline constexpr int kPeakChains = 10;  // more than latency times units; fits the registers of every set

/// Runs n rounds of kPeakChains multiply-adds and returns something that depends on all of them.
template <class Real>
[[gnu::noinline]] Real multiply_adds(long n) {
  using V = Vector<Real>;
  V chain[kPeakChains];
  MLIUQ_UNROLL
  for (int c = 0; c < kPeakChains; ++c) chain[c] = broadcast(Real(c));
  const V x = broadcast(Real(0.999)), y = broadcast(Real(1e-3));
  for (long round = 0; round < n; ++round) {
    MLIUQ_UNROLL
    for (int c = 0; c < kPeakChains; ++c) chain[c] = in_register(chain[c] * x + y);
  }
  V sum{};
  MLIUQ_UNROLL
  for (int c = 0; c < kPeakChains; ++c) sum += chain[c];
  return sum[0];
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
