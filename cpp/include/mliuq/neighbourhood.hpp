#pragma once

#include <span>
#include <vector>

namespace mliuq {

/// Who may be near whom. Positions hold owned atoms and their periodic images ("ghosts") alike, so that no kernel
/// ever sees a cell. Lists are full (j in i's list and, if both are centres, i in j's) and may hold atoms beyond the
/// cutoff. Nothing is owned: the view lives as long as the caller's arrays. LAMMPS hands over its own lists unchanged.
struct Neighbourhood {
  const double* positions = nullptr;      ///< [n_atoms][3], Å
  const int* types = nullptr;             ///< [n_atoms], the caller's atom types
  const int* species_of_type = nullptr;   ///< [type] -> element index of the model, −1: not ours, never a neighbour
  int n_atoms = 0;                        ///< owned atoms and images
  const int* n_neighbours = nullptr;      ///< [atom] -> length of its list, defined for centres
  const int* const* neighbours = nullptr; ///< [atom] -> its list of atoms, defined for centres
  int index_mask = ~0;                    ///< low bits of a list entry that are the atom's index

  int species(int atom) const { return species_of_type[types[atom]]; }
};

/// A neighbourhood from compressed rows, the form Python hands over: atom i < n_centres has the neighbours
/// indices[offsets[i]] … indices[offsets[i + 1]]. Arrays other than the row pointers belong to the caller.
class CompressedNeighbourhood {
 public:
  /// Throws Error when offsets decrease or an index lies outside [0, n_atoms).
  CompressedNeighbourhood(std::span<const double> positions, std::span<const int> species, int n_elements,
                          std::span<const int> offsets, std::span<const int> indices);

  const Neighbourhood& view() const { return view_; }
  std::span<const int> centres() const { return centres_; }

 private:
  std::vector<int> centres_;
  std::vector<int> identity_;
  std::vector<int> counts_;
  std::vector<const int*> rows_;
  Neighbourhood view_;
};

}  // namespace mliuq
