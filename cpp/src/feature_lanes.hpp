#pragma once

#include <algorithm>
#include <span>

#include "kernels/simd/projection.hpp"
#include "mliuq/aligned.hpp"
#include "mliuq/energy_model.hpp"

namespace mliuq {

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

/// Descriptors of a run of at most `project.group` centres as features in lanes, [P][group].
inline void fill_features(const simd::ProjectionTable& project, const EnergyModel& model, const double* B, int count,
                          AlignedVector<double>& features) {
  const std::size_t K = model.n_components(), group = project.group;
  features.resize(model.n_weights() * group);
  for (int first = 0; first < project.group; first += project.square)
    project.pack_rows(B + std::min(first, count) * K, std::clamp(count - first, 0, project.square), static_cast<int>(K),
                      first, features.data() + group);
  project.complete_features(static_cast<int>(K), model.quadratic(), features.data());
}

}  // namespace mliuq
