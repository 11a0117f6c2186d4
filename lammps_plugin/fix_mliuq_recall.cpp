// SPDX-License-Identifier: GPL-2.0-only

#include "fix_mliuq_recall.hpp"

#include "compute_mliuq_atom.hpp"

using LAMMPS_NS::Atom;
using LAMMPS_NS::LAMMPS;

namespace mliuq_lammps {

FixMliuqRecall::FixMliuqRecall(LAMMPS* lmp, int narg, char** arg) : Fix(lmp, narg, arg) {
  atom->add_callback(Atom::GROW);
}

FixMliuqRecall::~FixMliuqRecall() { atom->delete_callback(id, Atom::GROW); }

int FixMliuqRecall::setmask() { return LAMMPS_NS::FixConst::POST_RUN; }

void FixMliuqRecall::post_run() {
  for (LAMMPS_NS::Compute* const compute : modify->get_compute_list()) {
    if (dynamic_cast<SpreadReader*>(compute)) compute->invoked_flag = LAMMPS_NS::Compute::INVOKED_NONE;
  }
}

void FixMliuqRecall::grow_arrays(int) {
  for (LAMMPS_NS::Compute* const compute : modify->get_compute_list()) {
    if (auto* const reader = dynamic_cast<ComputeMliuqAtom*>(compute)) reader->make_room();
  }
}

void FixMliuqRecall::ensure(LAMMPS* lmp) {
  if (lmp->modify->get_fix_by_style("^mliuq/recall$").empty()) lmp->modify->add_fix("mliuq_recall all mliuq/recall");
}

}  // namespace mliuq_lammps
