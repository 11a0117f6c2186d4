// The vector stages of one instruction set and precision: compiled once for each (CMakeLists.txt of the folder above),
// with MLIUQ_SIMD_REAL double or float. The table is all that anyone else sees.

#include "kernels/simd/isa/couple.hpp"
#include "kernels/simd/isa/derive.hpp"
#include "kernels/simd/isa/force.hpp"
#include "kernels/simd/isa/geometry.hpp"
#include "kernels/simd/isa/peak.hpp"
#include "kernels/simd/isa/respond.hpp"
#include "kernels/simd/isa/unpack.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

const StageTable<MLIUQ_SIMD_REAL>& stages(MLIUQ_SIMD_REAL) {
  using Real = MLIUQ_SIMD_REAL;
  static constexpr StageTable<Real> table{
      .lanes = kLanes<Real>,
      .geometry = geometry<Real>,
      .density = density<Real>,
      .expand = expand<Real>,
      .couple = couple<Real>,
      .couple_and_describe = couple_and_describe<Real>,
      .store = store<Real>,
      .describe = describe<Real>,
      .respond = respond<Real>,
      .fold = fold<WeightRule::lammps, Real>,
      .fold_exactly = fold<WeightRule::exact, Real>,
      .energy = energy<Real>,
      .ladder = ladder<Real>,
      .force = force<Real>,
      .virial = virial<Real>,
      .derive = derive<Real>,
      .unpack = unpack<Real>,
      .unpack_and_subtract = unpack_and_subtract<Real>,
      .multiply_adds = multiply_adds<Real>,
      .multiply_adds_per_round = kPeakChains,
  };
  return table;
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
