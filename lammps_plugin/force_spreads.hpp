// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lammps_headers.hpp"
#include "mliuq/potential.hpp"

namespace mliuq_lammps {

/// Numbers of a row that one message carries for an image: rows are communicated in blocks of columns.
inline constexpr int kRowBlock = 64;

/// Spreads of the forces on this rank's atoms and of the strain of the whole cell. Atoms near a border move the
/// descriptors of other ranks' centres: their rows are accumulated where the centres are, on images, and added to their
/// owners' by reverse communication before any spread is taken. Images of this rank's own atoms take their owners' rows
/// at once. Large cells go tile by tile; a tile is the same set of
/// atoms on all ranks.
class ForceSpreads {
 public:
  /// `forward` and `reverse` communicate for the pair style, which calls the functions below from its own.
  ForceSpreads(std::function<void()> forward, std::function<void(int size)> reverse)
      : forward_(std::move(forward)), reverse_(std::move(reverse)) {}

  /// Called by all ranks together; an empty string, or what went wrong on this rank.
  std::string evaluate_forces(mliuq::Potential& potential, const mliuq::Neighbourhood& atoms,
                              std::span<const int> centres, const LAMMPS_NS::tagint* ids, int n_local, int n_threads,
                              MPI_Comm world);
  std::string evaluate_strain(mliuq::Potential& potential, const mliuq::Neighbourhood& atoms,
                              std::span<const int> centres, int n_threads, MPI_Comm world);

  /// Standard deviation of the three force components of a local atom, eV/Å.
  const double* force_std(int i) const { return force_std_.data() + 3 * static_cast<std::size_t>(i); }

  /// Standard deviations of dE/dstrain, Voigt xx yy zz yz xz xy, and of the mean of the first three, eV.
  const std::array<double, 7>& strain_std() const { return strain_std_; }

  int pack_forward(int n, const int* list, double* buffer) const;
  void unpack_forward(int n, int first, const double* buffer);
  int pack_reverse(int n, int first, double* buffer) const;
  void unpack_reverse(int n, const int* list, const double* buffer);

  std::size_t bytes() const { return sizeof(double) * (rows_.capacity() + force_std_.capacity()); }

 private:
  void find_owners(const LAMMPS_NS::tagint* ids, int n_atoms, int n_local);

  std::function<void()> forward_;
  std::function<void(int)> reverse_;

  std::vector<int> tile_of_atom_;  // [n_atoms], −1: covered by no pair style mliuq
  std::vector<int> own_of_atom_;   // [n_atoms], the atom of this rank that it is or is an image of, −1: of another's
  std::vector<int> row_of_atom_;   // [n_atoms] in the present tile
  std::vector<double> rows_;       // [row][width]
  std::size_t width_ = 0;          // of the three rows of an atom
  std::size_t first_column_ = 0;   // of the block that is communicated
  std::size_t n_columns_ = 0;
  std::vector<double> force_std_;
  std::array<double, 7> strain_std_{};
};

}  // namespace mliuq_lammps
