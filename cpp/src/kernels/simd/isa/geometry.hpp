#pragma once

// Rotation and radial weight of every slot. A neighbour at distance r and direction n is the rotation
//     a = cosθ − i n_z sinθ,  b = sinθ (n_y − i n_x),  θ = rfac0 π (r − rmin0)/(R_cut − rmin0),
// with θ taken modulo π into [0, π): below rmin0 stock SNAP's sinθ stays positive.

#include "kernels/simd/isa/vector.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

inline constexpr double kHalfPi = 1.57079632679489661923;
inline constexpr double kPiLow = 1.2246467991473532e-16;  // π − double(π)

/// sin and cos on [−π/2, π/2] from their Taylor series, whose next terms are below 2e-17.
template <class Real>
MLIUQ_INLINE void sine_cosine(Vector<Real> x, Vector<Real>& sine, Vector<Real>& cosine) {
  constexpr Real sine_terms[] = {Real(1.0 / 51090942171709440000.0),
                                 Real(-1.0 / 121645100408832000.0),
                                 Real(1.0 / 355687428096000.0),
                                 Real(-1.0 / 1307674368000.0),
                                 Real(1.0 / 6227020800.0),
                                 Real(-1.0 / 39916800.0),
                                 Real(1.0 / 362880.0),
                                 Real(-1.0 / 5040.0),
                                 Real(1.0 / 120.0),
                                 Real(-1.0 / 6.0)};
  constexpr Real cosine_terms[] = {Real(1.0 / 2432902008176640000.0),
                                   Real(-1.0 / 6402373705728000.0),
                                   Real(1.0 / 20922789888000.0),
                                   Real(-1.0 / 87178291200.0),
                                   Real(1.0 / 479001600.0),
                                   Real(-1.0 / 3628800.0),
                                   Real(1.0 / 40320.0),
                                   Real(-1.0 / 720.0),
                                   Real(1.0 / 24.0),
                                   Real(-0.5)};
  constexpr int skipped = sizeof(Real) == 8 ? 0 : 4;  // float needs fewer
  const Vector<Real> z = x * x;
  Vector<Real> s = broadcast(sine_terms[skipped]), c = broadcast(cosine_terms[skipped]);
  MLIUQ_UNROLL
  for (int k = skipped + 1; k < 10; ++k) {
    s = s * z + sine_terms[k];
    c = c * z + cosine_terms[k];
  }
  sine = x + x * (z * s);
  cosine = Real(1) + z * c;
}

template <class Real>
MLIUQ_INLINE Vector<Real> clamp(Vector<Real> x, Real low, Real high) {
  const Vector<Real> above = x < low ? broadcast(low) : x;
  return above > high ? broadcast(high) : above;
}

/// Nearest integer; valid for |x| far below 2^51 (2^22), needs IEEE addition.
template <class Real>
MLIUQ_INLINE Vector<Real> round(Vector<Real> x) {
  constexpr Real magic = sizeof(Real) == 8 ? Real(6755399441055744.0) : Real(12582912.0);
  return (x + magic) - magic;
}

template <class Real>
void geometry(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  for (int slot = 0; slot < block.n_slots; ++slot) {
    const V* in = vectors(block.packed) + kPackedFields * slot;
    V* out = vectors(block.geometry) + kGeometryFields * slot;
    const V r = square_root<Real>(in[kDx] * in[kDx] + in[kDy] * in[kDy] + in[kDz] * in[kDz]);
    const V inverse = Real(1) / r;
    const V nx = in[kDx] * inverse, ny = in[kDy] * inverse, nz = in[kDz] * inverse;

    const V theta = (r - plan.rmin0) * in[kThetaScale];
    const V half_turns = round<Real>(theta * Real(0.5 / kHalfPi) - Real(0.5)) + Real(0.5);
    const V quarter = (theta - half_turns * Real(2 * kHalfPi)) - half_turns * Real(kPiLow);
    V minus_cosine, sine;
    sine_cosine<Real>(quarter, minus_cosine, sine);

    const V phase = clamp<Real>((r - plan.rmin0) * in[kSwitchScale], Real(0), Real(2 * kHalfPi));
    V minus_cos_phase, sin_phase;
    sine_cosine<Real>(phase - Real(kHalfPi), minus_cos_phase, sin_phase);
    V s = Real(0.5) - Real(0.5) * minus_cos_phase;
    V ds = Real(-0.5) * sin_phase * in[kSwitchScale];
    if (plan.switchinner) {
      V sin_inner, cos_inner;
      sine_cosine<Real>(clamp<Real>((r - in[kInnerCentre]) * in[kInnerScale], Real(-kHalfPi), Real(kHalfPi)), sin_inner,
                        cos_inner);
      const V inner = Real(0.5) + Real(0.5) * sin_inner;
      ds = ds * inner + s * (Real(0.5) * cos_inner * in[kInnerScale]);
      s = s * inner;
    }

    out[kAr] = -minus_cosine;
    out[kAi] = -sine * nz;
    out[kBr] = sine * ny;
    out[kBi] = -sine * nx;
    out[kS] = in[kWeight] * s;
    out[kDs] = in[kWeight] * ds;
    out[kNx] = nx;
    out[kNy] = ny;
    out[kNz] = nz;
    out[kSinCosOverR] = -sine * minus_cosine * inverse;
    out[kSinSinOverR] = sine * sine * inverse;
  }
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
