// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <vector>

#include "lammps_headers.hpp"

namespace mliuq_lammps {

/// The atoms of one rank at one moment, images ("ghosts") included: who they were, where, in which box.
/// Tells whether something that was made then still belongs to what LAMMPS holds now.
class Snapshot {
 public:
  void take(const LAMMPS_NS::Atom& atom, const LAMMPS_NS::Domain& domain);
  void forget() { taken_ = false; }

  /// Same numbers of atoms and images, IDs and types, in the same order.
  bool same_atoms(const LAMMPS_NS::Atom& atom) const;

  /// Same positions and box; asks nothing about who the atoms are.
  bool same_place(const LAMMPS_NS::Atom& atom, const LAMMPS_NS::Domain& domain) const;

  /// By how much, Å, an atom of this rank and any other of the same atoms may have come closer since.
  double largest_approach(const LAMMPS_NS::Atom& atom) const;

 private:
  bool taken_ = false;
  int n_local_ = 0;
  std::vector<LAMMPS_NS::tagint> ids_;  // [n_local + n_ghost]
  std::vector<int> types_;
  std::vector<double> positions_;  // [n_local + n_ghost][3]
  std::array<double, 9> box_{};    // lower corner, upper corner, xy, xz, yz
};

}  // namespace mliuq_lammps
