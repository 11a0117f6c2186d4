#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "kernels/simd/projection.hpp"
#include "mliuq/ensemble.hpp"

namespace mliuq {

/// Second moment of moves [M][P] (about the best fit, times 1/√M) as F [P][min(M, P)]: |Fᵀ d|² is the variance of d·θ.
simd::PanelledFactor moment_factor(std::vector<double> moves, int M, int P);

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

/// What a posterior's spreads are made of, cut up for the vector unit. Features of one atom meet the rows of its own
/// element, rows of forces and cells those of all elements together.
struct Ensemble::Factors {
  explicit Factors(const simd::ProjectionTable& table) : project(table) {}

  const simd::ProjectionTable& project;
  simd::PanelledFactor moves;                       ///< [n_elements·P][M], members minus best fit
  std::vector<simd::PanelledFactor> moments;        ///< by element
  std::vector<simd::PanelledFactor> extrapolation;  ///< by element, |Fᵀ d|² = dᵀA⁻¹d; empty: not known
  simd::PanelledFactor half_axes;                   ///< [n_elements·P][axes], of the box; empty: no box
  std::vector<double> box_centre;                   ///< [n_elements·P], about the best fit
  std::vector<std::vector<simd::Panel>> moves_of_element, half_axes_of_element;  ///< the same, rows of one element

  /// Descriptors of a run of at most `project.group` centres as features in lanes, [P][group].
  void fill_features(const EnergyModel& model, const double* B, int count, AlignedVector<double>& features) const;

  /// The factor of all elements together, made when first asked for.
  const simd::PanelledFactor& joint_moment(int n_members, int n_weights) const;

 private:
  mutable std::once_flag joint_made_;
  mutable simd::PanelledFactor joint_;
};

}  // namespace mliuq
