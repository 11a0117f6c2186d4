// SPDX-License-Identifier: GPL-2.0-only

#include "compute_mliuq.hpp"

#include <cstring>
#include <vector>

#include "fix_mliuq_recall.hpp"
#include "mliuq/error.hpp"

using LAMMPS_NS::Compute;
using LAMMPS_NS::LAMMPS;

namespace mliuq_lammps {

ComputeMliuq::ComputeMliuq(LAMMPS* lmp, int narg, char** arg) : Compute(lmp, narg, arg) {
  if (take_pair_keyword(lmp, "Compute mliuq", narg, arg) != 3) {
    error->all(FLERR, "Compute mliuq: expected no arguments but the keyword pair, found {}", arg[3]);
  }
  if (std::strcmp(arg[1], "all") != 0) error->all(FLERR, "Compute mliuq: expected group all, found {}", arg[1]);
  scalar_flag = 1;
  extscalar = 0;
  vector_flag = 1;
  extvector = 0;
  size_vector = static_cast<int>(values_.size());
  vector = values_.data();
  timeflag = 1;  // LAMMPS tells in advance on which steps this compute is read
  FixMliuqRecall::ensure(lmp);
}

ComputeMliuq::~ComputeMliuq() { vector = nullptr; }

void ComputeMliuq::init() {
  pair(lmp, "Compute mliuq").require(wanted(), "Compute mliuq");
  invoked_flag = INVOKED_NONE;  // commands that change atoms between runs initialise first
}

double ComputeMliuq::compute_scalar() {
  invoked_scalar = update->ntimestep;
  update_values();
  return scalar;
}

void ComputeMliuq::compute_vector() {
  invoked_vector = update->ntimestep;
  update_values();
}

void ComputeMliuq::update_values() {
  PairMliuq& source = pair(lmp, "Compute mliuq");
  habit_.read(update->ntimestep);
  source.ensure(wanted());
  if (evaluation_ == source.evaluation()) return;
  update_cell(source);
  update_worst_atom(source);
  evaluation_ = source.evaluation();
}

/// The energy is linear in the weights: its spread follows from the features summed over all atoms of all ranks.
void ComputeMliuq::update_cell(PairMliuq& pair) {
  const mliuq::Potential& potential = pair.potential();
  std::vector<double> features = pair.local_features();
  MPI_Allreduce(MPI_IN_PLACE, features.data(), static_cast<int>(features.size()), MPI_DOUBLE, MPI_SUM, world);
  double sums[2] = {pair.local_energy(), static_cast<double>(pair.n_centres())};
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_DOUBLE, MPI_SUM, world);

  mliuq::Spread spread;
  try {
    spread = potential.cell_spread(features, sums[0]);
  } catch (const mliuq::Error& e) {  // on every rank alike
    error->all(FLERR, "Compute mliuq: step {}: {}", update->ntimestep, e.what());
  }
  scalar = spread.std;
  values_[0] = spread.min;
  values_[1] = spread.max;
  values_[4] = mliuq::energy_error(potential.error_scale(), spread.std, sums[1]);
}

void ComputeMliuq::update_worst_atom(PairMliuq& pair) {
  const double* const std = pair.atom_values(kStd);
  double worst = 0.0;
  double id = 0.0;
  for (int i = 0; i < atom->nlocal; ++i) {
    if (std[i] > worst) {
      worst = std[i];
      id = static_cast<double>(atom->tag[i]);
    }
  }
  struct {
    double value;
    int rank;
  } mine = {worst, comm->me}, largest = {};
  MPI_Allreduce(&mine, &largest, 1, MPI_DOUBLE_INT, MPI_MAXLOC, world);
  MPI_Bcast(&id, 1, MPI_DOUBLE, largest.rank, world);
  values_[2] = largest.value;
  values_[3] = id;
}

}  // namespace mliuq_lammps
