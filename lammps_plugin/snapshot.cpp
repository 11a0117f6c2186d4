// SPDX-License-Identifier: GPL-2.0-only

#include "snapshot.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

using LAMMPS_NS::Atom;
using LAMMPS_NS::Domain;

namespace mliuq_lammps {

namespace {

std::array<double, 9> box_of(const Domain& d) {
  return {d.boxlo[0], d.boxlo[1], d.boxlo[2], d.boxhi[0], d.boxhi[1], d.boxhi[2], d.xy, d.xz, d.yz};
}

std::size_t count(const Atom& atom) { return static_cast<std::size_t>(atom.nlocal) + atom.nghost; }

template <class T>
bool equal(const std::vector<T>& then, const T* now) {
  return then.empty() || std::memcmp(then.data(), now, then.size() * sizeof(T)) == 0;
}

}  // namespace

void Snapshot::take(const Atom& atom, const Domain& domain) {
  const std::size_t n = count(atom);
  n_local_ = atom.nlocal;
  ids_.assign(atom.tag, atom.tag + n);
  types_.assign(atom.type, atom.type + n);
  positions_.resize(3 * n);
  if (n > 0) std::copy_n(atom.x[0], 3 * n, positions_.data());
  box_ = box_of(domain);
  taken_ = true;
}

bool Snapshot::same_atoms(const Atom& atom) const {
  return taken_ && n_local_ == atom.nlocal && ids_.size() == count(atom) && equal(ids_, atom.tag) &&
         equal(types_, atom.type);
}

bool Snapshot::same_place(const Atom& atom, const Domain& domain) const {
  return taken_ && positions_.size() == 3 * count(atom) && box_ == box_of(domain) &&
         (positions_.empty() || equal(positions_, atom.x[0]));
}

double Snapshot::largest_approach(const Atom& atom) const {
  double own2 = 0.0, any2 = 0.0;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    const double* const then = positions_.data() + 3 * i;
    const double* const now = atom.x[i];
    const double d[3] = {now[0] - then[0], now[1] - then[1], now[2] - then[2]};
    any2 = std::max(any2, d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    if (i + 1 == static_cast<std::size_t>(n_local_)) own2 = any2;
  }
  return std::sqrt(own2) + std::sqrt(any2);
}

}  // namespace mliuq_lammps
