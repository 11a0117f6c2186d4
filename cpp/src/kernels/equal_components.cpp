#include "kernels/equal_components.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "bispectrum_index.hpp"

namespace mliuq {
namespace {

constexpr double kPrintedDigits = 1e-8;  // relative to the largest weight

/// Class of equal components of each component, numbered from 0.
std::vector<int> classes_of_components(const SnapParams& params) {
  const auto triples = bispectrum_triples(params.twojmax);
  const int n = params.chemflag ? params.n_elements() : 1;
  std::vector<int> classes;
  std::map<std::array<int, 4>, int> known;
  for (int c1 = 0; c1 < n; ++c1)
    for (int c2 = 0; c2 < n; ++c2)
      for (int c3 = 0; c3 < n; ++c3)
        for (int t = 0; t < static_cast<int>(triples.size()); ++t) {
          std::array<int, 4> key{c1, c2, c3, t};
          const auto& [j1, j2, j] = triples[t];
          if (j1 == j2 && j2 == j) {
            std::sort(key.begin(), key.begin() + 3);
          } else if (j1 == j2) {
            std::sort(key.begin(), key.begin() + 2);
          } else if (j1 == j && key[0] > key[2]) {
            std::swap(key[0], key[2]);
          }
          classes.push_back(known.emplace(key, static_cast<int>(known.size())).first->second);
        }
  return classes;
}

/// Replaces values by their means over classes; the largest change.
double average_over(const std::vector<int>& classes, double* values, int stride) {
  std::vector<double> sums(classes.size(), 0.0), counts(classes.size(), 0.0);
  for (std::size_t k = 0; k < classes.size(); ++k) {
    sums[classes[k]] += values[k * stride];
    counts[classes[k]] += 1.0;
  }
  double change = 0.0;
  for (std::size_t k = 0; k < classes.size(); ++k) {
    const double mean = sums[classes[k]] / counts[classes[k]];
    change = std::max(change, std::abs(values[k * stride] - mean));
    values[k * stride] = mean;
  }
  return change;
}

double largest(std::span<const double> values) {
  double most = 0.0;
  for (double v : values) most = std::max(most, std::abs(v));
  return most;
}

}  // namespace

std::optional<EnergyModel> with_equal_weights(const SnapParams& params, const EnergyModel& model) {
  if (!params.chemflag || params.n_elements() == 1) return std::nullopt;
  const auto classes = classes_of_components(params);
  const int K = model.n_components(), P = model.n_weights();
  std::vector<double> theta(model.theta().begin(), model.theta().end());
  bool changed = false;
  for (int e = 0; e < model.n_elements(); ++e) {
    double* linear = theta.data() + static_cast<std::size_t>(e) * P + 1;
    changed |= average_over(classes, linear, 1) > kPrintedDigits * largest(model.linear(e));
    if (!model.quadratic()) continue;
    std::vector<double> full(model.quadratic_matrix(e).begin(), model.quadratic_matrix(e).end());
    double change = 0.0;
    for (int k = 0; k < K; ++k) change = std::max(change, average_over(classes, full.data() + k * K, 1));
    for (int k = 0; k < K; ++k) change = std::max(change, average_over(classes, full.data() + k, K));
    changed |= change > kPrintedDigits * largest(model.quadratic_matrix(e));
    double* packed = linear + K;
    for (int k = 0; k < K; ++k)
      for (int l = k; l < K; ++l) *packed++ = full[k * K + l];
  }
  if (!changed) return std::nullopt;
  return EnergyModel(model.n_elements(), K, model.quadratic(), std::move(theta));
}

}  // namespace mliuq
