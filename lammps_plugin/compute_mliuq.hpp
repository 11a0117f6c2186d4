// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>

#include "pair_mliuq.hpp"
#include "spread_reader.hpp"

namespace mliuq_lammps {

/// `compute ID all mliuq [pair K]`: uncertainty of the energy of the cell.
/// Scalar: energy_std, eV. Vector: [1] energy_min, [2] energy_max, [3] largest per-atom energy_std, [4] the ID of that
/// atom, [5] energy_err; energies in eV of the whole cell.
class ComputeMliuq : public LAMMPS_NS::Compute, public SpreadReader {
 public:
  ComputeMliuq(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg);
  ~ComputeMliuq() override;

  void init() override;
  double compute_scalar() override;
  void compute_vector() override;
  unsigned wanted() const override { return bit(kStd) | kCell; }
  bool expects(LAMMPS_NS::bigint step) override { return matchstep(step) && habit_.expects(step); }

 private:
  void update_values();
  void update_cell(PairMliuq& pair);
  void update_worst_atom(PairMliuq& pair);

  ReadingHabit habit_;
  std::array<double, 5> values_{};
  long evaluation_ = -1;  // of the pair style, when the values were made
};

}  // namespace mliuq_lammps
