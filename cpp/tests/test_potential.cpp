// Descriptor, model, ensemble and repulsion put together; structures as Python packs them; design rows.

#include <algorithm>
#include <limits>
#include <random>

#include "check.hpp"
#include "mliuq/design_rows.hpp"
#include "mliuq/error.hpp"
#include "mliuq/packed_structure.hpp"
#include "mliuq/potential.hpp"
#include "scenes.hpp"

using namespace mliuq;
using scenes::Scene;

namespace {

ModelFile file(const SnapParams& params, int n_members, bool zbl = false, bool factor = false) {
  ModelFile f{.params = params, .theta = scenes::random_theta(params, 1)};
  for (int m = 0; m < n_members; ++m) {
    const auto member = scenes::random_theta(params, 10 + m);
    f.members.insert(f.members.end(), member.begin(), member.end());
  }
  if (zbl) f.zbl = ZblRange{1.0, 3.5};
  if (factor) {
    const std::size_t n = f.theta.size();
    f.extrapolation_factor.assign(n * n, 0.0);
    for (std::size_t i = 0; i < n; ++i) f.extrapolation_factor[i * n + i] = 2.0;
  }
  return f;
}

struct Output {
  explicit Output(std::size_t n, std::size_t n_theta)
      : energies(n, 0.0),
        forces(3 * n, 0.0),
        std(n, 0.0),
        min(n, 0.0),
        max(n, 0.0),
        extrapolation(n, 0.0),
        atom_virials(6 * n, 0.0),
        virial(6, 0.0),
        features(n_theta, 7.0) {}

  PotentialOutput pointers() {
    return {.energy = &energy,
            .atom_energies = energies.data(),
            .forces = forces.data(),
            .virial = virial.data(),
            .atom_virials = atom_virials.data(),
            .spreads = {std.data(), min.data(), max.data()},
            .extrapolation = extrapolation.data(),
            .features = features.data()};
  }

  double energy = 7.0;
  std::vector<double> energies, forces, std, min, max, extrapolation, atom_virials, virial, features;
};

void check_equal(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  double scale = 1.0;
  for (double x : b) scale = std::max(scale, std::abs(x));
  for (std::size_t i = 0; i < b.size(); ++i) CHECK_NEAR(a[i], b[i], tolerance * scale);
}

}  // namespace

TEST(potential, spreads_that_no_threshold_can_meet_are_errors) {
  const SnapParams p = scenes::params(1, 2);
  const Scene scene(5, {6}, 1, 31);
  for (double absurd : {1e154, -1e200, 1e300}) {
    ModelFile f = file(p, 5);
    f.members[2 * f.theta.size() + 3] = absurd;
    Potential potential(f);
    Output all(scene.n_atoms(), potential.model().theta().size());
    PotentialOutput out = all.pointers();
    out.extrapolation = nullptr;
    out.spreads = {.std = all.std.data()};
    CHECK_THROWS(potential.evaluate(scene.view(), scene.centres, out), "the spread of the energy of atom");
    out.spreads = {};
    potential.evaluate(scene.view(), scene.centres, out);  // what was not asked for is not judged
    if (absurd > 0.0)
      CHECK_THROWS(potential.cell_spread(all.features, all.energy), "the spread of the energy of the cell");
  }
  CHECK_THROWS(require_spread({0.0, 1.0, 0.5}, "x"), "the spread of x over the members is std 0, min 1, max 0.5");
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1.0})
    CHECK_THROWS(require_spread({bad, 0.0, 0.0}, "x"), "expected finite numbers in order");
  require_spread({0.0, -1.0, -1.0}, "x");
}

TEST(potential, structures_of_another_model_are_refused) {
  const SnapParams two = scenes::params(2, 2), one = scenes::params(1, 2);
  const PackedStructure structure({0, 0, 0, 2.5, 0, 0}, {0, 1}, {0, 1}, {0, 1, 2}, {1, 0}, 2, 0.0);
  for (InstructionSet set : available_instruction_sets()) {
    Potential potential(file(one, 0), {set});
    CHECK_THROWS(potential.evaluate(structure.neighbourhood(), structure.centres(), {}),
                 "atom 1 (counted from 0) is of element number 2, the model has 1");
  }
  std::vector<double> rows(100 * two.n_weights());
  CHECK_THROWS(RowBuilder(one, KernelChoice::automatic()).build(structure, {}, rows), "packed for another model");
  const auto kernel = make_kernel(one, EnergyModel::zero(1, one.n_components()), KernelChoice::automatic());
  CHECK_THROWS(compute_descriptors(*kernel, one, structure, rows, nullptr), "packed for another model");
}

TEST(potential, absurd_counts_of_threads_are_refused) {
  const SnapParams p = scenes::params(1, 2);
  const Scene scene(5, {6}, 1, 31);
  Potential potential(file(p, 0));
  CHECK_THROWS(potential.evaluate(scene.view(), scene.centres, {}, 100'000), "threads is 100000, expected at most");
}

TEST(potential, one_and_many_threads) {
  const SnapParams p = scenes::params(2, 2);
  const Scene scene(331, {6, 0, 11, 3}, 2, 21);
  Potential potential(file(p, 5, true, true));
  Output one(scene.n_atoms(), potential.model().theta().size());
  potential.evaluate(scene.view(), scene.centres, one.pointers(), 1);
  for (int threads : {2, 3, 5, 16}) {
    Output many(scene.n_atoms(), potential.model().theta().size());
    potential.evaluate(scene.view(), scene.centres, many.pointers(), threads);
    CHECK(many.energies == one.energies && many.std == one.std && many.min == one.min && many.max == one.max);
    CHECK(many.extrapolation == one.extrapolation);
    CHECK_NEAR(many.energy, one.energy, 1e-10);
    check_equal(many.forces, one.forces, 1e-12);
    check_equal(many.virial, one.virial, 1e-12);
    check_equal(many.atom_virials, one.atom_virials, 1e-12);
    check_equal(many.features, one.features, 1e-12);
  }
}

TEST(potential, cell_spread_and_committee_from_summed_features) {
  const SnapParams p = scenes::params(2, 2, false, true);
  const Scene scene(9, {8, 4}, 2, 22);
  const ModelFile f = file(p, 4, true);
  Potential potential(f);
  Output all(scene.n_atoms(), f.theta.size());
  PotentialOutput wanted = all.pointers();
  wanted.extrapolation = nullptr;
  potential.evaluate(scene.view(), scene.centres, wanted, 1);
  std::vector<double> committee(4);
  potential.committee(all.features, all.energy, committee);
  double sum = 0.0;
  for (int m = 0; m < 4; ++m) {
    ModelFile own = f;
    own.theta.assign(f.members.begin() + m * f.theta.size(), f.members.begin() + (m + 1) * f.theta.size());
    own.members.clear();
    Potential member(own);
    double energy = 0.0;
    member.evaluate(scene.view(), scene.centres, {.energy = &energy}, 1);
    CHECK_NEAR(committee[m], energy, 1e-10);
    sum += (energy - all.energy) * (energy - all.energy);
  }
  const Spread spread = potential.cell_spread(all.features, all.energy);
  CHECK_NEAR(spread.std, std::sqrt(sum / 4), 1e-10);
  CHECK(spread.min == *std::min_element(committee.begin(), committee.end()));
  CHECK(spread.max == *std::max_element(committee.begin(), committee.end()));
  CHECK_NEAR(energy_error({.alpha_energy = 2.0, .noise_energy = 0.1}, 0.3, 5), std::hypot(0.6, 0.5), 1e-15);
}

TEST(potential, centres_of_no_element_are_skipped) {
  const SnapParams p = scenes::params(1, 2);
  Scene scene(6, {5}, 1, 23);
  Potential potential(file(p, 2));
  Output before(scene.n_atoms(), potential.model().theta().size());
  PotentialOutput wanted = before.pointers();
  wanted.extrapolation = nullptr;
  potential.evaluate(scene.view(), scene.centres, wanted, 1);
  scene.types[2] = 0;
  Output after(scene.n_atoms(), potential.model().theta().size());
  wanted = after.pointers();
  wanted.extrapolation = nullptr;
  potential.evaluate(scene.view(), scene.centres, wanted, 1);
  CHECK(after.energies[2] == 0.0 && after.std[2] == 0.0);
  CHECK_NEAR(after.energy, before.energy - before.energies[2], 1e-12);
  potential.evaluate(scene.view(), {}, {.energy = &after.energy}, 3);
  CHECK(after.energy == 0.0);
}

TEST(potential, errors_and_recovery) {
  const SnapParams p = scenes::params(1, 2);
  Scene scene(200, {5}, 1, 24);
  Potential bare(file(p, 0)), with_members(file(p, 3));
  std::vector<double> values(scene.n_atoms());
  double energy = 0.0, expected = 0.0;
  CHECK_THROWS(bare.evaluate(scene.view(), scene.centres, {.spreads = {.std = values.data()}}), "without members");
  CHECK_THROWS(bare.cell_spread(std::vector<double>(bare.model().theta().size()), 0.0), "without members");
  CHECK_THROWS(with_members.evaluate(scene.view(), scene.centres, {.extrapolation = values.data()}),
               "no extrapolation.factor");
  bare.evaluate(scene.view(), scene.centres, {.energy = &expected}, 3);
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const double good = scene.positions[3 * 150 + 1];
    scene.positions[3 * 150 + 1] = bad;
    CHECK_THROWS(bare.evaluate(scene.view(), scene.centres, {.energy = &energy}, 3),
                 "position of atom 150 (counted from 0) is not finite");
    scene.positions[3 * 150 + 1] = good;
    bare.evaluate(scene.view(), scene.centres, {.energy = &energy}, 3);
    CHECK(energy == expected);
  }
  ModelFile huge = file(p, 0);
  for (double& weight : huge.theta) weight = 1e308;
  Potential exploding(huge);
  CHECK_THROWS(exploding.evaluate(scene.view(), scene.centres, {.energy = &energy}, 2), "is not a finite number");
  ModelFile wrong = file(p, 0);
  wrong.theta.pop_back();
  CHECK_THROWS(Potential(wrong), "weights, expected");
}

TEST(potential, packed_structures_are_checked) {
  const auto pack = [](std::vector<double> x, std::vector<int> species, std::vector<int> owners,
                       std::vector<int> offsets, std::vector<int> indices) {
    return PackedStructure(std::move(x), std::move(species), std::move(owners), std::move(offsets), std::move(indices),
                           2, 1.0);
  };
  const std::vector<double> x(9, 0.5);
  pack(x, {0, 1, -1}, {0, 1, 0}, {0, 2, 3}, {1, 2, 0});
  CHECK_THROWS(pack({1.0}, {0, 1, 0}, {0, 1, 0}, {0, 0, 0}, {}), "1 coordinates and 3 owners for 3 atoms");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1}, {0, 0, 0}, {}), "2 owners for 3 atoms");
  CHECK_THROWS(pack(x, {0, 2, 0}, {0, 1, 0}, {0, 0, 0}, {}), "species 2, expected -1 to 1");
  CHECK_THROWS(pack(x, {0, -2, 0}, {0, 1, 0}, {0, 0, 0}, {}), "species -2");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 2}, {0, 0, 0}, {}), "owner 2, expected 0 to 1");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 0}, {0, 2, 1}, {1}), "offsets must rise");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 0}, {0, 1, 2}, {1}), "offsets must rise");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 0}, {1, 1}, {1}), "offsets must rise");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 0}, {}, {}), "offsets must rise");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 0}, {0, 0, 0, 0, 0}, {}), "4 owned atoms among 3");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 0}, {0, 1, 1}, {3}), "neighbour 3, expected 0 to 2");
  CHECK_THROWS(pack(x, {0, 1, 0}, {0, 1, 0}, {0, 1, 1}, {-1}), "neighbour -1");
  PackedStructure moved(x, {0, 1, 0}, {0, 1, 0}, {0, 0, 0}, {}, 2, 1.0);
  CHECK_THROWS(moved.set_positions(std::vector<double>(8)), "8 coordinates, expected 9");
}

TEST(potential, unfolded_pairs) {
  // Two atoms in a box, listed after the second was moved by a cell along x, in cell vectors a + b, b, c.
  const std::vector<double> x = {0.5, 0.5, 0.5, 3.5, 0.5, 0.5}, cell = {4.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 6.0};
  const std::vector<int> species = {1, 0};
  std::vector<std::uint64_t> pairs = {1, 0, 0, 0, 1, 0, 0, 1};
  std::vector<std::int64_t> shifts = {0, 0, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0}, basis = {1, 1, 0, 0, 1, 0, 0, 0, 1},
                            wraps = {0, 0, 0, 1, 0, 0};
  const auto list = [&] { return PeriodicPairs{x, species, cell, pairs, shifts, basis, wraps}; };
  PackedStructure structure(unfold(list()), 2, 120.0);
  // Images: of atom 0 by −1, +1 and +2 cells, of atom 1 by −2 and −1; the last pair stays in the cell.
  CHECK(structure.n_owned() == 2 && structure.n_atoms() == 7);
  const std::vector<int> owners(structure.owners().begin(), structure.owners().end());
  CHECK(owners == (std::vector<int>{0, 1, 0, 0, 0, 1, 1}));
  const Neighbourhood& atoms = structure.neighbourhood();
  CHECK(std::vector<double>(atoms.positions + 6, atoms.positions + 21) ==
        (std::vector<double>{-3.5, 0.5, 0.5, 4.5, 0.5, 0.5, 8.5, 0.5, 0.5, -4.5, 0.5, 0.5, -0.5, 0.5, 0.5}));
  CHECK(std::vector<int>(atoms.types, atoms.types + 7) == (std::vector<int>{1, 0, 1, 1, 1, 0, 0}));
  CHECK(atoms.n_neighbours[0] == 5 && atoms.n_neighbours[1] == 3);
  CHECK(std::vector<int>(atoms.neighbours[0], atoms.neighbours[0] + 5) == (std::vector<int>{6, 3, 2, 5, 1}));
  CHECK(std::vector<int>(atoms.neighbours[1], atoms.neighbours[1] + 3) == (std::vector<int>{3, 4, 0}));
  structure.move_owned(std::vector<double>{0.0, 0.1, 0.2, 3.0, 3.1, 3.2});
  CHECK(std::vector<double>(atoms.positions, atoms.positions + 21) ==
        (std::vector<double>{0.0, 0.1, 0.2, 3.0, 3.1,  3.2, -4.0, 0.1,  0.2, 4.0, 0.1,
                             0.2, 8.0, 0.1, 0.2, -5.0, 3.1, 3.2,  -1.0, 3.1, 3.2}));
  CHECK_THROWS(structure.move_owned(std::vector<double>(9)),
               "9 coordinates and 15 shifts of images, expected 6 and 15");
  PackedStructure plain(x, {0, 0}, {0, 0}, {0, 0}, {}, 1, 1.0);
  CHECK_THROWS(plain.move_owned(std::vector<double>(3)), "3 coordinates and 0 shifts of images, expected 3 and 3");

  pairs[0] = 2;
  CHECK_THROWS(unfold(list()), "atom 2, expected 0 to 2 − 1");
  pairs[0] = 1;
  wraps[0] = 1 << 20;
  CHECK_THROWS(unfold(list()), "cells outside the cell, wrap the positions into the cell first");
  wraps = {0, 0, 0};
  CHECK_THROWS(unfold(list()), "6 coordinates and 3 wraps of 2 atoms, 12 shifts of 4 pairs");
}

TEST(potential, design_rows_times_weights) {
  // Two atoms and an image of each, everybody near everybody.
  for (const SnapParams& p : {scenes::params(2, 3), scenes::params(2, 2, false, true), scenes::params(2, 2, true)}) {
    const std::vector<double> x = {0.0, 0.1, 0.0, 1.9, 0.3, -0.2, 2.6, 0.1, 0.0, -0.7, 0.3, -0.2};
    PackedStructure structure(x, {0, 1, 0, 1}, {0, 1, 0, 1}, {0, 3, 6}, {1, 2, 3, 0, 2, 3}, 2, 10.0);
    Potential potential(file(p, 0));
    double energy = 0.0, virial[6] = {};
    std::vector<double> forces(12, 0.0);
    potential.evaluate(structure.neighbourhood(), structure.centres(),
                       {.energy = &energy, .forces = forces.data(), .virial = virial}, 1);
    structure.fold(forces, 3);
    const RowBuilder builder(p, KernelChoice::automatic());
    const RowRequest request{true, true, true};
    CHECK(request.n_rows(2) == 13);
    const int columns = builder.n_columns();
    std::vector<double> rows(13 * columns, 7.0);
    builder.build(structure, request, rows);
    const auto theta = potential.model().theta();
    CHECK(static_cast<int>(theta.size()) == columns);
    std::vector<double> value(13, 0.0);
    for (int r = 0; r < 13; ++r)
      for (int c = 0; c < columns; ++c) value[r] += rows[r * columns + c] * theta[c];
    CHECK(std::abs(forces[0]) > 1e-6 && std::abs(virial[0]) > 1e-6);
    CHECK_NEAR(value[0] * 2, energy, 1e-12);
    for (int i = 0; i < 6; ++i) CHECK_NEAR(value[1 + i], forces[i], 1e-11);
    for (int v = 0; v < 6; ++v) CHECK_NEAR(value[7 + v], -virial[v] / 10.0, 1e-11);

    std::vector<double> B(2 * p.n_components());
    DescriptorDerivatives derivatives;
    const auto kernel = make_kernel(p, potential.model(), KernelChoice::automatic());
    compute_descriptors(*kernel, p, structure, B, &derivatives);
    CHECK(derivatives.centre.size() == 4);  // each centre with itself and the other, images summed
    CHECK(derivatives.centre == (std::vector{0, 0, 1, 1}) && derivatives.atom == (std::vector{0, 1, 1, 0}));
    const std::size_t numbers = 3 * p.n_components();
    for (int c = 0; c < 2; ++c)  // a centre and its neighbours moved together change nothing
      for (std::size_t k = 0; k < numbers; ++k)
        CHECK_NEAR(derivatives.dB[2 * c * numbers + k], -derivatives.dB[(2 * c + 1) * numbers + k], 1e-11);
    CHECK(*std::max_element(derivatives.dB.begin(), derivatives.dB.end()) > 1e-3);
    // The rows of forces hold minus their sums over the centres of an element; atom e is of element e.
    const std::size_t K = p.n_components(), P = columns / p.n_elements();
    std::vector<double> sums(rows.size(), 0.0);
    const auto column = [&](int element, std::size_t k) { return element * P + 1 + k; };
    for (std::size_t pair = 0; pair < derivatives.atom.size(); ++pair)
      for (std::size_t x = 0; x < 3; ++x)
        for (std::size_t k = 0; k < K; ++k)
          sums[(1 + 3 * derivatives.atom[pair] + x) * columns + column(derivatives.centre[pair], k)] -=
              derivatives.dB[(3 * pair + x) * K + k];
    for (std::size_t row = 1; row < 7; ++row)
      for (int element = 0; element < p.n_elements(); ++element)
        for (std::size_t k = 0; k < K; ++k)
          CHECK_NEAR(rows[row * columns + column(element, k)], sums[row * columns + column(element, k)], 1e-11);
  }
  PackedStructure empty({}, {}, {}, {0}, {}, 2, 0.0), flat({0, 0, 0}, {0}, {0}, {0, 0}, {}, 2, 0.0),
      foreign({0, 0, 0}, {-1}, {0}, {0, 0}, {}, 2, 1.0);
  const RowBuilder builder(scenes::params(2, 1), KernelChoice::automatic());
  std::vector<double> rows(20 * builder.n_columns());
  CHECK_THROWS(builder.build(empty, {}, rows), "has no atoms");
  CHECK_THROWS(builder.build(flat, {.stress = true}, rows), "need a cell with a volume");
  CHECK_THROWS(builder.build(foreign, {}, rows), "atom 0 (counted from 0) is of no element");
}
