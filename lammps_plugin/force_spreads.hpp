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
/// at once. Large cells go tile by tile; a tile is the same set of atoms on all ranks. Who owns what, and the tiles,
/// hold as long as the neighbour list.
class ForceSpreads {
 public:
  /// `forward` and `reverse` communicate for the pair style, which calls the functions below from its own.
  ForceSpreads(std::function<void()> forward, std::function<void(int size)> reverse)
      : forward_(std::move(forward)), reverse_(std::move(reverse)) {}

  /// The atoms of this rank. Where the neighbour list does not describe them (`usable` false) a rank only takes part in
  /// what all of them have to do.
  struct Atoms {
    mliuq::Neighbourhood neighbours;
    std::span<const int> centres;
    const LAMMPS_NS::tagint* ids;
    int n_local;
    bool usable;
  };

  /// A neighbour list of all ranks: never twice the same in one pair style.
  using ListNumber = std::array<LAMMPS_NS::bigint, 3>;

  /// Called by all ranks together. Tiles are made for a new `list`, or where `anew` asks for it, with one reduction;
  /// there is none otherwise.
  struct ForceOutcome {
    bool complete;  // on this rank
    std::string problem;
  };
  ForceOutcome evaluate_forces(mliuq::Potential& potential, const Atoms& atoms, const ListNumber& list, bool anew,
                               int n_threads, MPI_Comm world);

  /// Called by all ranks together, with one reduction. All of them get the same answer.
  struct StrainOutcome {
    bool complete;        // every rank's atoms were usable; nothing was made otherwise
    bool sound;           // and none had a problem
    std::string problem;  // of this rank
  };
  StrainOutcome evaluate_strain(mliuq::Potential& potential, const Atoms& atoms, bool sound, int n_threads,
                                MPI_Comm world);

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
  void find_owners(const Atoms& atoms);
  void make_tiles(const mliuq::Potential& potential, const Atoms& atoms, int n_threads, MPI_Comm world);

  std::function<void()> forward_;
  std::function<void(int)> reverse_;

  ListNumber list_{-1, -1, -1};    // what these were made for
  std::vector<int> centres_;       // and for whom
  int n_tiles_ = 0;                // on all ranks alike
  std::vector<int> tile_of_atom_;  // [n_atoms], −1: covered by no pair style mliuq
  std::vector<int> own_of_atom_;   // [n_atoms], the atom of this rank that it is or is an image of, −1: of another's
  std::vector<int> row_of_atom_;   // [n_atoms] in the present tile
  std::vector<int> local_;         // atoms of this rank in the present tile
  std::vector<double> tile_std_;   // [local][3]
  std::vector<double> rows_;       // [row][width]
  std::size_t width_ = 0;          // of the three rows of an atom
  std::size_t first_column_ = 0;   // of the block that is communicated
  std::size_t n_columns_ = 0;
  std::vector<double> force_std_;
  std::vector<double> strain_rows_;  // [7][width / 3]
  std::array<double, 7> strain_std_{};
};

}  // namespace mliuq_lammps
