#pragma once

#include <memory>

#include "mliuq/kernel.hpp"

namespace mliuq {

/// The vector kernel: eight central atoms (AVX-512, double) side by side through every stage, in one of the instruction
/// sets of the build other than `reference`. A set that cpu_runs() denies is the caller's mistake.
std::unique_ptr<Kernel> make_simd_kernel(const SnapParams& params, const EnergyModel& model, KernelChoice choice);

}  // namespace mliuq
