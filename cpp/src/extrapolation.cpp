#include "mliuq/extrapolation.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "feature_lanes.hpp"
#include "mliuq/error.hpp"

namespace mliuq {

using simd::PanelledFactor;

namespace {

/// Inverse of an upper triangular R [n][n]: |R⁻ᵀ d|² = |dᵀ R⁻¹|².
std::vector<double> inverse_of_triangle(std::span<const double> R, int n) {
  std::vector<double> inverse(R.size(), 0.0);
  for (int p = n - 1; p >= 0; --p) {
    const double pivot = R[static_cast<std::size_t>(p) * n + p];
    if (!(std::abs(pivot) > 0.0)) throw Error("extrapolation: the factor is singular at weight " + std::to_string(p));
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

}  // namespace

struct Extrapolation::Factors {
  const simd::ProjectionTable& project;
  std::vector<PanelledFactor> of_element;  ///< |Fᵀ d|² = dᵀA⁻¹d
};

Extrapolation::Extrapolation(const EnergyModel& model, std::span<const double> factor, InstructionSet instruction_set)
    : factors_(new Factors{simd::projection_table(instruction_set), {}}) {
  const int P = model.n_weights(), n = model.n_elements() * P;
  if (factor.size() != static_cast<std::size_t>(n) * n)
    throw Error("extrapolation: the factor has " + std::to_string(factor.size()) + " entries, expected " +
                std::to_string(n) + "²");
  const std::vector<double> inverse = inverse_of_triangle(factor, n);
  for (int e = 0; e < model.n_elements(); ++e)
    factors_->of_element.emplace_back(
        std::span(inverse).subspan(static_cast<std::size_t>(e) * P * n, static_cast<std::size_t>(P) * n), P, n,
        PanelledFactor::Padding::zeros);
}

Extrapolation::~Extrapolation() = default;
Extrapolation::Extrapolation(Extrapolation&&) noexcept = default;
Extrapolation& Extrapolation::operator=(Extrapolation&&) noexcept = default;

void Extrapolation::distances(const EnergyModel& model, std::span<const int> centres, std::span<const int> species,
                              const double* B, double* distance) const {
  const std::size_t K = model.n_components();
  const simd::ProjectionTable& project = factors_->project;
  thread_local AlignedVector<double> features, norms;
  norms.resize(project.group);
  for_each_run(species.first(centres.size()), project.group, [&](int first, int count) {
    fill_features(project, model, B + first * K, count, features);
    const auto panels = factors_->of_element[species[first]].panels();
    project.squared_norms(panels.data(), static_cast<int>(panels.size()), features.data(), count, norms.data());
    for (int a = 0; a < count; ++a) distance[centres[first + a]] = norms[a];
  });
}

}  // namespace mliuq
