// Every kernel of this build against the reference, on environments of 0 to 300 neighbours and any number of centres.

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "check.hpp"
#include "kernels/simd/processor.hpp"
#include "mliuq/error.hpp"
#include "mliuq/kernel.hpp"
#include "scenes.hpp"

using namespace mliuq;
using scenes::Scene;

namespace {

struct Result {
  std::vector<double> energies, B, forces, virial, atom_virials;
};

/// Starts accumulated arrays at one: a kernel must add, and must overwrite what is not accumulated.
Result evaluate(const Kernel& kernel, const Scene& scene, int K, Workspace& workspace) {
  const std::size_t n = scene.centres.size(), all = scene.n_atoms();
  Result r{std::vector<double>(n, 7.0), std::vector<double>(n * K, 7.0), std::vector<double>(3 * all, 1.0),
           std::vector<double>(6, 1.0), std::vector<double>(6 * all, 1.0)};
  kernel.evaluate(scene.view(), scene.centres,
                  {.energies = r.energies.data(),
                   .B = r.B.data(),
                   .forces = r.forces.data(),
                   .virial = r.virial.data(),
                   .atom_virials = r.atom_virials.data()},
                  workspace);
  return r;
}

double largest(const std::vector<double>& values) {
  double most = 1.0;
  for (double v : values) most = std::max(most, std::abs(v));
  return most;
}

void check_equal(const std::vector<double>& found, const std::vector<double>& expected, double tolerance) {
  CHECK(found.size() == expected.size());
  const double scale = largest(expected);
  for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i)
    CHECK_NEAR(found[i], expected[i], tolerance * scale);
}

void check_equal(const Result& found, const Result& expected, double tolerance) {
  check_equal(found.energies, expected.energies, tolerance);
  check_equal(found.B, expected.B, tolerance);
  check_equal(found.forces, expected.forces, tolerance);
  check_equal(found.virial, expected.virial, tolerance);
  check_equal(found.atom_virials, expected.atom_virials, tolerance);
}

template <class Visit>
void for_each_vector_kernel(Visit&& visit) {
  for (InstructionSet set : available_instruction_sets())
    if (set != InstructionSet::reference)
      for (KernelPlan plan : {KernelPlan::recursion, KernelPlan::polynomial})
        visit(KernelChoice{set, Precision::double_precision, plan});
}

std::vector<SnapParams> descriptors() {
  std::vector<SnapParams> all = {scenes::params(1, 0),
                                 scenes::params(1, 1),
                                 scenes::params(1, 4),
                                 scenes::params(1, 7),
                                 scenes::params(2, 4, false, true),
                                 scenes::params(2, 3, true),
                                 scenes::params(2, 2, true, true)};
  all.push_back(scenes::params(1, 3));
  all.back().switchflag = all.back().bzeroflag = false;
  all.push_back(scenes::params(2, 3));
  all.back().rmin0 = 1.2;
  all.back().bnormflag = true;
  all.push_back(scenes::params(2, 3));
  all.back().switchinnerflag = true;
  all.back().sinner = {1.5, 1.9};
  all.back().dinner = {0.4, 0.2};
  all.push_back(scenes::params(3, 2, true));
  all.back().wselfallflag = true;
  return all;
}

}  // namespace

TEST(kernels, equal_the_reference_for_any_number_of_neighbours) {
  // Neither a multiple of any vector's lanes nor alike from lane to lane.
  const std::vector<int> counts = {0, 1, 2, 3, 17, 40, 7, 300, 0, 64, 65, 31, 5};
  for (const SnapParams& p : descriptors()) {
    const Scene scene(13, counts, p.n_elements(), 1);
    const EnergyModel model = scenes::random_model(p, 2);
    const auto reference = make_kernel(p, model, {InstructionSet::reference});
    const auto workspace = reference->make_workspace();
    const Result expected = evaluate(*reference, scene, p.n_components(), *workspace);
    CHECK(largest(expected.forces) > 1.01);  // not trivially zero
    for_each_vector_kernel([&](KernelChoice choice) {
      const auto kernel = make_kernel(p, model, choice);
      const auto own = kernel->make_workspace();
      check_equal(evaluate(*kernel, scene, p.n_components(), *own), expected, 2e-12);
    });
  }
}

TEST(kernels, equal_the_reference_for_any_number_of_centres) {
  const SnapParams p = scenes::params(1, 3);
  const EnergyModel model = scenes::random_model(p, 3);
  const auto reference = make_kernel(p, model, {InstructionSet::reference});
  const auto workspace = reference->make_workspace();
  for_each_vector_kernel([&](KernelChoice choice) {
    const auto kernel = make_kernel(p, model, choice);
    const auto own = kernel->make_workspace();  // one workspace for all: what a call leaves must not matter
    for (int n : {64, 1, 33, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 0, 63})
      check_equal(evaluate(*kernel, Scene(n, {12, 3, 0, 30}, 1, 10 + n), p.n_components(), *own),
                  evaluate(*reference, Scene(n, {12, 3, 0, 30}, 1, 10 + n), p.n_components(), *workspace), 2e-12);
  });
}

TEST(kernels, contract_is_the_product_of_slopes_and_gradients) {
  // Slopes that differ on components equal by symmetry: the contraction takes each for itself.
  for (const SnapParams& p : descriptors()) {
    const Scene scene(13, {0, 1, 17, 40, 7}, p.n_elements(), 11);
    const EnergyModel model = scenes::random_model(p, 12);
    const std::size_t K = p.n_components(), stride = padded_row(K), n = scene.centres.size();
    std::mt19937 random(13);
    std::normal_distribution<double> normal;
    std::vector<double> beta(n * K);
    for (double& b : beta) b = normal(random);
    std::vector<KernelChoice> choices = {{InstructionSet::reference}};
    for_each_vector_kernel([&](KernelChoice choice) { choices.push_back(choice); });
    for (const KernelChoice& choice : choices) {
      const auto kernel = make_kernel(p, model, choice);
      const auto workspace = kernel->make_workspace();
      GradientBlock block;
      kernel->gradients(scene.view(), scene.centres, block, *workspace);
      std::vector<double> expected(3 * scene.n_atoms(), 1.0), found(expected.size(), 1.0), virial(6, 0.0);
      for (std::size_t c = 0; c < n; ++c)
        for (int pair = block.first[c]; pair < block.first[c + 1]; ++pair)
          for (int x = 0; x < 3; ++x) {
            double slope = 0.0;
            for (std::size_t k = 0; k < K; ++k) slope += beta[c * K + k] * block.dB[(3 * pair + x) * stride + 1 + k];
            expected[3 * block.neighbour[pair] + x] -= slope;
            expected[3 * scene.centres[c] + x] += slope;
          }
      kernel->contract(scene.view(), scene.centres, beta.data(), {.forces = found.data(), .virial = virial.data()},
                       *workspace);
      check_equal(found, expected, 2e-12);
      CHECK(p.twojmax == 0 || largest(virial) > 1.01);
    }
  }
}

TEST(kernels, single_precision_is_what_it_says) {
  const SnapParams p = scenes::params(2, 4);
  const EnergyModel model = scenes::random_model(p, 4);
  const Scene scene(11, {30, 12, 5, 60}, 2, 5);
  const auto reference = make_kernel(p, model, {InstructionSet::reference});
  const auto workspace = reference->make_workspace();
  const Result expected = evaluate(*reference, scene, p.n_components(), *workspace);
  for_each_vector_kernel([&](KernelChoice choice) {
    choice.precision = Precision::single_precision;
    const auto kernel = make_kernel(p, model, choice);
    const auto own = kernel->make_workspace();
    check_equal(evaluate(*kernel, scene, p.n_components(), *own), expected, 1e-4);
  });
}

TEST(kernels, outputs_not_wanted_change_nothing) {
  const SnapParams p = scenes::params(2, 3);
  const int K = p.n_components();
  const EnergyModel model = scenes::random_model(p, 6);
  const Scene scene(10, {20, 7, 0}, 2, 7);
  for (InstructionSet set : available_instruction_sets()) {
    const auto kernel = make_kernel(p, model, {set});
    const auto workspace = kernel->make_workspace();
    const Result whole = evaluate(*kernel, scene, K, *workspace);
    const std::size_t all = scene.n_atoms();
    std::vector<double> energies(10), B(10 * K), forces(3 * all, 1.0), virial(6, 1.0), atom_virials(6 * all, 1.0);
    kernel->evaluate(scene.view(), scene.centres, {}, *workspace);
    kernel->evaluate(scene.view(), scene.centres, {.energies = energies.data()}, *workspace);
    kernel->evaluate(scene.view(), scene.centres, {.B = B.data()}, *workspace);
    kernel->evaluate(scene.view(), scene.centres, {.forces = forces.data()}, *workspace);
    kernel->evaluate(scene.view(), scene.centres, {.virial = virial.data()}, *workspace);
    kernel->evaluate(scene.view(), scene.centres, {.atom_virials = atom_virials.data()}, *workspace);
    check_equal({energies, B, forces, virial, atom_virials}, whole, 1e-13);
  }
}

TEST(kernels, order_and_subsets_of_centres) {
  const SnapParams p = scenes::params(1, 3);
  const int K = p.n_components();
  const Scene scene(19, {9, 25, 0, 4}, 1, 8);
  const std::vector<int> some = {17, 0, 3, 16, 5};
  for (InstructionSet set : available_instruction_sets()) {
    const auto kernel = make_kernel(p, scenes::random_model(p, 9), {set});
    const auto workspace = kernel->make_workspace();
    const Result whole = evaluate(*kernel, scene, K, *workspace);
    std::vector<double> energies(some.size()), B(some.size() * K);
    kernel->evaluate(scene.view(), some, {.energies = energies.data(), .B = B.data()}, *workspace);
    for (std::size_t c = 0; c < some.size(); ++c) {
      CHECK_NEAR(energies[c], whole.energies[some[c]], 1e-13 * largest(whole.energies));
      for (int k = 0; k < K; ++k) CHECK_NEAR(B[c * K + k], whole.B[some[c] * K + k], 1e-13 * largest(whole.B));
    }
  }
}

TEST(kernels, gradients_are_differences_of_descriptors_and_add_up_to_forces) {
  for (const SnapParams& p : {scenes::params(1, 3), scenes::params(2, 2, true)}) {
    const int K = p.n_components();
    const std::size_t stride = padded_row(K);
    const EnergyModel model = scenes::random_model(p, 11);
    Scene scene(7, {14, 0, 5}, p.n_elements(), 12);
    for (InstructionSet set : available_instruction_sets()) {
      const auto kernel = make_kernel(p, model, {set});
      const auto workspace = kernel->make_workspace();
      GradientBlock block;
      kernel->gradients(scene.view(), scene.centres, block, *workspace);
      CHECK(block.first.size() == scene.centres.size() + 1);
      CHECK(block.dB.size() == 3 * stride * block.neighbour.size());
      CHECK(!block.neighbour.empty());
      for (const auto* rows : {&block.dB, &block.total})
        for (std::size_t i = 0; i < rows->size(); ++i)
          if (i % stride == 0 || i % stride > static_cast<std::size_t>(K)) CHECK((*rows)[i] == 0.0);
      // A neighbour of the first centre moves.
      const int moved = block.neighbour[1];
      const double h = 1e-4;
      for (int x = 0; x < 3; ++x) {
        std::vector<double> up(K), down(K);
        const std::vector<int> first = {0};
        scene.positions[3 * moved + x] += h;
        kernel->evaluate(scene.view(), first, {.B = up.data()}, *workspace);
        scene.positions[3 * moved + x] -= 2 * h;
        kernel->evaluate(scene.view(), first, {.B = down.data()}, *workspace);
        scene.positions[3 * moved + x] += h;
        double scale = 1.0;
        for (int k = 0; k < K; ++k) scale = std::max(scale, std::abs(up[k]));
        for (int k = 0; k < K; ++k)
          CHECK_NEAR(block.dB[(3 + x) * stride + 1 + k], (up[k] - down[k]) / (2 * h), 1e-5 * scale);
      }
    }
  }
}

TEST(kernels, gradients_add_up_to_totals_strain_and_rows) {
  constexpr int voigt[6][2] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {0, 2}, {0, 1}};
  for (const SnapParams& p : {scenes::params(1, 3), scenes::params(2, 2, true), scenes::params(1, 8)}) {
    const std::size_t K = p.n_components(), stride = padded_row(K), width = p.n_elements() * (K + 1);
    Scene scene(7, {14, 0, 43}, p.n_elements(), 15);  // more neighbours than are derived together
    const Neighbourhood atoms = scene.view();
    std::vector<std::size_t> of_element;
    for (int e = 0; e < p.n_elements(); ++e) of_element.push_back(e * (K + 1) + 1);
    std::vector<int> row_of_atom(atoms.n_atoms);
    for (int i = 0; i < atoms.n_atoms; ++i) row_of_atom[i] = i % 4 - 1;
    for (InstructionSet set : available_instruction_sets()) {
      const auto kernel = make_kernel(p, scenes::random_model(p, 16), {set});
      const auto workspace = kernel->make_workspace();
      GradientBlock kept;
      kept.with_strain = true;
      kernel->gradients(atoms, scene.centres, kept, *workspace);
      std::vector<double> total(kept.total.size()), strain(kept.strain.size()), rows(9 * width);
      for (std::size_t c = 0; c < scene.centres.size(); ++c)
        for (int n = kept.first[c]; n < kept.first[c + 1]; ++n) {
          const double* dB = kept.dB.data() + 3 * stride * n + 1;
          const int i = scene.centres[c], j = kept.neighbour[n];
          for (std::size_t k = 0; k < K; ++k) {
            for (int x = 0; x < 3; ++x) {
              total[(3 * c + x) * stride + 1 + k] += dB[x * stride + k];
              if (row_of_atom[j] >= 0)
                rows[(3 * row_of_atom[j] + x) * width + of_element[atoms.species(i)] + k] -= dB[x * stride + k];
            }
            for (int v = 0; v < 6; ++v)
              strain[(6 * c + v) * K + k] +=
                  (atoms.positions[3 * j + voigt[v][0]] - atoms.positions[3 * i + voigt[v][0]]) *
                  dB[voigt[v][1] * stride + k];
          }
        }
      GradientBlock subtracted;
      std::vector<double> into(rows.size());
      subtracted.with_B = false;
      subtracted.subtracted_from = {row_of_atom.data(), into.data(), width, of_element.data()};
      kernel->gradients(atoms, scene.centres, subtracted, *workspace);
      const auto equal = [](const auto& a, const std::vector<double>& b) {
        CHECK(a.size() == b.size() && largest(b) > 0.0);
        for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], 1e-12 * largest(b));
      };
      equal(kept.total, total);
      equal(kept.strain, strain);
      equal(into, rows);
      equal(subtracted.total, total);
      CHECK(subtracted.strain.empty() && subtracted.dB.empty());
    }
  }
}

TEST(kernels, atoms_on_top_of_each_other_are_named) {
  const SnapParams p = scenes::params(1, 2);
  Scene scene(3, {10}, 1, 13);
  const Neighbourhood view = scene.view();
  const int neighbour = view.neighbours[1][4] & view.index_mask;
  scene.types[neighbour] = 1;
  for (int x = 0; x < 3; ++x) scene.positions[3 * neighbour + x] = scene.positions[3 + x];
  for (InstructionSet set : available_instruction_sets()) {
    const auto kernel = make_kernel(p, scenes::random_model(p, 14), {set});
    const auto workspace = kernel->make_workspace();
    std::vector<double> energies(3);
    CHECK_THROWS(kernel->evaluate(scene.view(), scene.centres, {.energies = energies.data()}, *workspace), "apart");
    const std::vector<int> others = {0, 2};
    kernel->evaluate(scene.view(), others, {.energies = energies.data()}, *workspace);
    CHECK(std::isfinite(energies[0] + energies[1]));
  }
}

TEST(kernels, sve_is_taken_at_its_own_length_only) {
  using simd::fits_sve;
  for (int bytes : {0, 16, 32, 48, 64, 128, 256}) {
    CHECK(fits_sve(InstructionSet::sve256, bytes) == (8 * bytes == 256));
    CHECK(fits_sve(InstructionSet::sve512, bytes) == (8 * bytes == 512));
    CHECK(!fits_sve(InstructionSet::baseline, bytes) && !fits_sve(InstructionSet::avx512, bytes));
  }
}

/// The sets have names of their own; where somebody knows what this processor has (make test-arm), they are those.
TEST(kernels, sets_are_those_of_the_processor) {
  std::set<std::string_view> names;
  std::string found;
  for (InstructionSet set : {InstructionSet::reference, InstructionSet::baseline, InstructionSet::avx2,
                             InstructionSet::avx512, InstructionSet::sve256, InstructionSet::sve512}) {
    CHECK(names.insert(to_string(set)).second && to_string(set) != "unknown");
    if (!cpu_runs(set)) CHECK_THROWS(make_kernel(scenes::params(1, 2), EnergyModel::zero(1, 5), {set}), "does not run");
  }
  for (InstructionSet set : available_instruction_sets())
    found += (found.empty() ? "" : " ") + std::string(to_string(set));
  CHECK(found.starts_with("reference baseline"));
  CHECK(found.find("avx") == found.npos || found.find("sve") == found.npos);
  if (const char* expected = std::getenv("MLIUQ_EXPECTED_SETS"); expected && found != expected)
    check::fail("sets are " + found + ", expected " + expected, std::source_location::current());
}

TEST(kernels, weights_of_another_shape_are_refused) {
  const SnapParams p = scenes::params(2, 2);
  CHECK_THROWS(make_kernel(p, EnergyModel::zero(1, p.n_components()), {}), "expected 2");
  CHECK_THROWS(make_kernel(p, EnergyModel::zero(2, p.n_components() + 1), {}), "components, expected 2");
  SnapParams wrong = p;
  wrong.twojmax = 99;
  CHECK_THROWS(make_kernel(wrong, EnergyModel::zero(2, 5), {}), "twojmax is 99, expected 0 to 24");
}
