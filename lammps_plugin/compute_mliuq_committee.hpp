// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <vector>

#include "pair_mliuq.hpp"
#include "spread_reader.hpp"

namespace mliuq_lammps {

/// `compute ID all mliuq/committee [pair K]`: global vector, the cell's energy by every member of the posterior, eV.
class ComputeMliuqCommittee : public LAMMPS_NS::Compute, public SpreadReader {
 public:
  ComputeMliuqCommittee(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg);
  ~ComputeMliuqCommittee() override;

  void init() override;
  void compute_vector() override;
  unsigned wanted() const override { return kCell; }
  bool expects(LAMMPS_NS::bigint step) override { return matchstep(step) && habit_.expects(step); }

 private:
  ReadingHabit habit_;
  std::vector<double> energies_;
};

}  // namespace mliuq_lammps
