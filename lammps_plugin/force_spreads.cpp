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

void ForceSpreads::find_owners(const Atoms& atoms) {
  std::unordered_map<LAMMPS_NS::tagint, int> own;
  own.reserve(atoms.n_local);
  for (int i = 0; i < atoms.n_local; ++i) own.emplace(atoms.ids[i], i);
  const int n_atoms = atoms.neighbours.n_atoms;
  own_of_atom_.resize(n_atoms);
  for (int i = 0; i < n_atoms; ++i) {
    const auto found = own.find(atoms.ids[i]);
    own_of_atom_[i] = found == own.end() ? -1 : found->second;
  }
}

void ForceSpreads::make_tiles(const mliuq::Potential& potential, const Atoms& atoms, int n_threads, MPI_Comm world) {
  const mliuq::EnergyModel& model = potential.model();
  tile_of_atom_.assign(atoms.neighbours.n_atoms, -1);
  n_tiles_ = 0;
  if (atoms.usable) {
    find_owners(atoms);
    // Images of other ranks' atoms take rows too: a tile of local atoms is smaller by their share.
    const int n_local = atoms.n_local;
    const auto n_foreign = std::count(own_of_atom_.begin(), own_of_atom_.end(), -1);
    const double share = n_local > 0 ? static_cast<double>(n_local) / static_cast<double>(n_local + n_foreign) : 1.0;
    const int room = mliuq::atoms_per_tile(model.n_elements(), model.n_weights(), std::max(n_threads, 1));
    const int largest = std::max(1, static_cast<int>(share * room));
    for (const std::vector<int>& tile : mliuq::tiles_of_atoms(atoms.neighbours, atoms.centres, largest)) {
      for (const int i : tile) tile_of_atom_[i] = n_tiles_;
      ++n_tiles_;
    }
    centres_.assign(atoms.centres.begin(), atoms.centres.end());
  }
  forward_();
  MPI_Allreduce(MPI_IN_PLACE, &n_tiles_, 1, MPI_INT, MPI_MAX, world);
}

ForceSpreads::ForceOutcome ForceSpreads::evaluate_forces(mliuq::Potential& potential, const Atoms& atoms,
                                                         const ListNumber& list, bool anew, int n_threads,
                                                         MPI_Comm world) {
  width_ = 3 * potential.model().theta().size();
  const int n_atoms = atoms.neighbours.n_atoms, n_local = atoms.n_local;
  force_std_.assign(3 * static_cast<std::size_t>(n_local), 0.0);
  if (anew || list_ != list) make_tiles(potential, atoms, n_threads, world);
  list_ = list;
  const bool usable = atoms.usable && static_cast<int>(tile_of_atom_.size()) == n_atoms &&
                      std::equal(centres_.begin(), centres_.end(), atoms.centres.begin(), atoms.centres.end());
  int n_ranks = 1;
  MPI_Comm_size(world, &n_ranks);

  std::string problem;
  for (int t = 0; t < n_tiles_; ++t) {
    row_of_atom_.assign(n_atoms, -1);
    local_.clear();
    int n_rows = 0;
    for (int i = 0; usable && i < n_atoms; ++i) {
      if (tile_of_atom_[i] != t) continue;
      const bool image = i >= n_local && own_of_atom_[i] >= 0;
      row_of_atom_[i] = image ? row_of_atom_[own_of_atom_[i]] : n_rows++;
      if (i < n_local) local_.push_back(i);
    }
    rows_.resize(n_rows * width_);
    std::string failed;
    if (usable) {
      failed = problem_of([&] {
        potential.accumulate_rows(atoms.neighbours, atoms.centres,
                                  {.row_of_atom = row_of_atom_.data(), .forces = rows_.data(), .n_rows = n_rows},
                                  n_threads);
      });
    }
    // Other ranks add what is here to their own.
    if (!usable || !failed.empty()) std::fill(rows_.begin(), rows_.end(), 0.0);
    for (first_column_ = 0; n_ranks > 1 && first_column_ < width_; first_column_ += kRowBlock) {
      n_columns_ = std::min<std::size_t>(kRowBlock, width_ - first_column_);
      reverse_(static_cast<int>(n_columns_));
    }
    if (problem.empty()) problem = failed;
    if (!problem.empty()) continue;  // the other ranks wait for this one's messages
    tile_std_.resize(3 * local_.size());
    problem = problem_of([&] {
      potential.ensemble()->row_spreads(std::span(rows_).first(local_.size() * width_), {.std = tile_std_.data()},
                                        n_threads);
    });
    for (std::size_t a = 0; a < local_.size(); ++a)
      std::copy_n(tile_std_.data() + 3 * a, 3, force_std_.data() + 3 * static_cast<std::size_t>(local_[a]));
  }
  return {usable, problem};
}

ForceSpreads::StrainOutcome ForceSpreads::evaluate_strain(mliuq::Potential& potential, const Atoms& atoms, bool sound,
                                                          int n_threads, MPI_Comm world) {
  const std::size_t width = potential.model().theta().size();
  strain_rows_.assign(7 * width, 0.0);
  StrainOutcome outcome{};
  if (atoms.usable) {
    row_of_atom_.assign(atoms.neighbours.n_atoms, -1);
    outcome.problem = problem_of([&] {
      potential.accumulate_rows(atoms.neighbours, atoms.centres,
                                {.row_of_atom = row_of_atom_.data(), .strain = strain_rows_.data()}, n_threads);
    });
  }
  // Beside the six rows, where that of the mean comes later: how many ranks were not usable, how many have a problem.
  double* const rows = strain_rows_.data();
  double* const counts = rows + 6 * width;
  counts[0] = atoms.usable ? 0.0 : 1.0;
  counts[1] = sound && outcome.problem.empty() ? 0.0 : 1.0;
  MPI_Allreduce(MPI_IN_PLACE, rows, static_cast<int>(6 * width) + 2, MPI_DOUBLE, MPI_SUM, world);
  outcome.complete = counts[0] == 0.0;
  outcome.sound = counts[1] == 0.0;
  for (std::size_t p = 0; p < width; ++p) counts[p] = (rows[p] + rows[width + p] + rows[2 * width + p]) / 3.0;
  if (outcome.complete && outcome.sound) {
    outcome.problem =
        problem_of([&] { potential.ensemble()->row_spreads(strain_rows_, {.std = strain_std_.data()}, 1); });
    outcome.sound = outcome.problem.empty();
  }
  return outcome;
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
