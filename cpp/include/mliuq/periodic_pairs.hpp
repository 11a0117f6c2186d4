#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mliuq {

/// Each pair of a periodic structure once, in any order, as a library of neighbour lists gives it. It may have counted
/// shifts in other cell vectors of the same lattice, and moved atoms by whole cells first.
struct PeriodicPairs {
  std::span<const double> positions;     ///< [n_atoms][3], Å
  std::span<const int> species;          ///< [n_atoms], −1: not of the model
  std::span<const double> cell;          ///< [3][3], a vector each, Å
  std::span<const std::uint64_t> pairs;  ///< [n_pairs][2], an atom and another, or its own image
  std::span<const std::int64_t> shifts;  ///< [n_pairs][3], by how many of its cell vectors the other is moved
  std::span<const std::int64_t> basis;   ///< [3][3], its cell vectors, counted in ours
  std::span<const std::int64_t> wraps;   ///< [n_atoms][3], by how many of our cell vectors it moved atoms back
};

/// Owned atoms, then the images that the list names, and neighbours of the owned atoms in compressed rows.
struct UnfoldedPairs {
  std::vector<double> positions;     ///< [n_atoms][3], Å
  std::vector<int> species, owners;  ///< [n_atoms]
  std::vector<double> image_shifts;  ///< [n_images][3], Å, from owner to image
  std::vector<int> offsets, indices;
};

/// Both are neighbours of each other; one image for every atom and shift that occur. Throws Error for atoms that do not
/// exist, arrays that disagree, and shifts too large to be told apart.
UnfoldedPairs unfold(const PeriodicPairs& list);

}  // namespace mliuq
