// SPDX-License-Identifier: GPL-2.0-only

#include "compute_mliuq_committee.hpp"

#include <cstring>

#include "fix_mliuq_recall.hpp"
#include "mliuq/error.hpp"

using LAMMPS_NS::Compute;
using LAMMPS_NS::LAMMPS;

namespace mliuq_lammps {

namespace {
constexpr const char* kName = "Compute mliuq/committee";
}

ComputeMliuqCommittee::ComputeMliuqCommittee(LAMMPS* lmp, int narg, char** arg) : Compute(lmp, narg, arg) {
  if (take_pair_keyword(lmp, kName, narg, arg) != 3) {
    error->all(FLERR, "{}: expected no arguments but the keyword pair, found {}", kName, arg[3]);
  }
  if (std::strcmp(arg[1], "all") != 0) error->all(FLERR, "{}: expected group all, found {}", kName, arg[1]);
  PairMliuq& source = pair(lmp, kName);
  source.require(wanted(), kName);
  energies_.resize(source.potential().ensemble()->n_members());
  vector_flag = 1;
  extvector = 0;
  size_vector = static_cast<int>(energies_.size());
  vector = energies_.data();
  timeflag = 1;  // LAMMPS tells in advance on which steps this compute is read
  FixMliuqRecall::ensure(lmp);
}

ComputeMliuqCommittee::~ComputeMliuqCommittee() { vector = nullptr; }

void ComputeMliuqCommittee::init() {
  PairMliuq& source = pair(lmp, kName);
  source.require(wanted(), kName);
  if (source.potential().ensemble()->n_members() != size_vector) {
    error->all(FLERR, "{}: expected a model with {} members as when the compute was defined, found {}", kName,
               size_vector, source.potential().ensemble()->n_members());
  }
  invoked_flag = INVOKED_NONE;  // commands that change atoms between runs initialise first
}

void ComputeMliuqCommittee::compute_vector() {
  invoked_vector = update->ntimestep;
  PairMliuq& source = pair(lmp, kName);
  habit_.read(update->ntimestep);
  source.ensure(wanted());
  const PairMliuq::Cell cell = source.cell();
  try {
    source.potential().committee(cell.features, cell.energy, energies_);
  } catch (const mliuq::Error& e) {  // on every rank alike
    error->all(FLERR, "{}: step {}: {}", kName, update->ntimestep, e.what());
  }
}

}  // namespace mliuq_lammps
