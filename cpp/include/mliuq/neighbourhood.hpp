#pragma once

#include <string>

namespace mliuq {

/// Who may be near whom. Positions hold owned atoms and their periodic images ("ghosts") alike, so that no kernel
/// ever sees a cell. Lists are full (j in i's list and, if both are centres, i in j's) and may hold atoms beyond the
/// cutoff. Nothing is owned: the view lives as long as the caller's arrays. LAMMPS hands over its own lists unchanged.
struct Neighbourhood {
  const double* positions = nullptr;       ///< [n_atoms][3], Å
  const int* types = nullptr;              ///< [n_atoms], the caller's atom types
  const int* species_of_type = nullptr;    ///< [type] -> element index of the model, −1: not ours, never a neighbour
  int n_atoms = 0;                         ///< owned atoms and images
  const int* n_neighbours = nullptr;       ///< [atom] -> length of its list, defined for centres
  const int* const* neighbours = nullptr;  ///< [atom] -> its list of atoms, defined for centres
  int index_mask = ~0;                     ///< low bits of a list entry that are the atom's index
  const long long* ids = nullptr;          ///< [n_atoms], what messages call the atoms; null: their indices

  int species(int atom) const { return species_of_type[types[atom]]; }
  std::string name(int atom) const {
    return ids ? "ID " + std::to_string(ids[atom]) : std::to_string(atom) + " (counted from 0)";
  }
};

/// Throws Error naming the first atom whose species is not below `n_elements`: a structure made for another model.
void require_species(const Neighbourhood& atoms, int n_elements);

}  // namespace mliuq
