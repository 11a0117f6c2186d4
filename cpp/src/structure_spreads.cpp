#include "mliuq/structure_spreads.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "aligned.hpp"
#include "mliuq/error.hpp"
#include "threads.hpp"

namespace mliuq {
namespace {

/// Numbers before the first row: what lies behind the constant of a row, where ∂B go, begins a line of the cache.
constexpr std::size_t kLead = 7;

bool wanted(const MoveSpreads& out) { return out.needs_members() || out.needs_box(); }

/// Spreads of the forces on a tile's atoms, put where the structure has them.
class TileSpreads {
 public:
  TileSpreads(const Ensemble& ensemble, const MoveSpreads& out, std::size_t n_owned)
      : ensemble_(ensemble), out_(out), n_owned_(n_owned) {}

  void put(std::span<const double> rows, std::span<const int> tile, int n_threads) {
    if (tile.size() == n_owned_) {  // in order: tiles rise
      ensemble_.row_spreads(rows, out_, n_threads);
      return;
    }
    const std::size_t n = 3 * tile.size(), M = ensemble_.n_members();
    const auto room = [&](const double* target, std::vector<double>& own, std::size_t size) {
      own.resize(target ? size : 0);
      return target ? own.data() : nullptr;
    };
    MoveSpreads part;
    for (std::size_t s = 0; s < kSingle.size(); ++s) part.*kSingle[s] = room(out_.*kSingle[s], single_[s], n);
    part.committee = room(out_.committee, committee_, M * n);
    ensemble_.row_spreads(rows, part, n_threads);
    for (std::size_t a = 0; a < tile.size(); ++a) {
      const std::size_t to = 3 * static_cast<std::size_t>(tile[a]);
      for (std::size_t s = 0; s < kSingle.size(); ++s)
        if (part.*kSingle[s]) std::copy_n(part.*kSingle[s] + 3 * a, 3, out_.*kSingle[s] + to);
      if (part.committee)
        for (std::size_t m = 0; m < M; ++m)
          std::copy_n(part.committee + m * n + 3 * a, 3, out_.committee + m * 3 * n_owned_ + to);
    }
  }

 private:
  static constexpr std::array<double* MoveSpreads::*, 5> kSingle = {
      &MoveSpreads::std, &MoveSpreads::least, &MoveSpreads::most, &MoveSpreads::box_least, &MoveSpreads::box_most};

  const Ensemble& ensemble_;
  const MoveSpreads& out_;
  std::size_t n_owned_;
  std::array<std::vector<double>, kSingle.size()> single_;
  std::vector<double> committee_;
};

}  // namespace

void structure_spreads(Potential& potential, const PackedStructure& structure, const MoveSpreads& forces,
                       const MoveSpreads& strain, int n_threads, int largest_tile) {
  const Ensemble* const ensemble = potential.ensemble();
  if (!ensemble) throw Error("spreads were asked of a model without members, expected a model fitted with a posterior");
  const Neighbourhood& atoms = structure.neighbourhood();
  for (int i : structure.centres())
    if (atoms.species(i) < 0) throw Error("spreads: atom " + atoms.name(i) + " is of no element of the model");
  const EnergyModel& model = potential.model();
  const std::size_t width = model.theta().size();
  std::vector<double> strain_rows(wanted(strain) ? 6 * width : 0);
  AlignedRoom<double> room_of_rows;
  std::vector<int> row_of_atom(structure.n_atoms(), -1);
  const RowTargets nothing{.row_of_atom = row_of_atom.data(),
                           .strain = strain_rows.empty() ? nullptr : strain_rows.data()};
  RowTargets targets = nothing;
  if (wanted(forces)) {
    const int room = atoms_per_tile(model.n_elements(), model.n_weights(), team_size(n_threads, structure.n_owned()));
    const int largest = largest_tile > 0 ? largest_tile : room;
    TileSpreads spreads(*ensemble, forces, structure.n_owned());
    for (const std::vector<int>& tile : tiles_of_atoms(atoms, structure.centres(), largest)) {
      std::fill(row_of_atom.begin(), row_of_atom.end(), -1);
      for (std::size_t a = 0; a < tile.size(); ++a) row_of_atom[tile[a]] = static_cast<int>(a);
      for (int i = structure.n_owned(); i < structure.n_atoms(); ++i)
        row_of_atom[i] = row_of_atom[structure.owners()[i]];
      const std::size_t size = 3 * width * tile.size();
      targets.forces = room_of_rows.of(size + kLead) + kLead;
      targets.n_rows = static_cast<int>(tile.size());
      potential.accumulate_rows(atoms, structure.centres(), targets, n_threads);
      spreads.put({targets.forces, size}, tile, n_threads);
      targets.strain = nullptr;  // the first tile has seen every centre
    }
  }
  if (targets.strain) potential.accumulate_rows(atoms, structure.centres(), nothing, n_threads);
  if (wanted(strain)) ensemble->row_spreads(strain_rows, strain, 1);
}

}  // namespace mliuq
