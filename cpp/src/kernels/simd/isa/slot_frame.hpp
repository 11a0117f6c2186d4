#pragma once

#include "kernels/simd/isa/vector.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// The parts of a gradient in the four numbers (cosθ, n sinθ) of a neighbour.
enum GradientPart { kGx, kGy, kGz, kG0, kGradientParts };

/// What takes the gradient G of a function F of these numbers to three directions, with radial weight s:
///     ∂(s F)/∂r = s (sinθ/r) G + n [s' F − s θ' sinθ G0 + (s θ' cosθ − s sinθ/r) n·G].
template <class Real>
struct SlotFrame {
  Vector<Real> n[3], sine, cosine, slope, across, stretch, turn;

  MLIUQ_INLINE void set(const Vector<Real>* g, Vector<Real> theta_rate) {
    cosine = g[kAr];
    sine = g[kBr] * g[kNy] - g[kBi] * g[kNx] - g[kAi] * g[kNz];
    for (int x = 0; x < 3; ++x) n[x] = g[kNx + x];
    slope = g[kDs];
    across = g[kS] * (cosine * g[kSinCosOverR] + sine * g[kSinSinOverR]);
    stretch = g[kS] * theta_rate * cosine - across;
    turn = -(g[kS] * theta_rate * sine);
  }

  MLIUQ_INLINE Vector<Real> radial(const Vector<Real>* G) const {
    return G[kGx] * n[0] + G[kGy] * n[1] + G[kGz] * n[2];
  }

  /// q·G: a homogeneous polynomial times its degree.
  MLIUQ_INLINE Vector<Real> along_q(const Vector<Real>* G) const { return sine * radial(G) + cosine * G[kG0]; }
};

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
