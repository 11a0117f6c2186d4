// SPDX-License-Identifier: GPL-2.0-only

#include "force_spreads.hpp"

#include <algorithm>
#include <exception>
#include <unordered_map>

namespace mliuq_lammps {

namespace {

/// What went wrong in `work`, or nothing.
template <class Work>
std::string problem_of(Work&& work) {
  try {
    work();
    return {};
  } catch (const std::exception& e) {
    return e.what();
  }
}

}  // namespace

void ForceSpreads::find_owners(const LAMMPS_NS::tagint* ids, int n_atoms, int n_local) {
  std::unordered_map<LAMMPS_NS::tagint, int> own;
  own.reserve(n_local);
  for (int i = 0; i < n_local; ++i) own.emplace(ids[i], i);
  own_of_atom_.resize(n_atoms);
  for (int i = 0; i < n_atoms; ++i) {
    const auto found = own.find(ids[i]);
    own_of_atom_[i] = found == own.end() ? -1 : found->second;
  }
}

std::string ForceSpreads::evaluate_forces(mliuq::Potential& potential, const mliuq::Neighbourhood& atoms,
                                          std::span<const int> centres, const LAMMPS_NS::tagint* ids, int n_local,
                                          int n_threads, MPI_Comm world) {
  const mliuq::EnergyModel& model = potential.model();
  width_ = 3 * model.theta().size();
  force_std_.assign(3 * static_cast<std::size_t>(n_local), 0.0);

  find_owners(ids, atoms.n_atoms, n_local);
  int n_ranks = 1;
  MPI_Comm_size(world, &n_ranks);

  // Images of other ranks' atoms take rows too: a tile of local atoms is smaller by their share.
  const auto n_foreign = std::count(own_of_atom_.begin(), own_of_atom_.end(), -1);
  const double share = n_local > 0 ? static_cast<double>(n_local) / static_cast<double>(n_local + n_foreign) : 1.0;
  const int room = mliuq::atoms_per_tile(model.n_elements(), model.n_weights(), std::max(n_threads, 1));
  const auto tiles = mliuq::tiles_of_atoms(atoms, centres, std::max(1, static_cast<int>(share * room)));
  tile_of_atom_.assign(atoms.n_atoms, -1);
  for (std::size_t t = 0; t < tiles.size(); ++t)
    for (const int i : tiles[t]) tile_of_atom_[i] = static_cast<int>(t);
  forward_();
  int n_tiles = static_cast<int>(tiles.size());
  MPI_Allreduce(MPI_IN_PLACE, &n_tiles, 1, MPI_INT, MPI_MAX, world);

  std::string problem;
  std::vector<int> local;
  std::vector<double> std;
  for (int t = 0; t < n_tiles; ++t) {
    row_of_atom_.assign(atoms.n_atoms, -1);
    local.clear();
    int n_rows = 0;
    for (int i = 0; i < atoms.n_atoms; ++i) {
      if (tile_of_atom_[i] != t) continue;
      const bool image = i >= n_local && own_of_atom_[i] >= 0;
      row_of_atom_[i] = image ? row_of_atom_[own_of_atom_[i]] : n_rows++;
      if (i < n_local) local.push_back(i);
    }
    rows_.assign(n_rows * width_, 0.0);
    const std::string failed = problem_of([&] {
      potential.accumulate_rows(
          atoms, centres, {.row_of_atom = row_of_atom_.data(), .forces = rows_.data(), .n_rows = n_rows}, n_threads);
    });
    for (first_column_ = 0; n_ranks > 1 && first_column_ < width_; first_column_ += kRowBlock) {
      n_columns_ = std::min<std::size_t>(kRowBlock, width_ - first_column_);
      reverse_(static_cast<int>(n_columns_));
    }
    if (problem.empty()) problem = failed;
    if (!problem.empty()) continue;  // the other ranks wait for this one's messages
    std.resize(3 * local.size());
    problem = problem_of([&] {
      potential.ensemble()->row_spreads(std::span(rows_).first(local.size() * width_), {.std = std.data()}, n_threads);
    });
    for (std::size_t a = 0; a < local.size(); ++a)
      std::copy_n(std.data() + 3 * a, 3, force_std_.data() + 3 * static_cast<std::size_t>(local[a]));
  }
  rows_ = {};
  return problem;
}

std::string ForceSpreads::evaluate_strain(mliuq::Potential& potential, const mliuq::Neighbourhood& atoms,
                                          std::span<const int> centres, int n_threads, MPI_Comm world) {
  const std::size_t width = potential.model().theta().size();
  std::vector<double> rows(7 * width, 0.0);
  row_of_atom_.assign(atoms.n_atoms, -1);
  std::string problem = problem_of([&] {
    potential.accumulate_rows(atoms, centres, {.row_of_atom = row_of_atom_.data(), .strain = rows.data()}, n_threads);
  });
  MPI_Allreduce(MPI_IN_PLACE, rows.data(), static_cast<int>(6 * width), MPI_DOUBLE, MPI_SUM, world);
  for (std::size_t p = 0; p < width; ++p) rows[6 * width + p] = (rows[p] + rows[width + p] + rows[2 * width + p]) / 3.0;
  if (problem.empty())
    problem = problem_of([&] { potential.ensemble()->row_spreads(rows, {.std = strain_std_.data()}, 1); });
  return problem;
}

int ForceSpreads::pack_forward(int n, const int* list, double* buffer) const {
  for (int k = 0; k < n; ++k) buffer[k] = tile_of_atom_[list[k]];
  return n;
}

void ForceSpreads::unpack_forward(int n, int first, const double* buffer) {
  for (int k = 0; k < n; ++k) tile_of_atom_[first + k] = static_cast<int>(buffer[k]);
}

int ForceSpreads::pack_reverse(int n, int first, double* buffer) const {
  for (int i = first; i < first + n; ++i, buffer += n_columns_) {
    if (row_of_atom_[i] < 0 || own_of_atom_[i] >= 0)
      std::fill_n(buffer, n_columns_, 0.0);
    else
      std::copy_n(rows_.data() + row_of_atom_[i] * width_ + first_column_, n_columns_, buffer);
  }
  return n * static_cast<int>(n_columns_);
}

void ForceSpreads::unpack_reverse(int n, const int* list, const double* buffer) {
  for (int k = 0; k < n; ++k, buffer += n_columns_) {
    if (row_of_atom_[list[k]] < 0) continue;
    double* const row = rows_.data() + row_of_atom_[list[k]] * width_ + first_column_;
    for (std::size_t c = 0; c < n_columns_; ++c) row[c] += buffer[c];
  }
}

}  // namespace mliuq_lammps
