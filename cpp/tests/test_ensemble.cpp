// Spreads over the members against plain sums.

#include <algorithm>
#include <limits>
#include <random>

#include "check.hpp"
#include "mliuq/ensemble.hpp"
#include "mliuq/error.hpp"
#include "mliuq/extrapolation.hpp"
#include "scenes.hpp"

using namespace mliuq;

namespace {

struct Problem {
  int K, P, n_elements, M, n;
  EnergyModel model;
  std::vector<double> members, B;
  std::vector<int> centres, species;
};

/// Centres are scattered over a longer array of atoms; elements come in runs.
Problem make(int n_elements, int K, bool quadratic, int M, int n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  const int P = 1 + K + (quadratic ? K * (K + 1) / 2 : 0);
  std::vector<double> theta(n_elements * P), members(M * n_elements * P), B(n * K);
  for (double& t : theta) t = normal(random);
  for (std::size_t i = 0; i < members.size(); ++i) members[i] = theta[i % theta.size()] + 0.1 + 0.2 * normal(random);
  for (double& b : B) b = normal(random);
  Problem p{K, P, n_elements, M, n, EnergyModel(n_elements, K, quadratic, theta), members, B, {}, {}};
  for (int i = 0; i < n; ++i) {
    p.centres.push_back(3 * (n - i) - 1);
    p.species.push_back(i * n_elements / n);
  }
  return p;
}

std::vector<double> features(const Problem& p, int i) {
  std::vector<double> d(p.P);
  p.model.add_features(std::span(p.B).subspan(static_cast<std::size_t>(i) * p.K, p.K), d);
  return d;
}

double dot(const std::vector<double>& d, const double* weights) {
  double sum = 0.0;
  for (std::size_t k = 0; k < d.size(); ++k) sum += d[k] * weights[k];
  return sum;
}

}  // namespace

TEST(ensemble, spreads_are_plain_sums) {
  for (InstructionSet set : available_instruction_sets())
    for (const Problem& p : {make(1, 5, false, 40, 130, 1), make(2, 5, false, 3, 65, 2), make(2, 6, true, 200, 64, 3),
                             make(3, 4, true, 7, 1, 4), make(1, 0, false, 9, 5, 5), make(1, 7, false, 1, 63, 6),
                             make(1, 31, true, 600, 5, 7), make(1, 31, true, 40, 33, 8)}) {
      const Ensemble ensemble(p.model, p.members, set);
      CHECK(ensemble.n_members() == p.M);
      const std::size_t n_atoms = 3 * p.n + 1;
      std::vector<double> std(n_atoms, -7.0), min(n_atoms, -7.0), max(n_atoms, -7.0);
      ensemble.atom_spreads(p.model, p.centres, p.species, p.B.data(), {std.data(), min.data(), max.data()});
      for (int i = 0; i < p.n; ++i) {
        const auto d = features(p, i);
        const double best = dot(d, p.model.theta().data() + p.species[i] * p.P);
        CHECK_NEAR(best, p.model.energy(p.species[i], std::span(p.B).subspan(i * p.K, p.K)), 1e-12);
        double sum = 0.0, least = 1e300, most = -1e300;
        for (int m = 0; m < p.M; ++m) {
          const double e = dot(d, p.members.data() + (m * p.n_elements + p.species[i]) * p.P);
          sum += (e - best) * (e - best);
          least = std::min(least, e);
          most = std::max(most, e);
        }
        const int atom = p.centres[i];
        CHECK_NEAR(std[atom], std::sqrt(sum / p.M), 1e-11);
        CHECK_NEAR(best + min[atom], least, 1e-11);
        CHECK_NEAR(best + max[atom], most, 1e-11);
      }
      CHECK(std[0] == -7.0 && min[0] == -7.0 && max[n_atoms - 1] == -7.0);  // no centre
      std::vector<double> alone(n_atoms, -7.0);
      ensemble.atom_spreads(p.model, p.centres, p.species, p.B.data(), {.std = alone.data()});
      CHECK(alone == std);
    }
}

TEST(ensemble, committee) {
  const Problem p = make(2, 4, true, 11, 6, 8);
  const Ensemble ensemble(p.model, p.members);
  std::vector<double> total(p.n_elements * p.P, 0.0), moves(p.M);
  for (int i = 0; i < p.n; ++i) {
    const auto d = features(p, i);
    for (int k = 0; k < p.P; ++k) total[p.species[i] * p.P + k] += d[k];
  }
  ensemble.row_spreads(total, {.committee = moves.data()});
  for (int m = 0; m < p.M; ++m)
    CHECK_NEAR(moves[m], dot(total, p.members.data() + m * total.size()) - dot(total, p.model.theta().data()), 1e-11);
}

TEST(ensemble, rows_are_plain_sums) {
  for (InstructionSet set : available_instruction_sets())
    for (const Problem& p : {make(1, 5, false, 40, 1, 1), make(2, 5, false, 3, 1, 2), make(3, 4, true, 77, 1, 4)}) {
      Ensemble ensemble(p.model, p.members, set);
      const std::size_t width = p.n_elements * p.P, n = 71, A = 9;
      std::mt19937 random(21);
      std::normal_distribution<double> normal;
      std::vector<double> rows(n * width), axes(width * A), lo(A), hi(A);
      for (double& x : rows) x = normal(random);
      for (double& x : axes) x = normal(random);
      for (std::size_t k = 0; k < A; ++k) {
        lo[k] = normal(random);
        hi[k] = lo[k] + (k == 3 ? 0.0 : std::abs(normal(random)));
      }
      std::vector<double> std(n), least(n), most(n), committee(p.M * n), low(n), high(n);
      CHECK_THROWS(ensemble.row_spreads(rows, {.box_least = low.data()}), "the posterior has no box");
      ensemble.set_box(axes, lo, hi);
      ensemble.row_spreads(rows, {std.data(), least.data(), most.data(), committee.data(), low.data(), high.data()}, 2);
      for (std::size_t i = 0; i < n; ++i) {
        const double* x = rows.data() + i * width;
        double sum = 0.0, smallest = 1e300, largest = -1e300;
        for (int m = 0; m < p.M; ++m) {
          double move = 0.0;
          for (std::size_t k = 0; k < width; ++k) move += x[k] * (p.members[m * width + k] - p.model.theta()[k]);
          CHECK_NEAR(committee[m * n + i], move, 1e-11);
          sum += move * move;
          smallest = std::min(smallest, committee[m * n + i]);
          largest = std::max(largest, committee[m * n + i]);
        }
        CHECK_NEAR(std[i], std::sqrt(sum / p.M), 1e-11);
        CHECK(least[i] == smallest && most[i] == largest);  // among the committee to the last bit
        double below = 0.0, above = 0.0;
        for (std::size_t k = 0; k < A; ++k) {
          double along = 0.0;
          for (std::size_t w = 0; w < width; ++w) along += x[w] * axes[w * A + k];
          below += std::min(lo[k] * along, hi[k] * along);
          above += std::max(lo[k] * along, hi[k] * along);
        }
        CHECK_NEAR(low[i], below, 1e-10);
        CHECK_NEAR(high[i], above, 1e-10);
      }
      // Sdᵀ for the first row as features.
      std::vector<double> weights(width);
      ensemble.second_moment_times(std::span(rows).first(width), weights);
      double variance = 0.0;
      for (std::size_t k = 0; k < width; ++k) variance += rows[k] * weights[k];
      CHECK_NEAR(variance, std[0] * std[0], 1e-10);
      hi[1] = lo[1] - 1.0;
      CHECK_THROWS(ensemble.set_box(axes, lo, hi), "expected finite rising bounds");
      CHECK_THROWS(ensemble.set_box(std::span(axes).first(3), lo, lo), "box of 3 axis entries");
    }
}

TEST(ensemble, atoms_leave_out_how_energy_is_shared) {
  for (const Problem& p : {make(1, 4, false, 30, 9, 6), make(2, 3, true, 5, 9, 7)}) {
    const std::size_t width = p.n_elements * p.P, S = 2;
    std::mt19937 random(17);
    std::normal_distribution<double> normal;
    std::vector<double> moves(S * width), coefficients(p.M * S), own = p.members;
    for (double& x : moves) x = normal(random);
    for (double& x : coefficients) x = normal(random);
    for (int m = 0; m < p.M; ++m)
      for (std::size_t k = 0; k < width; ++k)
        for (std::size_t s = 0; s < S; ++s) own[m * width + k] -= coefficients[m * S + s] * moves[s * width + k];
    Ensemble ensemble(p.model, p.members);
    const Ensemble whole(p.model, p.members), of_atoms(p.model, own);
    ensemble.set_sharing(moves, coefficients);
    const std::size_t n_atoms = 3 * p.n + 1;
    std::vector<double> found(3 * n_atoms, 0.0), expected(3 * n_atoms, 0.0);
    const auto to = [&](std::vector<double>& x) {
      return AtomSpreads{x.data(), x.data() + n_atoms, x.data() + 2 * n_atoms};
    };
    ensemble.atom_spreads(p.model, p.centres, p.species, p.B.data(), to(found));
    of_atoms.atom_spreads(p.model, p.centres, p.species, p.B.data(), to(expected));
    for (std::size_t i = 0; i < found.size(); ++i) CHECK_NEAR(found[i], expected[i], 1e-11);
    // Rows, and what is asked of S, know the members whole.
    std::vector<double> rows(3 * width), weights(width), same(width);
    for (double& x : rows) x = normal(random);
    std::vector<double> std(3), std_whole(3), least(3), least_whole(3);
    ensemble.row_spreads(rows, {.std = std.data(), .least = least.data()});
    whole.row_spreads(rows, {.std = std_whole.data(), .least = least_whole.data()});
    for (int i = 0; i < 3; ++i) {
      CHECK_NEAR(std[i], std_whole[i], 1e-11);
      CHECK(least[i] == least_whole[i]);
    }
    ensemble.second_moment_times(std::span(rows).first(width), weights);
    whole.second_moment_times(std::span(rows).first(width), same);
    for (std::size_t k = 0; k < width; ++k) CHECK_NEAR(weights[k], same[k], 1e-10);
    CHECK_THROWS(ensemble.set_sharing(std::span(moves).first(width + 1), coefficients), "expected a multiple of");
    CHECK_THROWS(ensemble.set_sharing(moves, std::span(coefficients).first(3)), "coefficients");
    moves[1] = std::numeric_limits<double>::infinity();
    CHECK_THROWS(ensemble.set_sharing(moves, coefficients), "not finite");
  }
}

TEST(ensemble, extrapolation_needs_no_members) {
  const Problem p = make(2, 3, false, 4, 70, 9);
  std::vector<double> values(3 * p.n);
  const int n = p.n_elements * p.P;
  std::mt19937 random(10);
  std::normal_distribution<double> normal;
  std::vector<double> R(n * n, 0.0);
  for (int i = 0; i < n; ++i)
    for (int j = i; j < n; ++j) R[i * n + j] = normal(random) + (i == j ? 4.0 : 0.0);
  R[0] = -R[0];  // a factor of QR need not have a positive diagonal
  Extrapolation(p.model, R).distances(p.model, p.centres, p.species, p.B.data(), values.data());
  for (int i = 0; i < p.n; ++i) {
    // |y|² with Rᵀ y = d, by forward substitution.
    std::vector<double> d(n, 0.0);
    const auto own = features(p, i);
    std::copy(own.begin(), own.end(), d.begin() + p.species[i] * p.P);
    double norm = 0.0;
    for (int r = 0; r < n; ++r) {
      for (int c = 0; c < r; ++c) d[r] -= R[c * n + r] * d[c];
      d[r] /= R[r * n + r];
      norm += d[r] * d[r];
    }
    CHECK_NEAR(values[p.centres[i]], norm, 1e-11 * (1.0 + norm));
  }
  R[3 * n + 3] = 0.0;
  CHECK_THROWS(Extrapolation(p.model, R), "singular at weight 3");
  R[3 * n + 3] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS(Extrapolation(p.model, R), "singular at weight 3");
  CHECK_THROWS(Extrapolation(p.model, std::span(R).first(5)), "has 5 entries");
}

TEST(ensemble, bad_weights) {
  const EnergyModel model(1, 2, false, {1.0, 2.0, 3.0});
  CHECK_THROWS(Ensemble(model, std::vector<double>{}), "expected a multiple of 3");
  CHECK_THROWS(Ensemble(model, std::vector<double>(4)), "4 weights, expected a multiple of 3");
  CHECK_THROWS(Ensemble(model, std::vector<double>{1.0, NAN, 2.0}), "not a finite number");
  CHECK_THROWS(EnergyModel(1, 2, false, {1.0, 2.0}), "2 weights, expected 3");
  CHECK_THROWS(EnergyModel(1, 2, false, {1.0, INFINITY, 2.0}), "weight 1 is not a finite number");
}
