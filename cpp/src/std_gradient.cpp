// Weights whose energy has the gradient of a standard deviation: from σ² = dᵀ S d follows ∂σ/∂d = S d/σ.

#include <algorithm>
#include <cmath>

#include "clones.hpp"
#include "ensemble_factors.hpp"

namespace mliuq {
namespace {

/// weights [n_rows][group] += F products, for one panel of columns and their products [kPanelColumns][group].
MLIUQ_CLONES void add_panel(const simd::Panel& panel, const double* products, int group, double* weights) {
  for (int row = 0; row < panel.n_rows; ++row) {
    double* to = weights + static_cast<std::ptrdiff_t>(panel.first + row) * group;
    const double* F = panel.entries + static_cast<std::ptrdiff_t>(row) * simd::kPanelColumns;
    for (int c = 0; c < simd::kPanelColumns; ++c)
      for (int a = 0; a < group; ++a) to[a] += F[c] * products[c * group + a];
  }
}

/// ∂(D·w)/∂B_k of every lane into slopes [K][group], from weights w and features D [P][group].
MLIUQ_CLONES void add_slopes(int K, bool quadratic, int group, const double* weights, const double* features,
                             double* slopes) {
  std::copy_n(weights + group, static_cast<std::ptrdiff_t>(K) * group, slopes);
  if (!quadratic) return;
  const double* B = features + group;
  const double* w = weights + static_cast<std::ptrdiff_t>(1 + K) * group;
  for (int k = 0; k < K; ++k)
    for (int l = k; l < K; ++l, w += group) {
      for (int a = 0; a < group; ++a) slopes[k * group + a] += w[a] * B[l * group + a];
      if (l == k) continue;
      for (int a = 0; a < group; ++a) slopes[l * group + a] += w[a] * B[k * group + a];
    }
}

}  // namespace

void Ensemble::second_moment_times(std::span<const double> features, std::span<double> weights) const {
  std::fill(weights.begin(), weights.end(), 0.0);
  for (const simd::Panel& panel : factors_->joint_moment(n_members_, n_elements_ * n_weights_).panels()) {
    double products[simd::kPanelColumns] = {};
    const double* F = panel.entries;
    for (int p = panel.first; p < panel.first + panel.n_rows; ++p)
      for (int c = 0; c < simd::kPanelColumns; ++c) products[c] += features[p] * *F++;
    F = panel.entries;
    for (int p = panel.first; p < panel.first + panel.n_rows; ++p)
      for (int c = 0; c < simd::kPanelColumns; ++c) weights[p] += products[c] * *F++;
  }
}

void Ensemble::atom_std_slopes(const EnergyModel& model, std::span<const int> species, const double* B,
                               const double* scales, double* beta) const {
  const std::size_t K = model.n_components(), group = factors_->project.group;
  thread_local AlignedVector<double> features, products, weights, slopes;
  for_each_run(species, static_cast<int>(group), [&](int first, int count) {
    fill_features(factors_->project, model, B + first * K, count, features);
    const auto panels = factors_->moments[species[first]].panels();
    products.resize(panels.size() * simd::kPanelColumns * group);
    factors_->project.products(panels.data(), static_cast<int>(panels.size()), features.data(), static_cast<int>(group),
                               products.data());
    weights.assign(n_weights_ * group, 0.0);
    for (std::size_t p = 0; p < panels.size(); ++p)
      add_panel(panels[p], products.data() + p * simd::kPanelColumns * group, static_cast<int>(group), weights.data());
    slopes.resize(K * group);
    add_slopes(static_cast<int>(K), model.quadratic(), static_cast<int>(group), weights.data(), features.data(),
               slopes.data());
    for (int a = 0; a < count; ++a) {
      double variance = 0.0;
      for (std::size_t c = a; c < products.size(); c += group) variance += products[c] * products[c];
      const double scale = variance > 0.0 ? scales[first + a] / std::sqrt(variance) : 0.0;
      for (std::size_t k = 0; k < K; ++k) beta[(first + a) * K + k] = scale * slopes[k * group + a];
    }
  });
}

}  // namespace mliuq
