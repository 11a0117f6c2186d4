// SPDX-License-Identifier: GPL-2.0-only

#include "compute_mliuq.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "fix_mliuq_recall.hpp"
#include "mliuq/error.hpp"

using LAMMPS_NS::Compute;
using LAMMPS_NS::LAMMPS;

namespace mliuq_lammps {

namespace {

struct CellValue {
  const char* name;
  unsigned needs;  // beside the energy of the cell
};

constexpr std::array<CellValue, 15> kCellValues = {{{"energy_min", 0},
                                                    {"energy_max", 0},
                                                    {"max_energy_std", bit(kStd)},
                                                    {"max_energy_std_id", bit(kStd)},
                                                    {"energy_err", 0},
                                                    {"max_force_err", bit(kForceErr)},
                                                    {"max_force_err_id", bit(kForceErr)},
                                                    {"pressure_std", kStrain},
                                                    {"pressure_err", kStrain},
                                                    {"stress_err_xx", kStrain},
                                                    {"stress_err_yy", kStrain},
                                                    {"stress_err_zz", kStrain},
                                                    {"stress_err_yz", kStrain},
                                                    {"stress_err_xz", kStrain},
                                                    {"stress_err_xy", kStrain}}};

}  // namespace

ComputeMliuq::ComputeMliuq(LAMMPS* lmp, int narg, char** arg) : Compute(lmp, narg, arg) {
  narg = take_pair_keyword(lmp, "Compute mliuq", narg, arg);
  std::string known;
  for (const CellValue& value : kCellValues) known += std::string(" ") + value.name;
  for (int i = 3; i < narg; ++i) {
    const auto named = [&](const CellValue& value) { return std::strcmp(value.name, arg[i]) == 0; };
    const auto found = std::find_if(kCellValues.begin(), kCellValues.end(), named);
    if (found == kCellValues.end())
      error->all(FLERR, "Compute mliuq: expected quantities among{}, or the keyword pair, found {}", known, arg[i]);
    columns_.push_back(static_cast<int>(found - kCellValues.begin()));
  }
  if (columns_.empty()) {
    columns_.resize(kCellValues.size());
    std::iota(columns_.begin(), columns_.end(), 0);
  }
  for (const int column : columns_) of_vector_ |= kCellValues[column].needs;
  chosen_.resize(columns_.size());
  if (std::strcmp(arg[1], "all") != 0) error->all(FLERR, "Compute mliuq: expected group all, found {}", arg[1]);
  scalar_flag = 1;
  extscalar = 0;
  vector_flag = 1;
  extvector = 0;
  size_vector = static_cast<int>(chosen_.size());
  vector = chosen_.data();
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
  update_energy();
  return scalar;
}

void ComputeMliuq::compute_vector() {
  invoked_vector = update->ntimestep;
  update_energy();
  PairMliuq& source = pair(lmp, "Compute mliuq");
  source.ensure(of_vector_);
  if (vector_evaluation_ == source.evaluation()) return;
  if (of_vector_ & bit(kStd)) find_worst_atom(source, kStd, values_[2], values_[3]);
  if (of_vector_ & bit(kForceErr)) find_worst_atom(source, kForceErr, values_[5], values_[6]);
  if (of_vector_ & kStrain) update_stress(source);
  for (std::size_t c = 0; c < columns_.size(); ++c) chosen_[c] = values_[columns_[c]];
  vector_evaluation_ = source.evaluation();
}

/// The energy is linear in the weights: its spread follows from the features summed over all atoms of all ranks.
void ComputeMliuq::update_energy() {
  PairMliuq& source = pair(lmp, "Compute mliuq");
  habit_.read(update->ntimestep);
  source.ensure(kCell);
  if (evaluation_ == source.evaluation()) return;
  const mliuq::Potential& potential = source.potential();
  const PairMliuq::Cell cell = source.cell();
  mliuq::Spread spread;
  try {
    spread = potential.cell_spread(cell.features, cell.energy);
  } catch (const mliuq::Error& e) {  // on every rank alike
    error->all(FLERR, "Compute mliuq: step {}: {}", update->ntimestep, e.what());
  }
  scalar = spread.std;
  values_[0] = spread.min;
  values_[1] = spread.max;
  values_[4] = mliuq::energy_error(source.error_scale(), spread.std, cell.n_atoms);
  evaluation_ = source.evaluation();
}

void ComputeMliuq::update_stress(PairMliuq& pair) {
  const std::array<double, 7> std = pair.stress_std();
  const mliuq::ErrorScale scale = pair.error_scale();
  const double noise = scale.noise_stress * force->nktv2p;
  values_[7] = std[6];
  values_[8] = pair.pressure_error(std[6]);
  for (int v = 0; v < 6; ++v) values_[9 + v] = std::hypot(scale.alpha_stress * std[v], noise);
}

void ComputeMliuq::find_worst_atom(PairMliuq& pair, AtomQuantity quantity, double& value, double& id) {
  const double* const values = pair.atom_values(quantity);
  double worst = 0.0;
  id = 0.0;
  for (int i = 0; i < atom->nlocal; ++i) {
    if (values[i] > worst) {
      worst = values[i];
      id = static_cast<double>(atom->tag[i]);
    }
  }
  struct {
    double value;
    int rank;
  } mine = {worst, comm->me}, largest = {};
  MPI_Allreduce(&mine, &largest, 1, MPI_DOUBLE_INT, MPI_MAXLOC, world);
  MPI_Bcast(&id, 1, MPI_DOUBLE, largest.rank, world);
  value = largest.value;
}

}  // namespace mliuq_lammps
