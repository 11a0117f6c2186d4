// SPDX-License-Identifier: GPL-2.0-only

#include "atom_quantity.hpp"

#include <algorithm>

namespace mliuq_lammps {

AtomQuantity quantity_of(const std::string& name) {
  const auto found = std::find(kQuantityNames.begin(), kQuantityNames.end(), name);
  return static_cast<AtomQuantity>(found - kQuantityNames.begin());
}

const char* unit_of(AtomQuantity quantity) {
  return quantity == kExtrapolation ? "(no unit)" : quantity > kExtrapolation ? "eV/A" : "eV";
}

}  // namespace mliuq_lammps
