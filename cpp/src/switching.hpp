#pragma once

// Radial weight of one neighbour, s(r) = w_j f_c(r) f_in(r), as LAMMPS defines it:
//   f_c = ½(1 + cos π(r − rmin0)/(R_cut − rmin0)), 1 below rmin0 (switchflag), and
//   f_in = ½(1 − cos(π/2 + π/2 (r − sinner)/dinner)) between sinner ∓ dinner (switchinnerflag).

#include <cmath>
#include <numbers>

#include "mliuq/snap_params.hpp"

namespace mliuq {

struct RadialWeight {
  double value, slope;
};

inline RadialWeight switching(const SnapParams& params, double r, double cutoff, int a, int b) {
  constexpr double pi = std::numbers::pi;
  RadialWeight outer{1.0, 0.0};
  if (params.switchflag && r > params.rmin0) {
    const double rate = pi / (cutoff - params.rmin0);
    const double phase = rate * (r - params.rmin0);
    outer = {0.5 * (std::cos(phase) + 1.0), -0.5 * rate * std::sin(phase)};
  }
  RadialWeight inner{1.0, 0.0};
  if (params.switchinnerflag) {
    const double centre = 0.5 * (params.sinner[a] + params.sinner[b]);
    const double half_width = 0.5 * (params.dinner[a] + params.dinner[b]);
    if (r <= centre - half_width) {
      inner = {0.0, 0.0};
    } else if (r < centre + half_width) {
      const double rate = 0.5 * pi / half_width;
      const double phase = 0.5 * pi + rate * (r - centre);
      inner = {0.5 * (1.0 - std::cos(phase)), 0.5 * rate * std::sin(phase)};
    }
  }
  const double w = params.weights[b];
  return {w * outer.value * inner.value, w * (outer.slope * inner.value + outer.value * inner.slope)};
}

}  // namespace mliuq
