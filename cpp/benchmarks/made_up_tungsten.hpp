// What the programs beside this file time or count: SNAP of tungsten with weights of no meaning.
#pragma once

#include <cmath>
#include <vector>

#include "mliuq/energy_model.hpp"
#include "mliuq/snap_params.hpp"

namespace mliuq {

inline SnapParams tungsten(int twojmax) {
  SnapParams params;
  params.twojmax = twojmax;
  params.rcutfac = 4.73442;
  params.elements = {"W"};
  params.radii = {0.5};
  params.weights = {1.0};
  return params;
}

inline EnergyModel made_up_model(const SnapParams& params) {
  std::vector<double> theta(params.n_weights());
  for (std::size_t p = 0; p < theta.size(); ++p) theta[p] = std::sin(1.0 + static_cast<double>(p));
  return EnergyModel(1, params.n_components(), false, theta);
}

}  // namespace mliuq
