#pragma once

#include <optional>

#include "mliuq/energy_model.hpp"
#include "mliuq/snap_params.hpp"

namespace mliuq {

/// A model of the same energy with equal weights on components that are equal by symmetry, or nothing when the model's
/// own weights agree to the digits a published file prints. Where they do not, LAMMPS's force is not the gradient of
/// its energy; ours must be.
std::optional<EnergyModel> with_equal_weights(const SnapParams& params, const EnergyModel& model);

}  // namespace mliuq
