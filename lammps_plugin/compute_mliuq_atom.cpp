// SPDX-License-Identifier: GPL-2.0-only

#include "compute_mliuq_atom.hpp"

#include <algorithm>

#include "fix_mliuq_recall.hpp"

using LAMMPS_NS::Compute;
using LAMMPS_NS::LAMMPS;

namespace mliuq_lammps {

ComputeMliuqAtom::ComputeMliuqAtom(LAMMPS* lmp, int narg, char** arg) : Compute(lmp, narg, arg) {
  std::string known;
  for (const char* name : kQuantityNames) known += std::string(known.empty() ? "" : " ") + name;
  narg = take_pair_keyword(lmp, "Compute mliuq/atom", narg, arg);
  if (narg < 4) error->all(FLERR, "Compute mliuq/atom: expected one or more of {}, found nothing", known);
  for (int i = 3; i < narg; ++i) {
    const std::string name = arg[i];
    columns_.push_back(quantity_of(name));
    if (columns_.back() == kNumQuantities) {
      error->all(FLERR, "Compute mliuq/atom: expected one or more of {}, found {}", known, name);
    }
  }
  peratom_flag = 1;
  size_peratom_cols = columns_.size() == 1 ? 0 : static_cast<int>(columns_.size());
  timeflag = 1;  // LAMMPS tells in advance on which steps this compute is read
  FixMliuqRecall::ensure(lmp);
}

ComputeMliuqAtom::~ComputeMliuqAtom() {
  memory->destroy(vector_atom);
  memory->destroy(array_atom);
}

void ComputeMliuqAtom::init() {
  pair(lmp, "Compute mliuq/atom").require(wanted(), "Compute mliuq/atom");
  invoked_flag = INVOKED_NONE;  // commands that change atoms between runs initialise first
}

unsigned ComputeMliuqAtom::wanted() const {
  unsigned all = 0;
  for (const AtomQuantity quantity : columns_) all |= bit(quantity);
  return all;
}

void ComputeMliuqAtom::compute_peratom() {
  invoked_peratom = update->ntimestep;
  PairMliuq& source = pair(lmp, "Compute mliuq/atom");
  habit_.read(update->ntimestep);
  source.ensure(wanted());
  make_room();
  const int n_columns = static_cast<int>(columns_.size());
  double* const out = n_columns == 1 ? vector_atom : (atom->nlocal > 0 ? array_atom[0] : nullptr);
  for (int c = 0; c < n_columns; ++c) {
    const double* const values = source.atom_values(columns_[c]);
    for (int i = 0; i < atom->nlocal; ++i) {
      out[i * n_columns + c] = (atom->mask[i] & groupbit) ? values[i] : 0.0;
    }
  }
}

void ComputeMliuqAtom::make_room() {
  if (atom->nmax <= n_max_) return;
  const int before = n_max_;
  n_max_ = atom->nmax;
  const int n_columns = static_cast<int>(columns_.size());
  if (n_columns == 1) {
    memory->grow(vector_atom, n_max_, "mliuq/atom:vector_atom");
  } else {
    memory->grow(array_atom, n_max_, n_columns, "mliuq/atom:array_atom");
  }
  double* const values = n_columns == 1 ? vector_atom : array_atom[0];
  std::fill(values + static_cast<std::size_t>(before) * n_columns,
            values + static_cast<std::size_t>(n_max_) * n_columns, 0.0);
}

double ComputeMliuqAtom::memory_usage() {
  return static_cast<double>(n_max_) * static_cast<double>(columns_.size() * sizeof(double));
}

}  // namespace mliuq_lammps
