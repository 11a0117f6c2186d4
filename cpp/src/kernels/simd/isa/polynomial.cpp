// Density and forces by polynomials, compiled once for each instruction set and precision, beside stages.cpp.

#include "kernels/simd/isa/polynomial.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

const SummationTable<MLIUQ_SIMD_REAL>& polynomial_stages(MLIUQ_SIMD_REAL) {
  using Real = MLIUQ_SIMD_REAL;
  static constexpr SummationTable<Real> table{
      .density = density_by_moments<Real>,
      .ladder = polynomial_of_Y<Real>,
      .force = force_by_polynomial<Real>,
  };
  return table;
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
