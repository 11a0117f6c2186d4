#pragma once

#include <memory>

#include "mliuq/kernel.hpp"

namespace mliuq {

/// The vector kernel: eight central atoms (AVX-512, double) side by side through every stage. One factory for each
/// instruction set of the build; calling one on a machine that cannot run it is the caller's mistake.
std::unique_ptr<Kernel> make_simd_kernel_baseline(const SnapParams& params, const EnergyModel& model, Precision precision);
std::unique_ptr<Kernel> make_simd_kernel_avx2(const SnapParams& params, const EnergyModel& model, Precision precision);
std::unique_ptr<Kernel> make_simd_kernel_avx512(const SnapParams& params, const EnergyModel& model, Precision precision);

/// Whether this build holds the vector kernel of that set and this machine runs it.
bool cpu_runs(InstructionSet set);

}  // namespace mliuq
