#include "mliuq/structure_spreads.hpp"

#include <algorithm>
#include <string>

#include "mliuq/aligned.hpp"
#include "mliuq/error.hpp"
#include "row_group.hpp"
#include "threads.hpp"

namespace mliuq {
namespace {

/// Numbers before the first row: what lies behind the constant of a row, where ∂B go, begins a line of the cache.
constexpr std::size_t kLead = 7;

bool wanted(const MoveSpreads& out) { return out.needs_members() || out.needs_box(); }

/// Spreads of the forces on a structure's atoms from their rows, as they come: a thread gathers those of a few atoms,
/// which lie in a near cache until they are packed.
class SpreadingSink : public RowSink {
 public:
  SpreadingSink(const Ensemble& ensemble, const MoveSpreads& out, std::size_t n_owned)
      : ensemble_(ensemble), out_(out), n_(3 * n_owned) {}

  /// From now on row k is of the k-th of these atoms.
  void begin(std::span<const int> tile) { tile_ = tile; }

  void expect(int n_threads) override {
    while (static_cast<int>(parts_.size()) < n_threads) parts_.emplace_back(ensemble_, out_, n_);
  }

  double* room(int thread) override { return parts_[thread].next_row(); }

  void take(int thread, int row) override {
    Part& part = parts_[thread];
    for (std::size_t x = 0; x < 3; ++x) part.places.push_back(3 * static_cast<std::size_t>(tile_[row]) + x);
    while (part.places.size() >= part.group.square()) part.add(part.group.square());
  }

  /// What has not filled a group.
  void end() {
    for (Part& part : parts_) {
      part.add(part.places.size());
      part.group.end();
    }
    require_finite_spreads(out_, n_);
  }

 private:
  struct Part {
    RowGroup group;
    AlignedVector<double> rows;  ///< a square, and what an atom may have beyond it
    std::vector<std::size_t> places;

    Part(const Ensemble& ensemble, const MoveSpreads& out, std::size_t n)
        : group(ensemble, out, n), rows(kLead + (group.square() + 2) * group.width()) {}

    double* next_row() { return rows.data() + kLead + places.size() * group.width(); }

    void add(std::size_t count) {
      const std::size_t width = group.width();
      double* const first = rows.data() + kLead;
      group.add(first, std::span(places).first(count));
      std::copy(first + count * width, first + places.size() * width, first);
      places.erase(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(count));
    }
  };

  const Ensemble& ensemble_;
  const MoveSpreads& out_;
  std::size_t n_;
  std::span<const int> tile_;
  std::vector<Part> parts_;
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
    SpreadingSink spreads(*ensemble, forces, structure.n_owned());
    targets.sink = &spreads;
    for (const std::vector<int>& tile : tiles_of_atoms(atoms, structure.centres(), largest)) {
      std::fill(row_of_atom.begin(), row_of_atom.end(), -1);
      for (std::size_t a = 0; a < tile.size(); ++a) row_of_atom[tile[a]] = static_cast<int>(a);
      for (int i = structure.n_owned(); i < structure.n_atoms(); ++i)
        row_of_atom[i] = row_of_atom[structure.owners()[i]];
      targets.forces = room_of_rows.of(3 * width * tile.size() + kLead) + kLead;
      targets.n_rows = static_cast<int>(tile.size());
      spreads.begin(tile);
      potential.accumulate_rows(atoms, structure.centres(), targets, n_threads);
      targets.strain = nullptr;  // the first tile has seen every centre
    }
    spreads.end();
  }
  if (targets.strain) potential.accumulate_rows(atoms, structure.centres(), nothing, n_threads);
  if (wanted(strain)) ensemble->row_spreads(strain_rows, strain, 1);
}

}  // namespace mliuq
