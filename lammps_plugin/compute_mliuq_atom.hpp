// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <vector>

#include "pair_mliuq.hpp"
#include "spread_reader.hpp"

namespace mliuq_lammps {

/// `compute ID group mliuq/atom QUANTITY ... [pair K]`: energy_std, energy_min, energy_max, energy_err (eV),
/// extrapolation, one column each in the order asked. Zero for atoms outside the group.
class ComputeMliuqAtom : public LAMMPS_NS::Compute, public SpreadReader {
 public:
  ComputeMliuqAtom(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg);
  ~ComputeMliuqAtom() override;

  void init() override;
  void compute_peratom() override;
  double memory_usage() override;
  unsigned wanted() const override;

  /// Makes the values as long as LAMMPS's arrays of atoms; new ones are 0.
  void make_room();
  bool expects(LAMMPS_NS::bigint step) override { return matchstep(step) && habit_.expects(step); }

 private:
  ReadingHabit habit_;
  std::vector<AtomQuantity> columns_;
  int n_max_ = 0;
};

}  // namespace mliuq_lammps
