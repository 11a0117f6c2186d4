// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lammps_headers.hpp"
#include "pair_mliuq.hpp"

namespace mliuq_lammps {

/// A threshold as the input gives it.
struct Threshold {
  bool automatic = false;  // the model's own
  double value = 0.0;
};

/// Whether a quantity of the cell is watched, and which.
enum class CellQuantity { none, energy_per_atom, pressure };

enum class GuardAction { soft, hard, go_on };

/// The words of `fix ID group mliuq/guard N QUANTITY keyword value …`.
struct GuardSettings {
  int every = 0;
  CellQuantity cell = CellQuantity::none;
  AtomQuantity quantity = kNumQuantities;  ///< of atoms, unless `cell` says otherwise
  std::string quantity_name;
  std::optional<Threshold> save, halt;
  std::optional<double> limit;  ///< nothing above it is saved
  std::string file;             ///< empty: ID.xyz
  int max = 100;                ///< frames
  int worst = 5;                ///< atoms named in messages
  GuardAction action = GuardAction::soft;
  std::vector<AtomQuantity> also;  ///< further columns of a frame
  std::string pair;                ///< K of `pair K`, or empty

  bool of_cell() const { return cell != CellQuantity::none; }
  const char* unit() const;

  /// Throws LAMMPS's error, naming the keyword, for anything it does not understand.
  static GuardSettings parse(LAMMPS_NS::LAMMPS* lmp, const std::string& who, int narg, char** arg);
};

}  // namespace mliuq_lammps
