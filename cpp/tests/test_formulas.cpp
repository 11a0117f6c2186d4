// Each ingredient against its formula written once more: what all kernels share, no comparison of kernels can see.

#include <algorithm>
#include <complex>
#include <functional>
#include <numbers>
#include <random>

#include "bispectrum_index.hpp"
#include "check.hpp"
#include "elements.hpp"
#include "kernels/equal_components.hpp"
#include "mliuq/error.hpp"
#include "mliuq/kernel.hpp"
#include "mliuq/zbl.hpp"
#include "scenes.hpp"
#include "switching.hpp"

using namespace mliuq;

namespace {

constexpr double kPi = std::numbers::pi;

/// Energies of a pair of W (0) and Be (1), which of them the centre is chosen by `first`.
struct Pair {
  double energy, force, virial;
};

Pair repulsion(double r, int a, int b, double inner, double outer) {
  const std::vector<std::string> elements = {"W", "Be"};
  const auto structure = scenes::cluster({0, 0, 0, 0.6 * r, 0, 0.8 * r}, {a, b}, 2);
  std::vector<double> energies(2, 0.0), forces(6, 0.0), virial(6, 0.0);
  Zbl(elements, inner, outer)
      .evaluate(structure->neighbourhood(), structure->centres(),
                {.energies = energies.data(), .forces = forces.data(), .virial = virial.data()});
  CHECK(energies[0] == energies[1]);
  CHECK_NEAR(forces[0], -forces[3], 0.0);
  CHECK_NEAR(virial[0] + virial[1] + virial[2], forces[3] * 0.6 * r + forces[5] * 0.8 * r, 1e-12 * std::abs(virial[4]));
  CHECK_NEAR(virial[4], forces[3] * 0.8 * r, 1e-12 * std::abs(virial[4]));
  return {energies[0] + energies[1], 0.6 * forces[3] + 0.8 * forces[5], virial[0] + virial[2]};
}

/// Ziegler, Biersack and Littmark (1985), without any switching.
double screened(double r, double za, double zb) {
  const double x = r * (std::pow(za, 0.23) + std::pow(zb, 0.23)) / 0.46850;
  const double phi = 0.18175 * std::exp(-3.19980 * x) + 0.50986 * std::exp(-0.94229 * x) +
                     0.28022 * std::exp(-0.40290 * x) + 0.02817 * std::exp(-0.20162 * x);
  return 14.399645 * za * zb / r * phi;
}

SnapParams two_elements(int twojmax, bool chem) {
  SnapParams p = scenes::params(2, twojmax, chem);
  p.rcutfac = 3.7;
  p.radii = {0.5, 0.41};
  p.weights = {0.9, 0.6};
  p.rmin0 = 0.3;
  p.rfac0 = 0.93;
  return p;
}

/// w f_c of a neighbour at r, f_c = ½(1 + cos π(r − rmin0)/(R − rmin0)).
double weight(const SnapParams& p, double r, int a, int b) {
  const double cutoff = p.rcutfac * (p.radii[a] + p.radii[b]);
  return r < cutoff ? p.weights[b] * 0.5 * (1.0 + std::cos(kPi * (r - p.rmin0) / (cutoff - p.rmin0))) : 0.0;
}

std::vector<double> descriptors(const SnapParams& p, const PackedStructure& structure, InstructionSet set) {
  const auto kernel = make_kernel(p, EnergyModel::zero(p.n_elements(), p.n_components()), {set});
  const auto workspace = kernel->make_workspace();
  std::vector<double> B(structure.n_owned() * p.n_components());
  kernel->evaluate(structure.neighbourhood(), structure.centres(), {.B = B.data()}, *workspace);
  return B;
}

}  // namespace

TEST(formulas, chemical_symbols) {
  const std::vector<std::pair<const char*, int>> known = {
      {"H", 1},   {"He", 2},  {"Li", 3},  {"Ne", 10}, {"Si", 14}, {"Ar", 18},  {"Fe", 26},
      {"Ge", 32}, {"Kr", 36}, {"Mo", 42}, {"In", 49}, {"Xe", 54}, {"La", 57},  {"Lu", 71},
      {"Ta", 73}, {"W", 74},  {"Au", 79}, {"Rn", 86}, {"U", 92},  {"Lr", 103}, {"Og", 118}};
  for (const auto& [symbol, number] : known) CHECK(atomic_number(symbol) == number);
  CHECK_THROWS(atomic_number("X"), "'X' is not a chemical symbol");
}

TEST(formulas, repulsion_is_the_screened_one_below_inner_and_smooth_to_outer) {
  const double inner = 0.9, outer = 1.6, h = 1e-5;
  const double charge[2] = {74.0, 4.0};
  for (const auto& [a, b] : {std::pair(0, 0), {0, 1}, {1, 0}, {1, 1}}) {
    const auto energy = [&, a = a, b = b](double r) { return repulsion(r, a, b, inner, outer).energy; };
    const auto bare = [&, a = a, b = b](double r) { return screened(r, charge[a], charge[b]); };
    const double shift = energy(0.5) - bare(0.5);
    for (double r : {0.3, 0.7, 0.899}) CHECK_NEAR(energy(r) - bare(r), shift, 1e-9);
    // From inner on S = C + A/3 t³ + B/4 t⁴, with A, B and C such that E + S, its slope and its curvature end at zero.
    const double t = 0.4 * (outer - inner), T = outer - inner;
    const auto slope = [&](double r) { return (bare(r + h) - bare(r - h)) / (2 * h); };
    const double curvature = (bare(outer + 1e-3) - 2 * bare(outer) + bare(outer - 1e-3)) / 1e-6;
    const double A = (-3 * slope(outer) + T * curvature) / (T * T);
    const double B = (2 * slope(outer) - T * curvature) / (T * T * T);
    CHECK_NEAR(energy(inner + t) - bare(inner + t) - shift, t * t * t * (A / 3 + B / 4 * t), 1e-4 * std::abs(shift));
    CHECK_NEAR(shift, -bare(outer) - T * T * T * (A / 3 + B / 4 * T), 1e-4 * std::abs(shift));
    CHECK_NEAR(energy(outer - 1e-4), 0.0, 1e-7 * bare(inner));
    CHECK(energy(outer) == 0.0 && energy(outer + 0.1) == 0.0 && energy(outer - 0.2) > 0.0);
    for (double r : {0.5, inner + t, outer - 0.01}) {
      const Pair found = repulsion(r, a, b, inner, outer);
      const double force = -(energy(r + h) - energy(r - h)) / (2 * h);
      CHECK_NEAR(found.force, force, 1e-6 * std::abs(slope(r)));
      CHECK_NEAR(found.virial, found.force * r, 1e-9 * std::abs(found.force));
    }
  }
  const std::vector<std::string> elements = {"W"};
  for (const auto& [low, high] : {std::pair(0.0, 1.0), {2.0, 2.0}, {1.0, 51.0}})
    CHECK_THROWS(Zbl(elements, low, high), "expected 0 < inner < outer");
}

TEST(formulas, switching) {
  SnapParams p = two_elements(2, false);
  const double cutoff = p.cutoff(0, 1), h = 1e-6;
  CHECK_NEAR(cutoff, 3.7 * 0.91, 1e-15);
  CHECK_NEAR(p.max_cutoff(), 3.7, 1e-15);
  CHECK(switching(p, 0.2, cutoff, 0, 1).value == 0.6 && switching(p, 0.2, cutoff, 0, 1).slope == 0.0);
  CHECK_NEAR(switching(p, cutoff, cutoff, 0, 1).value, 0.0, 1e-15);
  CHECK_NEAR(switching(p, 0.5 * (cutoff + 0.3), cutoff, 0, 1).value, 0.3, 1e-15);
  CHECK_NEAR(switching(p, 1.0, cutoff, 0, 1).value, weight(p, 1.0, 0, 1), 1e-15);
  SnapParams inner = p;
  inner.switchinnerflag = true;
  inner.sinner = {1.0, 1.4};
  inner.dinner = {0.3, 0.5};  // together: 1.2 ∓ 0.4
  CHECK(switching(inner, 0.8, cutoff, 0, 1).value == 0.0 && switching(inner, 0.5, cutoff, 0, 1).slope == 0.0);
  CHECK_NEAR(switching(inner, 1.2, cutoff, 0, 1).value, 0.5 * weight(p, 1.2, 0, 1), 1e-15);
  CHECK_NEAR(switching(inner, 1.0, cutoff, 0, 1).value, 0.5 * (1 - std::cos(kPi / 4)) * weight(p, 1.0, 0, 1), 1e-15);
  CHECK_NEAR(switching(inner, 1.7, cutoff, 0, 1).value, weight(p, 1.7, 0, 1), 1e-15);
  CHECK_NEAR(switching(inner, 1.2, cutoff, 0, 0).value / weight(p, 1.2, 0, 1) * 0.6 / 0.9,
             0.5 * (1 - std::cos(kPi / 2 + kPi / 2 * 0.2 / 0.3)), 1e-14);
  for (double r : {1.0, 1.3, 2.5})
    for (const SnapParams& q : {p, inner}) {
      const double up = switching(q, r + h, cutoff, 0, 1).value, down = switching(q, r - h, cutoff, 0, 1).value;
      CHECK_NEAR(switching(q, r, cutoff, 0, 1).slope, (up - down) / (2 * h), 1e-9);
    }
  p.switchflag = false;
  CHECK(switching(p, 1.0, cutoff, 0, 1).value == 0.6);
}

TEST(formulas, coupling_coefficients_are_orthonormal) {
  for (int j1 = 0; j1 <= 4; ++j1)
    for (int j2 = 0; j2 <= 4; ++j2)
      for (int j = std::abs(j1 - j2); j <= j1 + j2; j += 2) {
        for (int m = 0; m <= j; ++m) {
          double norm = 0.0;
          for (int m1 = 0; m1 <= j1; ++m1) {
            const int m2 = m - m1 + (j1 + j2 - j) / 2;
            if (m2 >= 0 && m2 <= j2) norm += std::pow(clebsch_gordan(j1, m1, j2, m2, j, m), 2);
          }
          CHECK_NEAR(norm, 1.0, 1e-13);
        }
        CHECK(clebsch_gordan(j1, j1, j2, (j - j1 + j2) / 2, j, j) > 0.0);  // Condon and Shortley's phase
      }
  CHECK_NEAR(clebsch_gordan(1, 1, 1, 0, 0, 0), std::sqrt(0.5), 1e-15);
  CHECK_NEAR(clebsch_gordan(1, 0, 1, 1, 0, 0), -std::sqrt(0.5), 1e-15);
  CHECK_NEAR(clebsch_gordan(2, 1, 2, 1, 0, 0), -std::sqrt(1.0 / 3.0), 1e-15);
}

// 2J = 0: the density is a number, U = wself + Σ w f_c, and B its cube.
TEST(formulas, lowest_component_is_a_cube) {
  const std::vector<double> x = {0, 0, 0, 1.5, 0, 0, 0, -1.9, 0, 0, 0, 3.5};
  const std::vector<int> species = {0, 1, 0, 1};
  const auto structure = scenes::cluster(x, species, 2);
  for (InstructionSet set : available_instruction_sets())
    for (bool bzero : {true, false})
      for (bool chem : {true, false})
        for (bool self_all : {true, false}) {
          SnapParams p = two_elements(0, chem);
          p.bzeroflag = bzero;
          p.wselfallflag = self_all;
          const auto B = descriptors(p, *structure, set);
          for (int i = 0; i < 4; ++i) {
            std::vector<double> U(chem ? 2 : 1, self_all ? 1.0 : 0.0);
            U[chem ? species[i] : 0] = 1.0;
            for (int j = 0; j < 4; ++j) {
              const double r =
                  std::hypot(x[3 * i] - x[3 * j], x[3 * i + 1] - x[3 * j + 1], x[3 * i + 2] - x[3 * j + 2]);
              if (j != i) U[chem ? species[j] : 0] += weight(p, r, species[i], species[j]);
            }
            const int n = static_cast<int>(U.size());
            for (int a = 0; a < n; ++a)
              for (int b = 0; b < n; ++b)
                for (int c = 0; c < n; ++c) {
                  const bool own = !chem || self_all || (a == species[i] && b == species[i] && c == species[i]);
                  const double expected = U[a] * U[b] * U[c] - (bzero && own ? 1.0 : 0.0);
                  CHECK_NEAR(B[i * n * n * n + (a * n + b) * n + c], expected, 1e-13);
                }
          }
        }
}

// One neighbour: U^j = 1 + s D^j, and in the frame where the rotation D is diagonal, D^j_mm = exp(−2i(m − j/2)θ0).
TEST(formulas, components_of_one_neighbour) {
  const double r = 2.1;
  for (bool bnorm : {false, true}) {
    SnapParams p = two_elements(5, false);
    p.bnormflag = bnorm;
    const double cutoff = 3.7 * 0.91, s = weight(p, r, 0, 1), theta = 0.93 * kPi * (r - 0.3) / (cutoff - 0.3);
    std::vector<double> expected;
    const auto U = [&](int j, int m) { return 1.0 + s * std::polar(1.0, -(2 * m - j) * theta); };
    for (int j1 = 0; j1 <= 5; ++j1)
      for (int j2 = 0; j2 <= j1; ++j2)
        for (int j = j1 - j2; j <= std::min(5, j1 + j2); j += 2) {
          if (j < j1) continue;
          double sum = 0.0;
          for (int m1 = 0; m1 <= j1; ++m1)
            for (int m2 = 0; m2 <= j2; ++m2) {
              const int m = m1 + m2 - (j1 + j2 - j) / 2;
              if (m < 0 || m > j) continue;
              const double c = clebsch_gordan(j1, m1, j2, m2, j, m);
              sum += c * c * (std::conj(U(j, m)) * U(j1, m1) * U(j2, m2)).real();
            }
          expected.push_back((sum - (j + 1)) / (bnorm ? j + 1 : 1));
        }
    CHECK(static_cast<int>(expected.size()) == p.n_components());
    for (InstructionSet set : available_instruction_sets()) {
      const auto B = descriptors(p, *scenes::cluster({0, 0, 0, -0.48 * r, 0.6 * r, 0.64 * r}, {0, 1}, 2), set);
      for (std::size_t k = 0; k < expected.size(); ++k) CHECK_NEAR(B[k], expected[k], 1e-12);
    }
  }
}

TEST(formulas, atoms_may_be_close_but_not_in_one_place) {
  const SnapParams p = scenes::params(1, 1);
  for (InstructionSet set : available_instruction_sets()) {
    const auto B = descriptors(p, *scenes::cluster({0, 0, 0, 0.01, 0, 0}, {0, 0}, 1), set);
    CHECK_NEAR(B[0], std::pow(1.0 + 0.5 * (1.0 + std::cos(kPi * 0.01 / 4.0)), 3) - 1.0, 1e-12);
    CHECK_THROWS(descriptors(p, *scenes::cluster({0, 0, 0, 0.0005, 0, 0}, {0, 0}, 1), set), "apart");
  }
}

TEST(formulas, counts) {
  const std::pair<int, int> known[] = {{0, 1}, {1, 2}, {2, 5}, {4, 14}, {6, 30}, {8, 55}};
  for (const auto& [twojmax, n] : known) CHECK(scenes::params(1, twojmax).n_components() == n);
  CHECK(scenes::params(2, 2, true).n_components() == 40 && scenes::params(2, 2, true).n_weights() == 41);
  CHECK(scenes::params(1, 2, false, true).n_weights() == 1 + 5 + 15);
  CHECK(scenes::params(2, 2).index_of("Be") == 1 && scenes::params(2, 2).index_of("H") == -1);
}

TEST(formulas, energy_of_an_atom) {
  const EnergyModel linear(2, 2, false, {1, 2, 3, 4, 5, 6}), quadratic(1, 2, true, {1, 2, 3, 4, 5, 6});
  const std::vector<double> B = {0.5, -2.0};
  CHECK_NEAR(linear.energy(0, B), 1 + 2 * 0.5 - 3 * 2.0, 1e-15);
  CHECK_NEAR(linear.energy(1, B), 4 + 5 * 0.5 - 6 * 2.0, 1e-15);
  CHECK_NEAR(quadratic.energy(0, B), 1 + 1 - 6 + 4 * 0.125 + 5 * -1.0 + 6 * 2.0, 1e-14);
  std::vector<double> slope(2), D(6);
  quadratic.gradient(0, B, slope);
  CHECK_NEAR(slope[0], 2 + 4 * 0.5 + 5 * -2.0, 1e-14);
  CHECK_NEAR(slope[1], 3 + 5 * 0.5 + 6 * -2.0, 1e-14);
  quadratic.add_features(B, D);
  CHECK(D == (std::vector<double>{1, 0.5, -2, 0.125, -1, 2}));
  CHECK_THROWS(EnergyModel(1, 2, false, {1, 2}), "2 weights, expected 3");
}

TEST(formulas, weights_of_equal_components_become_their_mean) {
  for (bool quadratic : {false, true}) {
    const SnapParams p = scenes::params(2, 2, true, quadratic);
    const EnergyModel model = scenes::random_model(p, 3);
    const auto equal = with_equal_weights(p, model);
    CHECK(equal.has_value());
    CHECK(!with_equal_weights(p, *equal));
    const auto structure = scenes::random_cluster(12, 2, 4);
    const auto B = descriptors(p, *structure, InstructionSet::reference);
    const int K = p.n_components();
    for (int i = 0; i < 12; ++i) {
      const auto own = std::span(B).subspan(i * K, K);
      CHECK_NEAR(equal->energy(i % 2, own), model.energy(i % 2, own), 1e-11);
    }
    const auto alike = [&](int k, int l) {  // about every atom
      for (int i = 0; i < 12; ++i)
        if (std::abs(B[i * K + k] - B[i * K + l]) > 1e-11) return false;
      return true;
    };
    int pairs = 0;
    for (int k = 0; k < K; ++k)
      for (int l = k + 1; l < K; ++l)
        if (alike(k, l)) {
          ++pairs;
          for (int e = 0; e < 2; ++e) CHECK_NEAR(equal->linear(e)[k], equal->linear(e)[l], 1e-15);
        }
    CHECK(pairs > 5);
  }
  CHECK(!with_equal_weights(scenes::params(2, 2), scenes::random_model(scenes::params(2, 2), 1)));
}
