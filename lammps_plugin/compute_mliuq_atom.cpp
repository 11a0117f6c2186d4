// SPDX-License-Identifier: GPL-2.0-only

#include "compute_mliuq_atom.hpp"

#include <algorithm>

using LAMMPS_NS::Compute;
using LAMMPS_NS::LAMMPS;

namespace mliuq_lammps {

ComputeMliuqAtom::ComputeMliuqAtom(LAMMPS* lmp, int narg, char** arg) : Compute(lmp, narg, arg) {
  std::string known;
  for (const char* name : kQuantityNames) known += std::string(known.empty() ? "" : " ") + name;
  if (narg < 4) error->all(FLERR, "Compute mliuq/atom: expected one or more of {}, found nothing", known);
  for (int i = 3; i < narg; ++i) {
    const std::string name = arg[i];
    if (name == "force_std" || name == "force_err") {
      error->all(FLERR, "Compute mliuq/atom: {} is not available yet; available: {}", name, known);
    }
    columns_.push_back(quantity_of(name));
    if (columns_.back() == kNumQuantities) {
      error->all(FLERR, "Compute mliuq/atom: expected one or more of {}, found {}", known, name);
    }
  }
  peratom_flag = 1;
  size_peratom_cols = columns_.size() == 1 ? 0 : static_cast<int>(columns_.size());
  timeflag = 1;  // LAMMPS tells in advance on which steps this compute is read
}

ComputeMliuqAtom::~ComputeMliuqAtom() {
  memory->destroy(vector_atom);
  memory->destroy(array_atom);
}

void ComputeMliuqAtom::init() { find_pair(lmp, "Compute mliuq/atom")->require(wanted(), "Compute mliuq/atom"); }

unsigned ComputeMliuqAtom::wanted() const {
  unsigned all = 0;
  for (const AtomQuantity quantity : columns_) all |= bit(quantity);
  return all;
}

void ComputeMliuqAtom::compute_peratom() {
  invoked_peratom = update->ntimestep;
  PairMliuq* const pair = find_pair(lmp, "Compute mliuq/atom");
  pair->ensure(wanted());
  if (atom->nmax > n_max_) grow();
  const int n_columns = static_cast<int>(columns_.size());
  double* const out = n_columns == 1 ? vector_atom : (atom->nlocal > 0 ? array_atom[0] : nullptr);
  for (int c = 0; c < n_columns; ++c) {
    const double* const values = pair->atom_values(columns_[c]);
    for (int i = 0; i < atom->nlocal; ++i) {
      out[i * n_columns + c] = (atom->mask[i] & groupbit) ? values[i] : 0.0;
    }
  }
}

void ComputeMliuqAtom::grow() {
  n_max_ = atom->nmax;
  if (columns_.size() == 1) {
    memory->destroy(vector_atom);
    memory->create(vector_atom, n_max_, "mliuq/atom:vector_atom");
  } else {
    memory->destroy(array_atom);
    memory->create(array_atom, n_max_, static_cast<int>(columns_.size()), "mliuq/atom:array_atom");
  }
}

double ComputeMliuqAtom::memory_usage() {
  return static_cast<double>(n_max_) * static_cast<double>(columns_.size() * sizeof(double));
}

}  // namespace mliuq_lammps
