#include "mliuq/ensemble.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/simd/projection.hpp"
#include "mliuq/error.hpp"
#include "triangular_factor.hpp"

namespace mliuq {

using simd::PanelledFactor;

namespace {

/// Second moment of the moves [M][P] about the best fit, as F [P][min(M, P)] with |Fᵀ d|² = variance of d·θ.
PanelledFactor moment_factor(std::vector<double> moves, int M, int P) {
  triangularise(moves, M, P);
  const int rank = std::min(M, P);
  std::vector<double> F(static_cast<std::size_t>(P) * rank);
  for (int r = 0; r < rank; ++r)
    for (int p = r; p < P; ++p) F[static_cast<std::size_t>(p) * rank + r] = moves[static_cast<std::size_t>(r) * P + p];
  return {F, P, rank, PanelledFactor::Padding::zeros};
}

/// Inverse of an upper triangular R [n][n]: |R⁻ᵀ d|² = |dᵀ R⁻¹|².
std::vector<double> inverse_of_triangle(std::span<const double> R, int n) {
  std::vector<double> inverse(R.size(), 0.0);
  for (int p = n - 1; p >= 0; --p) {
    const double pivot = R[static_cast<std::size_t>(p) * n + p];
    if (!(std::abs(pivot) > 0.0))
      throw Error("ensemble: extrapolation factor is singular at weight " + std::to_string(p));
    double* row = inverse.data() + static_cast<std::size_t>(p) * n;
    row[p] = 1.0;
    for (int q = p + 1; q < n; ++q) {
      const double entry = R[static_cast<std::size_t>(p) * n + q];
      const double* below = inverse.data() + static_cast<std::size_t>(q) * n;
      for (int c = q; c < n; ++c) row[c] -= entry * below[c];
    }
    for (int c = p; c < n; ++c) row[c] /= pivot;
  }
  return inverse;
}

/// Calls visit(first, count) for runs of at most `longest` centres of one element.
template <class Visit>
void for_each_run(std::span<const int> species, int longest, Visit&& visit) {
  const int n = static_cast<int>(species.size());
  for (int first = 0; first < n;) {
    int end = first;
    while (end < n && end - first < longest && species[end] == species[first]) ++end;
    visit(first, end - first);
    first = end;
  }
}

}  // namespace

/// By element, cut up for the vector unit.
struct Ensemble::Factors {
  const simd::ProjectionTable& project;
  std::vector<PanelledFactor> members;        ///< [P][M], the weights themselves
  std::vector<PanelledFactor> moments;        ///< |Fᵀ d|² = variance of d·θ
  std::vector<PanelledFactor> extrapolation;  ///< |Fᵀ d|² = dᵀA⁻¹d; empty: not known
};

Ensemble::Ensemble(const EnergyModel& model, std::span<const double> members, InstructionSet instruction_set)
    : n_elements_(model.n_elements()),
      n_weights_(model.n_weights()),
      theta_(model.theta().begin(), model.theta().end()),
      factors_(std::make_unique<Factors>(simd::projection_table(instruction_set))) {
  const std::size_t size = theta_.size();
  if (members.empty() || members.size() % size != 0)
    throw Error("ensemble: " + std::to_string(members.size()) + " weights, expected a multiple of " +
                std::to_string(size));
  for (double weight : members)
    if (!std::isfinite(weight)) throw Error("ensemble: a member has a weight that is not a finite number");
  const int M = n_members_ = static_cast<int>(members.size() / size);
  const int P = n_weights_;
  const double share = 1.0 / std::sqrt(static_cast<double>(M));
  std::vector<double> by_weight(static_cast<std::size_t>(P) * M), moves(by_weight.size());
  for (int e = 0; e < n_elements_; ++e) {
    for (int m = 0; m < M; ++m)
      for (int p = 0; p < P; ++p) {
        const double weight = members[m * size + e * P + p];
        by_weight[static_cast<std::size_t>(p) * M + m] = weight;
        moves[static_cast<std::size_t>(m) * P + p] = share * (weight - theta_[e * P + p]);
      }
    factors_->members.emplace_back(by_weight, P, M, PanelledFactor::Padding::last_column);
    factors_->moments.push_back(moment_factor(moves, M, P));
  }
}

Ensemble::~Ensemble() = default;
Ensemble::Ensemble(Ensemble&&) noexcept = default;
Ensemble& Ensemble::operator=(Ensemble&&) noexcept = default;

void Ensemble::set_extrapolation_factor(std::span<const double> factor) {
  const int n = n_elements_ * n_weights_;
  if (factor.size() != static_cast<std::size_t>(n) * n)
    throw Error("ensemble: extrapolation factor has " + std::to_string(factor.size()) + " entries, expected " +
                std::to_string(n) + "²");
  const std::vector<double> inverse = inverse_of_triangle(factor, n);
  factors_->extrapolation.clear();
  for (int e = 0; e < n_elements_; ++e)
    factors_->extrapolation.emplace_back(std::span(inverse).subspan(static_cast<std::size_t>(e) * n_weights_ * n,
                                                                    static_cast<std::size_t>(n_weights_) * n),
                                         n_weights_, n, PanelledFactor::Padding::zeros);
}

bool Ensemble::has_extrapolation() const { return !factors_->extrapolation.empty(); }

void Ensemble::atom_spreads(const EnergyModel& model, std::span<const int> centres, std::span<const int> species,
                            const double* B, const AtomSpreads& out) const {
  if (out.extrapolation && !has_extrapolation())
    throw Error("extrapolation: the model file has no extrapolation.factor, expected a model fitted by mliuq");
  const int K = model.n_components();
  const simd::ProjectionTable& project = factors_->project;
  const std::size_t group = project.group;
  thread_local AlignedVector<double> features, first_result, second_result;
  features.resize(n_weights_ * group);
  first_result.resize(group);
  second_result.resize(group);
  for_each_run(species.first(centres.size()), project.group, [&](int first, int count) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(K); ++k) {
      double* lanes = features.data() + (1 + k) * group;
      for (int a = 0; a < count; ++a) lanes[a] = B[static_cast<std::size_t>(first + a) * K + k];
      std::fill(lanes + count, lanes + group, 0.0);
    }
    project.complete_features(K, model.quadratic(), features.data());
    const int element = species[first];
    const auto norms = [&](const std::vector<PanelledFactor>& factors, auto&& put) {
      const auto panels = factors[element].panels();
      project.squared_norms(panels.data(), static_cast<int>(panels.size()), features.data(), first_result.data());
      for (int a = 0; a < count; ++a) put(centres[first + a], first_result[a]);
    };
    if (out.std) norms(factors_->moments, [&](int atom, double variance) { out.std[atom] = std::sqrt(variance); });
    if (out.extrapolation)
      norms(factors_->extrapolation, [&](int atom, double norm) { out.extrapolation[atom] = norm; });
    if (out.min || out.max) {
      const auto panels = factors_->members[element].panels();
      project.extremes(panels.data(), static_cast<int>(panels.size()), features.data(), first_result.data(),
                       second_result.data());
      for (int a = 0; a < count; ++a) {
        if (out.min) out.min[centres[first + a]] = first_result[a];
        if (out.max) out.max[centres[first + a]] = second_result[a];
      }
    }
  });
}

void Ensemble::committee_moves(std::span<const double> features, std::span<double> moves) const {
  std::fill(moves.begin(), moves.end(), 0.0);
  for (int e = 0; e < n_elements_; ++e) {
    const double* d = features.data() + static_cast<std::size_t>(e) * n_weights_;
    const double* best = theta_.data() + static_cast<std::size_t>(e) * n_weights_;
    for (int m = 0; m < n_members_; ++m)
      for (int p = 0; p < n_weights_; ++p) moves[m] += d[p] * (factors_->members[e].entry(p, m) - best[p]);
  }
}

}  // namespace mliuq
