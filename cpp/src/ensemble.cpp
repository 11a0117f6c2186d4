#include "mliuq/ensemble.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "dense_block.hpp"
#include "mliuq/error.hpp"

namespace mliuq {
namespace {

// Beyond this the triangular factor costs more to make than it saves; the members themselves serve as the factor.
constexpr int kLargestFactor = 512;
constexpr int kBlock = 64;

/// Upper triangular R of the Householder QR of a [rows][columns], in place; rows ≥ columns.
void triangularise(std::vector<double>& a, int rows, int columns) {
  std::vector<double> v(rows);
  for (int k = 0; k < columns; ++k) {
    double norm = 0.0;
    for (int i = k; i < rows; ++i) norm += a[i * columns + k] * a[i * columns + k];
    norm = std::sqrt(norm);
    if (norm == 0.0) continue;
    const double pivot = a[k * columns + k];
    const double sign = pivot < 0.0 ? -1.0 : 1.0;
    for (int i = k; i < rows; ++i) v[i] = a[i * columns + k];
    v[k] += sign * norm;
    const double scale = 1.0 / (norm * (norm + std::abs(pivot)));
    for (int c = k; c < columns; ++c) {
      double dot = 0.0;
      for (int i = k; i < rows; ++i) dot += v[i] * a[i * columns + c];
      dot *= scale;
      for (int i = k; i < rows; ++i) a[i * columns + c] -= dot * v[i];
    }
  }
}

double squared_norm(const double* y, int n) {
  double sum = 0.0;
  for (int i = 0; i < n; ++i) sum += y[i] * y[i];
  return sum;
}

}  // namespace

Ensemble::Ensemble(const EnergyModel& model, std::span<const double> members)
    : n_elements_(model.n_elements()),
      n_weights_(model.n_weights()),
      theta_(model.theta().begin(), model.theta().end()) {
  const std::size_t size = theta_.size();
  if (members.empty() || members.size() % size != 0)
    throw Error("ensemble: " + std::to_string(members.size()) + " weights, expected a multiple of " +
                std::to_string(size));
  for (double weight : members)
    if (!std::isfinite(weight)) throw Error("ensemble: a member has a weight that is not a finite number");
  const int M = n_members_ = static_cast<int>(members.size() / size);
  const int P = n_weights_;
  members_by_element_.resize(members.size());
  for (int m = 0; m < M; ++m)
    for (int e = 0; e < n_elements_; ++e)
      for (int p = 0; p < P; ++p)
        members_by_element_[(static_cast<std::size_t>(e) * P + p) * M + m] = members[m * size + e * P + p];

  const bool factorise = std_is_triangular_ = P < M && P <= kLargestFactor;
  std_rank_ = factorise ? P : M;
  std_factors_.assign(static_cast<std::size_t>(n_elements_) * P * std_rank_, 0.0);
  const double share = 1.0 / std::sqrt(static_cast<double>(M));
  for (int e = 0; e < n_elements_; ++e) {
    double* factor = std_factors_.data() + static_cast<std::size_t>(e) * P * std_rank_;
    std::vector<double> moves(static_cast<std::size_t>(M) * P);
    for (int m = 0; m < M; ++m)
      for (int p = 0; p < P; ++p)
        moves[static_cast<std::size_t>(m) * P + p] = share * (members[m * size + e * P + p] - theta_[e * P + p]);
    if (factorise) triangularise(moves, M, P);
    for (int r = 0; r < std_rank_; ++r)
      for (int p = factorise ? r : 0; p < P; ++p)
        factor[static_cast<std::size_t>(p) * std_rank_ + r] = moves[static_cast<std::size_t>(r) * P + p];
  }
}

void Ensemble::set_extrapolation_factor(std::span<const double> factor) {
  const int n = n_elements_ * n_weights_;
  if (factor.size() != static_cast<std::size_t>(n) * n)
    throw Error("ensemble: extrapolation factor has " + std::to_string(factor.size()) + " entries, expected " +
                std::to_string(n) + "²");
  // R⁻¹, upper triangular, row p holding what weight p contributes: |R⁻ᵀd|² = |dᵀR⁻¹|².
  std::vector<double> inverse(factor.size(), 0.0);
  for (int p = n - 1; p >= 0; --p) {
    const double pivot = factor[static_cast<std::size_t>(p) * n + p];
    if (!(std::abs(pivot) > 0.0))
      throw Error("ensemble: extrapolation factor is singular at weight " + std::to_string(p));
    double* row = inverse.data() + static_cast<std::size_t>(p) * n;
    row[p] = 1.0;
    for (int q = p + 1; q < n; ++q) {
      const double entry = factor[static_cast<std::size_t>(p) * n + q];
      const double* below = inverse.data() + static_cast<std::size_t>(q) * n;
      for (int c = q; c < n; ++c) row[c] -= entry * below[c];
    }
    for (int c = p; c < n; ++c) row[c] /= pivot;
  }
  inverse_factors_ = std::move(inverse);
}

void Ensemble::atom_spreads(const EnergyModel& model, std::span<const int> centres, std::span<const int> species,
                            const double* B, const AtomSpreads& out) const {
  if (out.extrapolation && !has_extrapolation())
    throw Error("extrapolation: the model file has no extrapolation.factor, expected a model fitted by mliuq");
  const int P = n_weights_, K = P == 0 ? 0 : model.n_components(), M = n_members_, n_total = n_elements_ * P;
  thread_local std::vector<double> features, y;
  const int n = static_cast<int>(centres.size());
  for (int begin = 0; begin < n;) {
    const int element = species[begin];
    int end = begin;
    while (end < n && end - begin < kBlock && species[end] == element) ++end;
    const int count = end - begin;
    features.resize(static_cast<std::size_t>(kBlock) * P);
    y.resize(static_cast<std::size_t>(kBlock) * std::max({M, std_rank_, n_total}));
    for (int a = 0; a < count; ++a)
      model.features(std::span(B + static_cast<std::size_t>(begin + a) * K, K),
                     std::span(features).subspan(static_cast<std::size_t>(a) * P, P));
    const auto project = [&](const double* factor, int rank, Shape shape) {
      multiply_block(count, P, rank, features.data(), P, factor, y.data(), shape);
    };
    const auto offset = [&](int rank) { return static_cast<std::size_t>(element) * P * rank; };
    if (out.std) {
      project(std_factors_.data() + offset(std_rank_), std_rank_, std_is_triangular_ ? Shape::lower : Shape::full);
      for (int a = 0; a < count; ++a)
        out.std[centres[begin + a]] =
            std::sqrt(squared_norm(y.data() + static_cast<std::size_t>(a) * std_rank_, std_rank_));
    }
    if (out.min || out.max) {
      project(members_by_element_.data() + offset(M), M, Shape::full);
      for (int a = 0; a < count; ++a) {
        const double* e = y.data() + static_cast<std::size_t>(a) * M;
        const auto [least, most] = std::minmax_element(e, e + M);
        if (out.min) out.min[centres[begin + a]] = *least;
        if (out.max) out.max[centres[begin + a]] = *most;
      }
    }
    if (out.extrapolation) {
      project(inverse_factors_.data() + offset(n_total), n_total, Shape::full);
      for (int a = 0; a < count; ++a)
        out.extrapolation[centres[begin + a]] = squared_norm(y.data() + static_cast<std::size_t>(a) * n_total, n_total);
    }
    begin = end;
  }
}

void Ensemble::committee_moves(std::span<const double> features, std::span<double> moves) const {
  std::fill(moves.begin(), moves.end(), 0.0);
  for (std::size_t p = 0; p < theta_.size(); ++p) {
    const double* members = members_by_element_.data() + p * n_members_;
    for (int m = 0; m < n_members_; ++m) moves[m] += features[p] * (members[m] - theta_[p]);
  }
}

}  // namespace mliuq
