// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <vector>

#include "pair_mliuq.hpp"
#include "spread_reader.hpp"

namespace mliuq_lammps {

/// `compute ID all mliuq [QUANTITY ...] [pair K]`: uncertainty of the cell.
/// Scalar: energy_std, eV. Vector: [1] energy_min, [2] energy_max, [3] largest per-atom energy_std, [4] the ID of that
/// atom, [5] energy_err (eV, energies of the whole cell); [6] largest force_err, eV/Å, [7] the ID of that atom;
/// [8] pressure_std, [9] pressure_err, [10] … [15] stress_err xx yy zz yz xz xy, bar. The scalar alone costs little;
/// the whole vector brings the spreads of all forces, a list of quantities makes it those alone.
class ComputeMliuq : public LAMMPS_NS::Compute, public SpreadReader {
 public:
  ComputeMliuq(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg);
  ~ComputeMliuq() override;

  void init() override;
  double compute_scalar() override;
  void compute_vector() override;
  unsigned wanted() const override { return kCell | (of_vector_ & bit(kStd)); }
  bool expects(LAMMPS_NS::bigint step) override { return matchstep(step) && habit_.expects(step); }

 private:
  void update_energy();
  void update_stress(PairMliuq& pair);
  void find_worst_atom(PairMliuq& pair, AtomQuantity quantity, double& value, double& id);

  ReadingHabit habit_;
  std::vector<int> columns_;  // which of the values the vector has
  unsigned of_vector_ = 0;    // what they need
  std::vector<double> chosen_;
  std::array<double, 15> values_{};
  long evaluation_ = -1;         // of the pair style, when energies were made
  long vector_evaluation_ = -1;  // and all the rest
};

}  // namespace mliuq_lammps
