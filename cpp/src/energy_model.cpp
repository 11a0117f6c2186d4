#include "mliuq/energy_model.hpp"

#include <cmath>
#include <string>
#include <utility>

#include "mliuq/error.hpp"
#include "scaled_sums.hpp"

namespace mliuq {

EnergyModel::EnergyModel(int n_elements, int n_components, bool quadratic, std::vector<double> theta)
    : n_elements_(n_elements),
      n_components_(n_components),
      n_weights_(1 + n_components + (quadratic ? n_components * (n_components + 1) / 2 : 0)),
      quadratic_(quadratic),
      theta_(std::move(theta)) {
  const std::size_t expected = static_cast<std::size_t>(n_elements_) * n_weights_;
  if (theta_.size() != expected)
    throw Error("energy model: " + std::to_string(theta_.size()) + " weights, expected " + std::to_string(expected) +
                " (" + std::to_string(n_elements_) + " elements × " + std::to_string(n_weights_) + ")");
  for (std::size_t p = 0; p < theta_.size(); ++p)
    if (!std::isfinite(theta_[p])) throw Error("energy model: weight " + std::to_string(p) + " is not a finite number");
  if (!quadratic_) return;
  const int K = n_components_;
  quadratic_matrices_.resize(static_cast<std::size_t>(n_elements_) * K * K);
  for (int e = 0; e < n_elements_; ++e) {
    const double* packed = theta_.data() + static_cast<std::size_t>(e) * n_weights_ + 1 + K;
    double* full = quadratic_matrices_.data() + static_cast<std::size_t>(e) * K * K;
    for (int k = 0; k < K; ++k)
      for (int l = k; l < K; ++l) full[k * K + l] = full[l * K + k] = *packed++;
  }
}

EnergyModel EnergyModel::zero(int n_elements, int n_components, bool quadratic) {
  const int P = 1 + n_components + (quadratic ? n_components * (n_components + 1) / 2 : 0);
  return {n_elements, n_components, quadratic, std::vector<double>(static_cast<std::size_t>(n_elements) * P, 0.0)};
}

std::span<const double> EnergyModel::linear(int element) const {
  return std::span(theta_).subspan(static_cast<std::size_t>(element) * n_weights_ + 1, n_components_);
}

std::span<const double> EnergyModel::quadratic_matrix(int element) const {
  if (!quadratic_) return {};
  const std::size_t size = static_cast<std::size_t>(n_components_) * n_components_;
  return std::span(quadratic_matrices_).subspan(element * size, size);
}

double EnergyModel::energy(int element, std::span<const double> B) const {
  const auto beta = linear(element);
  double sum = constant(element);
  for (int k = 0; k < n_components_; ++k) sum += beta[k] * B[k];
  if (!quadratic_) return sum;
  const auto alpha = quadratic_matrix(element);
  for (int k = 0; k < n_components_; ++k) {
    double row = 0.5 * alpha[k * n_components_ + k] * B[k];
    for (int l = k + 1; l < n_components_; ++l) row += alpha[k * n_components_ + l] * B[l];
    sum += B[k] * row;
  }
  return sum;
}

void EnergyModel::gradient(int element, std::span<const double> B, std::span<double> beta) const {
  const auto first = linear(element);
  const auto alpha = quadratic_matrix(element);
  for (int k = 0; k < n_components_; ++k) {
    double slope = first[k];
    if (quadratic_)
      for (int l = 0; l < n_components_; ++l) slope += alpha[k * n_components_ + l] * B[l];
    beta[k] = slope;
  }
}

void EnergyModel::add_features(std::span<const double> B, std::span<double> sums) const {
  const int K = n_components_;
  sums[0] += 1.0;
  double* next = sums.data() + 1;
  add_scaled(next, 1.0, B.data(), K);
  if (!quadratic_) return;
  next += K;
  for (int k = 0; k < K; next += K - k, ++k) {
    next[0] += 0.5 * B[k] * B[k];
    add_scaled(next + 1, B[k], B.data() + k + 1, K - k - 1);
  }
}

}  // namespace mliuq
