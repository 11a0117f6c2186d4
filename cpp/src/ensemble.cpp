#include "mliuq/ensemble.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "ensemble_factors.hpp"
#include "mliuq/error.hpp"
#include "triangular_factor.hpp"

namespace mliuq {

using simd::PanelledFactor;

PanelledFactor moment_factor(std::vector<double> moves, int M, int P) {
  triangularise(moves, M, P);
  const int rank = std::min(M, P);
  std::vector<double> F(static_cast<std::size_t>(P) * rank);
  for (int r = 0; r < rank; ++r)
    for (int p = r; p < P; ++p) F[static_cast<std::size_t>(p) * rank + r] = moves[static_cast<std::size_t>(r) * P + p];
  return {F, P, rank, PanelledFactor::Padding::zeros};
}

const PanelledFactor& Ensemble::Factors::joint_moment(int n_members, int n_weights) const {
  if (moments.size() == 1 && !shares) return moments.front();
  std::call_once(joint_made_, [&] {
    const double share = 1.0 / std::sqrt(static_cast<double>(n_members));
    std::vector<double> scaled(static_cast<std::size_t>(n_members) * n_weights);
    for (int m = 0; m < n_members; ++m)
      for (int p = 0; p < n_weights; ++p)
        scaled[static_cast<std::size_t>(m) * n_weights + p] = share * moves.entry(p, m);
    joint_ = moment_factor(std::move(scaled), n_members, n_weights);
  });
  return joint_;
}

Ensemble::Ensemble(const EnergyModel& model, std::span<const double> members, InstructionSet instruction_set)
    : n_elements_(model.n_elements()),
      n_weights_(model.n_weights()),
      factors_(std::make_unique<Factors>(simd::projection_table(instruction_set))) {
  const std::size_t size = model.theta().size();
  if (members.empty() || members.size() % size != 0)
    throw Error("ensemble: " + std::to_string(members.size()) + " weights, expected a multiple of " +
                std::to_string(size));
  for (double weight : members)
    if (!std::isfinite(weight)) throw Error("ensemble: a member has a weight that is not a finite number");
  const int M = n_members_ = static_cast<int>(members.size() / size);
  std::vector<double> by_weight(size * M);
  for (int m = 0; m < M; ++m)
    for (std::size_t p = 0; p < size; ++p) by_weight[p * M + m] = members[m * size + p] - model.theta()[p];
  factors_->moves = {by_weight, static_cast<int>(size), M, PanelledFactor::Padding::last_column};
  set_moves_of_atoms(by_weight);
}

// by_weight: [n_elements·P][M]
void Ensemble::set_moves_of_atoms(std::span<const double> by_weight) {
  const int M = n_members_, P = n_weights_;
  const double share = 1.0 / std::sqrt(static_cast<double>(M));
  std::vector<double> moves(static_cast<std::size_t>(M) * P);
  const PanelledFactor& seen = factors_->shares ? factors_->moves_of_atoms : factors_->moves;
  factors_->moves_of_element.clear();
  factors_->moments.clear();
  for (int e = 0; e < n_elements_; ++e) {
    factors_->moves_of_element.push_back(seen.panels_of_rows(e * P, P));
    for (int m = 0; m < M; ++m)
      for (int p = 0; p < P; ++p)
        moves[static_cast<std::size_t>(m) * P + p] = share * by_weight[(static_cast<std::size_t>(e) * P + p) * M + m];
    factors_->moments.push_back(moment_factor(moves, M, P));
  }
}

void Ensemble::set_sharing(std::span<const double> moves, std::span<const double> coefficients) {
  const std::size_t n = static_cast<std::size_t>(n_elements_) * n_weights_, M = n_members_, S = moves.size() / n;
  if (S == 0 || moves.size() != S * n || coefficients.size() != M * S)
    throw Error("ensemble: " + std::to_string(moves.size()) + " weights of moves that share energy and " +
                std::to_string(coefficients.size()) + " coefficients, expected a multiple of " + std::to_string(n) +
                " and " + std::to_string(M) + " for each move");
  for (const auto& numbers : {moves, coefficients})
    for (double x : numbers)
      if (!std::isfinite(x)) throw Error("ensemble: how members share energy holds a number that is not finite");
  std::vector<double> by_weight(n * M);
  for (std::size_t p = 0; p < n; ++p)
    for (std::size_t m = 0; m < M; ++m) {
      double own = factors_->moves.entry(static_cast<int>(p), static_cast<int>(m));
      for (std::size_t k = 0; k < S; ++k) own -= coefficients[m * S + k] * moves[k * n + p];
      by_weight[p * M + m] = own;
    }
  factors_->shares = true;
  factors_->moves_of_atoms = {by_weight, static_cast<int>(n), n_members_, PanelledFactor::Padding::last_column};
  set_moves_of_atoms(by_weight);
}

Ensemble::~Ensemble() = default;
Ensemble::Ensemble(Ensemble&&) noexcept = default;
Ensemble& Ensemble::operator=(Ensemble&&) noexcept = default;

void Ensemble::set_box(std::span<const double> axes, std::span<const double> lo, std::span<const double> hi) {
  const std::size_t n = static_cast<std::size_t>(n_elements_) * n_weights_, A = lo.size();
  if (hi.size() != A || axes.size() != n * A)
    throw Error("ensemble: box of " + std::to_string(axes.size()) + " axis entries, " + std::to_string(A) +
                " lower and " + std::to_string(hi.size()) + " upper bounds for " + std::to_string(n) + " weights");
  std::vector<double> half(n * A), centre(n, 0.0);
  for (std::size_t k = 0; k < A; ++k) {
    if (!(std::isfinite(lo[k]) && std::isfinite(hi[k]) && lo[k] <= hi[k]))
      throw Error("ensemble: axis " + std::to_string(k) + " of the box goes from " + std::to_string(lo[k]) + " to " +
                  std::to_string(hi[k]) + ", expected finite rising bounds");
    for (std::size_t p = 0; p < n; ++p) {
      if (!std::isfinite(axes[p * A + k])) throw Error("ensemble: an axis of the box has an entry that is not finite");
      half[p * A + k] = 0.5 * (hi[k] - lo[k]) * axes[p * A + k];
      centre[p] += 0.5 * (hi[k] + lo[k]) * axes[p * A + k];
    }
  }
  factors_->half_axes = {half, static_cast<int>(n), static_cast<int>(A), PanelledFactor::Padding::zeros};
  factors_->half_axes_of_element.clear();
  for (int e = 0; e < n_elements_; ++e)
    factors_->half_axes_of_element.push_back(factors_->half_axes.panels_of_rows(e * n_weights_, n_weights_));
  factors_->box_centre = std::move(centre);
}

bool Ensemble::has_box() const { return !factors_->box_centre.empty(); }

void Ensemble::atom_spreads(const EnergyModel& model, std::span<const int> centres, std::span<const int> species,
                            const double* B, const AtomSpreads& out) const {
  require_box(out.box_min || out.box_max);
  const std::size_t K = model.n_components();
  const simd::ProjectionTable& project = factors_->project;
  const std::size_t group = project.group;
  thread_local AlignedVector<double> features, first_result, second_result, products;
  first_result.resize(group);
  second_result.resize(group);
  for_each_run(species.first(centres.size()), project.group, [&](int first, int count) {
    fill_features(project, model, B + first * K, count, features);
    const int element = species[first];
    if (out.std) {
      const auto panels = factors_->moments[element].panels();
      project.squared_norms(panels.data(), static_cast<int>(panels.size()), features.data(), count,
                            first_result.data());
      for (int a = 0; a < count; ++a) out.std[centres[first + a]] = std::sqrt(first_result[a]);
    }
    const int first_weight = element * n_weights_;
    if (out.min || out.max) {
      const auto& panels = factors_->moves_of_element[element];
      project.extremes(panels.data(), static_cast<int>(panels.size()), features.data(), count, first_result.data(),
                       second_result.data());
      for (int a = 0; a < count; ++a) {
        if (out.min) out.min[centres[first + a]] = first_result[a];
        if (out.max) out.max[centres[first + a]] = second_result[a];
      }
    }
    if (out.committee) {
      const auto& panels = factors_->moves_of_element[element];
      products.resize(panels.size() * simd::kPanelColumns * group);
      project.products(panels.data(), static_cast<int>(panels.size()), features.data(), count, products.data());
      for (int m = 0; m < n_members_; ++m)
        for (int a = 0; a < count; ++a) out.committee[m * out.n_atoms + centres[first + a]] = products[m * group + a];
    }
    if (out.box_min || out.box_max) {
      const auto& panels = factors_->half_axes_of_element[element];
      project.absolute_sums(panels.data(), static_cast<int>(panels.size()), features.data(), count,
                            first_result.data());
      for (int a = 0; a < count; ++a) {
        double middle = 0.0;
        for (int p = 0; p < n_weights_; ++p) middle += factors_->box_centre[first_weight + p] * features[p * group + a];
        if (out.box_min) out.box_min[centres[first + a]] = middle - first_result[a];
        if (out.box_max) out.box_max[centres[first + a]] = middle + first_result[a];
      }
    }
  });
}

void Ensemble::require_box(bool wanted) const {
  if (wanted && !has_box())
    throw Error("bounds of the box: the posterior has no box, expected a model fitted with posterior = hypercube");
}

}  // namespace mliuq
