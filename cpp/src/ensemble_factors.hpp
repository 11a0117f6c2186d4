#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "feature_lanes.hpp"
#include "kernels/simd/projection.hpp"
#include "mliuq/ensemble.hpp"

namespace mliuq {

/// Second moment of moves [M][P] (about the best fit, times 1/√M) as F [P][min(M, P)]: |Fᵀ d|² is the variance of d·θ.
simd::PanelledFactor moment_factor(std::vector<double> moves, int M, int P);

/// What a posterior's spreads are made of, cut up for the vector unit. Features of one atom meet the rows of its own
/// element, rows of forces and cells those of all elements together.
struct Ensemble::Factors {
  explicit Factors(const simd::ProjectionTable& table) : project(table) {}

  const simd::ProjectionTable& project;
  simd::PanelledFactor moves;                 ///< [n_elements·P][M], members minus best fit
  simd::PanelledFactor moves_of_atoms;        ///< the same without shared energy; empty: nothing is shared
  std::vector<simd::PanelledFactor> moments;  ///< by element, of what atoms see
  simd::PanelledFactor half_axes;             ///< [n_elements·P][axes], of the box; empty: no box
  std::vector<double> box_centre;             ///< [n_elements·P], about the best fit
  std::vector<std::vector<simd::Panel>> moves_of_element, half_axes_of_element;  ///< of atoms, rows of one element
  bool shares = false;                                                           ///< whether atoms see other moves

  /// The factor of all elements together, made when first asked for.
  const simd::PanelledFactor& joint_moment(int n_members, int n_weights) const;

 private:
  mutable std::once_flag joint_made_;
  mutable simd::PanelledFactor joint_;
};

}  // namespace mliuq
