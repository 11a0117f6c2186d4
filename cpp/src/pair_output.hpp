#pragma once

#include <array>
#include <cstddef>

#include "mliuq/kernel.hpp"

namespace mliuq {

/// Books the gradient of a centre's energy with respect to one neighbour's position, g = ∂e_i/∂r_j: −g acts on j, +g on
/// i, and d ⊗ (−g) with d = r_j − r_i is the virial, half of it to either atom.
inline void add_pair_gradient(const KernelOutput& out, int i, int j, const double d[3],
                              const std::array<double, 3>& g) {
  if (out.forces) {
    double* fi = out.forces + 3 * static_cast<std::size_t>(i);
    double* fj = out.forces + 3 * static_cast<std::size_t>(j);
    for (int c = 0; c < 3; ++c) {
      fi[c] += g[c];
      fj[c] -= g[c];
    }
  }
  if (!out.virial && !out.atom_virials) return;
  const double w[6] = {-d[0] * g[0], -d[1] * g[1], -d[2] * g[2], -d[1] * g[2], -d[0] * g[2], -d[0] * g[1]};
  for (int v = 0; v < 6; ++v) {
    if (out.virial) out.virial[v] += w[v];
    if (out.atom_virials) {
      out.atom_virials[6 * static_cast<std::size_t>(i) + v] += 0.5 * w[v];
      out.atom_virials[6 * static_cast<std::size_t>(j) + v] += 0.5 * w[v];
    }
  }
}

}  // namespace mliuq
