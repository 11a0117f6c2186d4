#include "kernels/simd/processor.hpp"

#ifdef MLIUQ_SIMD_SVE
#include <sys/prctl.h>
#endif

namespace mliuq {
namespace {

#ifdef MLIUQ_SIMD_SVE
/// Bytes of an SVE register as the kernel (of Linux) has set it for this thread, which threads made later inherit: the
/// processor may have longer ones. 0 without SVE.
int sve_register_bytes() {
  const int found = prctl(PR_SVE_GET_VL);
  return found < 0 ? 0 : found & PR_SVE_VL_LEN_MASK;
}
#endif

}  // namespace

bool simd::fits_sve(InstructionSet set, int register_bytes) {
  return (set == InstructionSet::sve256 && register_bytes == 32) ||
         (set == InstructionSet::sve512 && register_bytes == 64);
}

bool cpu_runs(InstructionSet set) {
  switch (set) {
    case InstructionSet::reference:
    case InstructionSet::baseline:
      return true;
#ifdef MLIUQ_SIMD_X86
    case InstructionSet::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case InstructionSet::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#endif
#ifdef MLIUQ_SIMD_SVE
    case InstructionSet::sve256:
    case InstructionSet::sve512:
      return simd::fits_sve(set, sve_register_bytes());
#endif
    default:
      return false;
  }
}

}  // namespace mliuq
