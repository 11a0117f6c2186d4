#pragma once

// From stored Z to descriptors, energies and Y; and the energy of a linear model from Y alone.

#include "kernels/simd/isa/couple.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

template <class Real>
void describe(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  V* B = vectors(block.B);
  for (const DescriptorDot* dot = plan.dots; dot != plan.dots + plan.n_dots; ++dot) {
    const Product& product = plan.products[dot->product];
    const V* z = vectors(block.Z) + 2 * product.stored;
    const V* u = vectors(block.U_half) + 2 * (dot->channel * plan.n_half + half_level(product.j));
    V even{}, odd{};
    for (int i = 0; i < half_used(product.j); ++i) {
      even += u[2 * i] * z[2 * i];
      odd += u[2 * i + 1] * z[2 * i + 1];
    }
    B[dot->component] = even + odd;
    if (dot->twin >= 0) B[dot->twin] = even + odd;
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
  for (int l = 0; l < kLanes<Real>; ++l) block.energies[l] = plan.constant[block.species];
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
    for (int l = 0; l < kLanes<Real>; ++l)
      block.energies[l] += 0.5 * (static_cast<double>(linear[k]) + slope[l]) * static_cast<double>(B[k][l]);
  }
}

/// Y of every channel: each product with the weight its terms give it.
template <class Real>
void fold(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  const V* beta = vectors(block.beta);
  set_zero<Real>(vectors(block.Y), 2 * plan.n_half * plan.n_channels);
  const int* first = plan.first_term;
  for (int p = 0; p < plan.n_products; ++p) {
    const Product& product = plan.products[p];
    const V* z = vectors(block.Z) + 2 * product.stored;
    for (int channel = 0; channel < plan.n_channels; ++channel, ++first) {
      V weight{};
      for (int t = first[0]; t < first[1]; ++t) weight += plan.terms[t].factor * beta[plan.terms[t].weight];
      V* y = vectors(block.Y) + 2 * (channel * plan.n_half + half_level(product.j));
      for (int i = 0; i < 2 * half_used(product.j); ++i) y[i] += weight * z[i];
    }
  }
}

/// B is cubic in U, so that Σ β B = ⅓ Re⟨U, Y⟩; the half plane holds half of the product.
template <class Real>
void energy(const Plan<Real>& plan, const Block<Real>& block) {
  using V = Vector<Real>;
  const V* U = vectors(block.U_half);
  const V* Y = vectors(block.Y);
  double sums[kLanes<Real>] = {};
  for (int j = 0; j <= plan.twojmax; ++j) {
    V level{};
    for (int i = 2 * half_level(j); i < 2 * (half_level(j) + half_used(j)); ++i) level += U[i] * Y[i];
    for (int l = 0; l < kLanes<Real>; ++l) sums[l] += level[l];
  }
  for (int l = 0; l < kLanes<Real>; ++l)
    block.energies[l] = plan.shifted_constant[block.species] + 2.0 / 3.0 * sums[l];
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
