// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "lammps_headers.hpp"

namespace mliuq_lammps {

/// `fix ID all mliuq/recall`: LAMMPS takes the last value of a compute for good until the next run, also when atoms
/// were moved, added or deleted in between. At the end of every run this fix marks the readers of uncertainties as not
/// yet read, so that they are asked again, and it keeps their arrays as long as LAMMPS's own, which may ask no more.
/// The first of them makes it.
class FixMliuqRecall : public LAMMPS_NS::Fix {
 public:
  FixMliuqRecall(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg);
  ~FixMliuqRecall() override;

  int setmask() override;
  void post_run() override;
  void grow_arrays(int n_max) override;

  /// Makes the fix unless there is one.
  static void ensure(LAMMPS_NS::LAMMPS* lmp);
};

}  // namespace mliuq_lammps
