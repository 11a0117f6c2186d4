#pragma once

// From stored Z to descriptors, energies and Y; and the energy of a linear model from Y alone.

#include "kernels/simd/isa/couple.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// Σ x y over n vectors, in several sums that do not wait for each other.
template <class Real>
MLIUQ_INLINE Vector<Real> real_dot(const Vector<Real>* x, const Vector<Real>* y, int n) {
  constexpr int n_parts = 6;
  Vector<Real> parts[n_parts];
  MLIUQ_UNROLL
  for (int p = 0; p < n_parts; ++p) parts[p] = Vector<Real>{};
  int i = 0;
  for (; i + n_parts <= n; i += n_parts) {
    MLIUQ_UNROLL
    for (int p = 0; p < n_parts; ++p) parts[p] += x[i + p] * y[i + p];
  }
  for (; i < n; ++i) parts[0] += x[i] * y[i];
  return ((parts[0] + parts[1]) + (parts[2] + parts[3])) + (parts[4] + parts[5]);
}

template <class Real>
void describe(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  V* B = vectors(block.B);
  for (const DescriptorDot* dot = plan.dots; dot != plan.dots + plan.n_dots; ++dot) {
    const Product& product = plan.products[dot->product];
    const V* z = vectors(block.Z) + 2 * product.stored;
    const V* u = vectors(block.U_half) + 2 * (dot->channel * plan.n_half + half_level(product.j));
    B[dot->component] = real_dot<Real>(u, z, 2 * half_used(product.j));
  }
  finish_descriptors(plan, block);
}

/// e = constant + Σ_k ½ (β_k + ∂e/∂B_k) B_k: linear and quadratic models alike. Summed in double.
template <class Real>
void respond(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  const int K = plan.n_components;
  const V* B = vectors(block.B);
  V* beta = vectors(block.beta);
  const Real* linear = plan.linear + static_cast<long>(block.species) * K;
  Wide<Real> energies = Wide<Real>{} + plan.constant[block.species];
  for (int k = 0; k < K; ++k) {
    V slope = broadcast(linear[k]);
    if (plan.quadratic) {
      const Real* row = plan.matrix + (static_cast<long>(block.species) * K + k) * K;
      V parts[4] = {};
      int i = 0;
      for (; i + 4 <= K; i += 4)
        for (int p = 0; p < 4; ++p) parts[p] += row[i + p] * B[i + p];
      for (; i < K; ++i) parts[0] += row[i] * B[i];
      slope += (parts[0] + parts[1]) + (parts[2] + parts[3]);
    }
    beta[k] = slope;
    energies += 0.5 * (static_cast<double>(linear[k]) + widen<Real>(slope)) * widen<Real>(B[k]);
  }
  store_wide<Real>(block.energies, energies);
}

/// Products folded at a time: Y is read and written once for all of them.
inline constexpr int kFoldProducts = 4;

/// Whose weight goes with a component's derivative: of an equal one, as LAMMPS reads it, or its own.
enum class WeightRule { lammps, exact };

template <WeightRule Rule, int Count, class Real>
MLIUQ_INLINE void fold_level(const Plan<Real>& plan, const Block<Real>& block, int j, int channel,
                             const int* products) {
  using V = Vector<Real>;
  const V* beta = vectors(block.beta);
  const V* z[Count];
  V weight[Count];
  MLIUQ_UNROLL
  for (int c = 0; c < Count; ++c) {
    z[c] = vectors(block.Z) + 2 * plan.products[products[c]].stored;
    weight[c] = V{};
    const int* first = plan.first_term + products[c] * plan.n_channels + channel;
    for (int t = first[0]; t < first[1]; ++t) {
      const WeightTerm<Real>& term = plan.terms[t];
      weight[c] += term.factor * beta[Rule == WeightRule::exact ? term.component : term.weight];
    }
  }
  V* y = vectors(block.Y) + 2 * (channel * plan.n_half + half_level(j));
  for (int i = 0; i < 2 * half_used(j); ++i) {
    V sum = y[i];
    MLIUQ_UNROLL
    for (int c = 0; c < Count; ++c) sum += weight[c] * z[c][i];
    y[i] = sum;
  }
}

/// Y of every channel: each product with the weight its terms give it.
template <WeightRule Rule, class Real>
void fold(const Plan<Real>& plan, const Block<Real>& block) {
  clear_Y(plan, block);
  for (int j = 0; j <= plan.twojmax; ++j) {
    const int* product = plan.level_products + plan.first_of_level[j];
    const int* last = plan.level_products + plan.first_of_level[j + 1];
    for (; product + kFoldProducts <= last; product += kFoldProducts)
      for (int channel = 0; channel < plan.n_channels; ++channel)
        fold_level<Rule, kFoldProducts>(plan, block, j, channel, product);
    for (; product < last; ++product)
      for (int channel = 0; channel < plan.n_channels; ++channel) fold_level<Rule, 1>(plan, block, j, channel, product);
  }
}

/// B is cubic in U, so that Σ β B = ⅓ Re⟨U, Y⟩; the half plane holds half of the product.
template <class Real>
void energy(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  const V* U = vectors(block.U_half);
  const V* Y = vectors(block.Y);
  Wide<Real> sums{};
  for (int j = 0; j <= plan.twojmax; ++j) {
    const V level = real_dot<Real>(U + 2 * half_level(j), Y + 2 * half_level(j), 2 * half_used(j));
    sums += widen<Real>(level);
  }
  store_wide<Real>(block.energies, plan.shifted_constant[block.species] + 2.0 / 3.0 * sums);
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
