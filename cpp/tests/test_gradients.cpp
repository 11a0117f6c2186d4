// Forces, virials, gradients of spreads and rows of forces against differences and against members evaluated one by
// one.

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "check.hpp"
#include "mliuq/error.hpp"
#include "mliuq/force_rows.hpp"
#include "mliuq/potential.hpp"
#include "mliuq/structure_spreads.hpp"
#include "scenes.hpp"

using namespace mliuq;

namespace {

ModelFile file(const SnapParams& params, int n_members, bool zbl) {
  ModelFile f{.params = params, .theta = scenes::random_theta(params, 1)};
  for (int m = 0; m < n_members; ++m) {
    const auto member = scenes::random_theta(params, 10 + m);
    f.members.insert(f.members.end(), member.begin(), member.end());
  }
  if (zbl) f.zbl = ZblRange{1.0, 3.1};
  return f;
}

std::vector<SnapParams> descriptors() {
  return {scenes::params(2, 3), scenes::params(2, 2, false, true), scenes::params(2, 4, false, true),
          scenes::params(2, 2, true)};
}

/// A crooked chain of two elements in which each atom sees a few others.
std::unique_ptr<PackedStructure> crooked_chain(int n) {
  std::vector<double> x;
  std::vector<int> species;
  for (int i = 0; i < n; ++i) {
    x.insert(x.end(), {1.6 * i, 0.4 * std::sin(1.0 * i), 0.3 * std::cos(2.0 * i)});
    species.push_back(i % 3 == 0);
  }
  return scenes::cluster(x, species, 2);
}

double energy_of(Potential& potential, const PackedStructure& structure) {
  double energy = 0.0;
  potential.evaluate(structure.neighbourhood(), structure.centres(), {.energy = &energy}, 1);
  return energy;
}

/// Energy-like functions of the positions, differentiated: along coordinates, or along strains.
using Value = std::function<double()>;

std::vector<double> differences(PackedStructure& structure, const Value& value, double h = 1e-5) {
  const std::vector<double> x(structure.neighbourhood().positions,
                              structure.neighbourhood().positions + 3 * structure.n_atoms());
  std::vector<double> slopes(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto moved = x;
    moved[i] = x[i] + h;
    structure.set_positions(moved);
    const double up = value();
    moved[i] = x[i] - h;
    structure.set_positions(moved);
    slopes[i] = (up - value()) / (2 * h);
  }
  structure.set_positions(x);
  return slopes;
}

constexpr int kFirst[6] = {0, 1, 2, 1, 0, 0}, kSecond[6] = {0, 1, 2, 2, 2, 1};  // Voigt

std::vector<double> strain_differences(PackedStructure& structure, const Value& value, double h = 1e-5) {
  const std::vector<double> x(structure.neighbourhood().positions,
                              structure.neighbourhood().positions + 3 * structure.n_atoms());
  std::vector<double> slopes(6);
  for (int v = 0; v < 6; ++v) {
    double values[2];
    for (int side = 0; side < 2; ++side) {
      auto moved = x;
      for (std::size_t i = 0; i < x.size(); i += 3) moved[i + kFirst[v]] += (side ? -h : h) * x[i + kSecond[v]];
      structure.set_positions(moved);
      values[side] = value();
    }
    slopes[v] = (values[0] - values[1]) / (2 * h);
  }
  structure.set_positions(x);
  return slopes;
}

void check_equal(const std::vector<double>& found, const std::vector<double>& expected, double tolerance) {
  double scale = 0.0;
  for (double x : expected) scale = std::max(scale, std::abs(x));
  CHECK(scale > 1e-3);
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK_NEAR(found[i], expected[i], tolerance * scale);
}

}  // namespace

TEST(gradients, forces_and_virials_are_differences_of_the_energy) {
  for (const SnapParams& p : descriptors())
    for (bool zbl : {false, true}) {
      Potential potential(file(p, 0, zbl));
      CHECK_NEAR(potential.cutoff(), zbl && p.max_cutoff() < 3.1 ? 3.1 : p.max_cutoff(), 1e-15);
      const auto structure = scenes::random_cluster(6, 2, 5);
      const std::size_t n = structure->n_atoms();
      double energy = 0.0, virial[6] = {};
      std::vector<double> energies(n), forces(3 * n, 0.0), atom_virials(6 * n, 0.0);
      potential.evaluate(structure->neighbourhood(), structure->centres(),
                         {.energy = &energy,
                          .atom_energies = energies.data(),
                          .forces = forces.data(),
                          .virial = virial,
                          .atom_virials = atom_virials.data()},
                         1);
      double sum = 0.0;
      for (double e : energies) sum += e;
      CHECK_NEAR(energy, sum, 1e-12);
      const auto value = [&] { return -energy_of(potential, *structure); };
      check_equal(forces, differences(*structure, value), 1e-6);
      check_equal({virial, virial + 6}, strain_differences(*structure, value), 1e-6);
      std::vector<double> together(6, 0.0);
      for (std::size_t i = 0; i < n; ++i)
        for (int v = 0; v < 6; ++v) together[v] += atom_virials[6 * i + v];
      check_equal(together, {virial, virial + 6}, 1e-10);
    }
}

TEST(gradients, of_spreads_are_differences_of_spreads) {
  for (const SnapParams& p : descriptors()) {
    Potential potential(file(p, 7, true));
    const auto structure = scenes::random_cluster(6, 2, 6);
    const int n = structure->n_atoms();
    std::vector<double> features(potential.model().theta().size()), std(n), scales(n);
    for (int i = 0; i < n; ++i) scales[i] = 0.5 + i;
    const auto cell = [&] {
      double energy = 0.0;
      potential.evaluate(structure->neighbourhood(), structure->centres(),
                         {.energy = &energy, .features = features.data()}, 1);
      return 1.7 * potential.cell_spread(features, energy).std;
    };
    const auto atoms = [&] {
      potential.evaluate(structure->neighbourhood(), structure->centres(), {.spreads = {.std = std.data()}}, 1);
      double sum = 0.0;
      for (int i = 0; i < n; ++i) sum += scales[i] * std[i];
      return sum;
    };
    for (int threads : {1, 3}) {
      cell();
      std::vector<double> found(3 * n, 2.0);
      potential.energy_std_gradient(structure->neighbourhood(), structure->centres(), features, 1.7, found.data(),
                                    threads);
      for (double& slope : found) slope -= 2.0;  // added to what was there
      check_equal(found, differences(*structure, cell), 1e-5);
      found.assign(3 * n, 2.0);
      potential.atom_std_gradient(structure->neighbourhood(), structure->centres(), scales.data(), found.data(),
                                  threads);
      for (double& slope : found) slope -= 2.0;
      check_equal(found, differences(*structure, atoms), 1e-5);
    }
  }
}

TEST(gradients, box_bounds_of_an_atom_are_those_of_its_row) {
  const SnapParams p = scenes::params(2, 2, false, true);
  ModelFile f = file(p, 5, true);
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  const std::size_t width = f.theta.size(), A = 3;
  PosteriorBox box{std::vector<double>(width * A), {-0.2, -1.0, 0.1}, {0.5, 0.3, 0.4}};
  for (double& x : box.axes) x = 1e-3 * normal(random);
  f.box = box;
  Potential potential(f);
  const auto structure = scenes::random_cluster(5, 2, 7);
  std::vector<double> energies(5), low(5), high(5), features(width);
  potential.evaluate(structure->neighbourhood(), structure->centres(),
                     {.atom_energies = energies.data(), .spreads = {.box_min = low.data(), .box_max = high.data()}}, 1);
  for (int i = 0; i < 5; ++i) {
    const std::vector<int> one = {i};
    potential.evaluate(structure->neighbourhood(), one, {.features = features.data()}, 1);
    double least = energies[i], most = energies[i];
    for (std::size_t k = 0; k < A; ++k) {
      double along = 0.0;
      for (std::size_t w = 0; w < width; ++w) along += features[w] * box.axes[w * A + k];
      least += std::min(box.lo[k] * along, box.hi[k] * along);
      most += std::max(box.lo[k] * along, box.hi[k] * along);
    }
    CHECK_NEAR(low[i], least, 1e-12);
    CHECK_NEAR(high[i], most, 1e-12);
    CHECK(high[i] - low[i] > 1e-4);
  }
}

TEST(gradients, spreads_of_forces_are_those_of_members_for_any_tile) {
  for (const SnapParams& p : descriptors()) {
    const ModelFile f = file(p, 4, true);
    Potential potential(f);
    // Three atoms and images of two of them: what an image feels is its owner's.
    const std::vector<double> x = {0.0, 0.1, 0.0, 1.9, 0.3, -0.2, 0.4, 1.6, 0.7, 2.6, 0.1, 0.0, -0.7, 0.3, -1.9};
    PackedStructure structure(x, {0, 1, 0, 0, 1}, {0, 1, 2, 0, 1}, {0, 4, 8, 12}, {1, 2, 3, 4, 0, 2, 3, 4, 0, 1, 3, 4},
                              2, 10.0);
    const auto forces_of = [&](Potential& of, std::vector<double>& strain) {
      std::vector<double> forces(15, 0.0);
      double virial[6] = {};
      of.evaluate(structure.neighbourhood(), structure.centres(), {.forces = forces.data(), .virial = virial}, 1);
      structure.fold(forces, 3);
      strain.clear();
      for (double v : virial) strain.push_back(-v);
      return std::vector<double>(forces.begin(), forces.begin() + 9);
    };
    std::vector<double> best_strain, strain;
    const auto best = forces_of(potential, best_strain);
    std::vector<std::vector<double>> moves, strain_moves;
    for (int m = 0; m < 4; ++m) {
      ModelFile own = f;
      own.theta.assign(f.members.begin() + m * f.theta.size(), f.members.begin() + (m + 1) * f.theta.size());
      own.members.clear();
      Potential member(own);
      moves.push_back(forces_of(member, strain));
      for (int i = 0; i < 9; ++i) moves[m][i] -= best[i];
      for (int v = 0; v < 6; ++v) strain[v] -= best_strain[v];
      strain_moves.push_back(strain);
    }
    for (int tile : {0, 1, 2})
      for (int threads : {1, 2}) {
        std::vector<double> std(9), least(9), most(9), committee(36), strain_std(6), strain_committee(24);
        structure_spreads(potential, structure, {std.data(), least.data(), most.data(), committee.data()},
                          {.std = strain_std.data(), .committee = strain_committee.data()}, threads, tile);
        for (int i = 0; i < 9; ++i) {
          double sum = 0.0, low = 1e300, high = -1e300;
          for (int m = 0; m < 4; ++m) {
            CHECK_NEAR(committee[m * 9 + i], moves[m][i], 1e-12);
            sum += moves[m][i] * moves[m][i];
            low = std::min(low, moves[m][i]);
            high = std::max(high, moves[m][i]);
          }
          CHECK_NEAR(std[i], std::sqrt(sum / 4), 1e-12);
          CHECK_NEAR(least[i], low, 1e-12);
          CHECK_NEAR(most[i], high, 1e-12);
          CHECK(std[i] > 1e-6);
        }
        for (int v = 0; v < 6; ++v) {
          double sum = 0.0;
          for (int m = 0; m < 4; ++m) {
            CHECK_NEAR(strain_committee[m * 6 + v], strain_moves[m][v], 1e-12);
            sum += strain_moves[m][v] * strain_moves[m][v];
          }
          CHECK_NEAR(strain_std[v], std::sqrt(sum / 4), 1e-12);
        }
      }
  }
  Potential bare(file(scenes::params(2, 2), 0, false));
  const auto structure = scenes::random_cluster(3, 2, 8);
  CHECK_THROWS(structure_spreads(bare, *structure, {}, {}), "without members");
}

TEST(gradients, spreads_of_a_structure_are_those_of_its_rows) {
  constexpr int n = 47;  // rows of some groups, and a part of one
  const auto structure = crooked_chain(n);
  for (const SnapParams& p : descriptors()) {
    Potential potential(file(p, 5, false));
    std::vector<int> row_of_atom(n);
    for (int i = 0; i < n; ++i) row_of_atom[i] = i;
    std::vector<double> rows(3 * n * potential.model().theta().size()), std(3 * n), most(3 * n), comm(15 * n);
    potential.accumulate_rows(structure->neighbourhood(), structure->centres(),
                              {.row_of_atom = row_of_atom.data(), .forces = rows.data(), .n_rows = n}, 1);
    potential.ensemble()->row_spreads(rows, {.std = std.data(), .most = most.data(), .committee = comm.data()});
    for (int tile : {0, 20})
      for (int threads : {1, 3}) {
        std::vector<double> std_found(3 * n), most_found(3 * n), comm_found(15 * n);
        structure_spreads(potential, *structure,
                          {.std = std_found.data(), .most = most_found.data(), .committee = comm_found.data()}, {},
                          threads, tile);
        for (int i = 0; i < 3 * n; ++i) {
          CHECK_NEAR(std_found[i], std[i], 1e-13);
          CHECK_NEAR(most_found[i], most[i], 1e-13);
        }
        for (int i = 0; i < 15 * n; ++i) CHECK_NEAR(comm_found[i], comm[i], 1e-13);
      }
  }
}

namespace {

/// Keeps the rows it is given where `RowTargets::forces` would have them.
class KeptRows : public RowSink {
 public:
  KeptRows(std::size_t n_rows, std::size_t row_size) : rows(n_rows * row_size), taken(n_rows), size_(row_size) {}

  void expect(int n_threads) override { rooms_.resize(n_threads, std::vector<double>(size_)); }
  double* room(int thread) override {
    std::fill(rooms_[thread].begin(), rooms_[thread].end(), std::nan(""));
    return rooms_[thread].data();
  }
  void take(int thread, int row) override {
    std::copy(rooms_[thread].begin(), rooms_[thread].end(), rows.begin() + row * static_cast<std::ptrdiff_t>(size_));
    ++taken[row];
  }

  std::vector<double> rows;
  std::vector<int> taken;

 private:
  std::size_t size_;
  std::vector<std::vector<double>> rooms_;
};

}  // namespace

TEST(gradients, rows_are_overwritten_in_any_number_of_batches) {
  constexpr int n = 1100;  // more than what is kept at a time
  const auto structure = crooked_chain(n);
  for (const SnapParams& p : descriptors()) {
    Potential potential(file(p, 0, false));
    std::vector<double> forces(3 * n, 0.0);
    potential.evaluate(structure->neighbourhood(), structure->centres(), {.forces = forces.data()}, 1);
    const auto theta = potential.model().theta();
    const std::size_t width = theta.size();
    std::vector<int> row_of_atom(n, -1);  // every other atom has a row, and there is one that is nobody's
    for (int i = 0; i < n; i += 2) row_of_atom[i] = i / 2 + 1;
    for (int threads : {1, 2}) {
      std::vector<double> rows(3 * (n / 2 + 1) * width, std::nan(""));
      potential.accumulate_rows(structure->neighbourhood(), structure->centres(),
                                {.row_of_atom = row_of_atom.data(), .forces = rows.data(), .n_rows = n / 2 + 1},
                                threads);
      for (std::size_t k = 0; k < 3 * width; ++k) CHECK(rows[k] == 0.0);
      KeptRows sink(n / 2 + 1, 3 * width);
      std::vector<double> waiting(rows.size(), std::nan(""));
      potential.accumulate_rows(
          structure->neighbourhood(), structure->centres(),
          {.row_of_atom = row_of_atom.data(), .forces = waiting.data(), .n_rows = n / 2 + 1, .sink = &sink}, threads);
      CHECK(sink.rows == rows);
      CHECK(std::ranges::all_of(sink.taken, [](int times) { return times == 1; }));
      for (int i = 0; i < n; i += 2)
        for (int c = 0; c < 3; ++c) {
          const double* const row = rows.data() + (3 * row_of_atom[i] + c) * width;
          double force = 0.0;
          for (std::size_t k = 0; k < width; ++k) force += row[k] * theta[k];
          CHECK_NEAR(force, forces[3 * i + c], 1e-11);
        }
    }
    CHECK(std::abs(forces[3]) > 1e-6);
  }
}

TEST(gradients, tiles_are_halves_along_the_longest_edge) {
  std::vector<double> x;
  for (int i = 0; i < 8; ++i) x.insert(x.end(), {0.1 * (i % 2), 1.3 * (7 - i), 0.2 * (i % 3)});
  const auto structure = scenes::cluster(x, std::vector<int>(8, 0), 1);
  const auto tiles = [&](int largest) {
    auto found = tiles_of_atoms(structure->neighbourhood(), structure->centres(), largest);
    std::sort(found.begin(), found.end());
    return found;
  };
  using Tiles = std::vector<std::vector<int>>;
  CHECK(tiles(8) == (Tiles{{0, 1, 2, 3, 4, 5, 6, 7}}));
  CHECK(tiles(7) == (Tiles{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  CHECK(tiles(2) == (Tiles{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
  CHECK(tiles(0).size() == 8);
  CHECK(tiles_of_atoms(structure->neighbourhood(), {}, 3).empty());
  CHECK(atoms_per_tile(1, 56, 1) == static_cast<int>((std::size_t{64} << 20) / (3 * 8 * 56)));
  CHECK(atoms_per_tile(2, 1000, 3) == static_cast<int>(3 * (std::size_t{64} << 20) / (3 * 8 * 2000)));
  CHECK(atoms_per_tile(100, 1'000'000, 1) == 1);
}
