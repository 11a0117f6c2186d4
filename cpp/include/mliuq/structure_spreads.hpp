#pragma once

#include "mliuq/force_rows.hpp"
#include "mliuq/packed_structure.hpp"
#include "mliuq/potential.hpp"

namespace mliuq {

/// Spreads of a whole structure, tile by tile: force components [n_owned][3], eV/Å, and dE/dstrain [6], Voigt, eV
/// (divided by the volume: the stress), as moves about the best fit; committees have the members first. Throws Error
/// for a model without members, and for atoms that are of no element of it. `largest_tile`: atoms of a tile, 0 for as
/// many as kTileBytes per thread hold; it changes no result.
void structure_spreads(Potential& potential, const PackedStructure& structure, const MoveSpreads& forces,
                       const MoveSpreads& strain, int n_threads = 0, int largest_tile = 0);

}  // namespace mliuq
