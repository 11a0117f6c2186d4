#pragma once

#include <memory>

#include "mliuq/kernel.hpp"

namespace mliuq {

/// The plain kernel every fast one is tested against: one atom at a time, full arrays, no symmetry exploited.
std::unique_ptr<Kernel> make_reference_kernel(const SnapParams& params, const EnergyModel& model);

}  // namespace mliuq
