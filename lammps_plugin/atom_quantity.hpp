// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <string>

namespace mliuq_lammps {

/// Per-atom quantities of a model's posterior, under the names of input scripts.
enum AtomQuantity {
  kStd,
  kMin,
  kMax,
  kErr,
  kExtrapolation,
  kForceStd,
  kForceErr,
  kFxStd,
  kFyStd,
  kFzStd,
  kFxErr,
  kFyErr,
  kFzErr,
  kNumQuantities
};
inline constexpr std::array<const char*, kNumQuantities> kQuantityNames = {
    "energy_std", "energy_min", "energy_max", "energy_err", "extrapolation", "force_std", "force_err",
    "fx_std",     "fy_std",     "fz_std",     "fx_err",     "fy_err",        "fz_err"};

/// The quantity of a name, kNumQuantities when there is none.
AtomQuantity quantity_of(const std::string& name);
const char* unit_of(AtomQuantity quantity);

/// Whether a quantity is evaluated by itself when it is read, never together with the forces.
constexpr bool quantity_comes_after_forces(AtomQuantity quantity) { return quantity > kExtrapolation; }

/// Sets of wanted quantities.
constexpr unsigned bit(AtomQuantity quantity) { return 1u << quantity; }
inline constexpr unsigned kCell = 1u << kNumQuantities;             ///< energy and summed features of this rank's atoms
inline constexpr unsigned kForceRows = 1u << (kNumQuantities + 1);  ///< spreads of force components
inline constexpr unsigned kStrain = 1u << (kNumQuantities + 2);     ///< spreads of the cell's strain derivatives

}  // namespace mliuq_lammps
