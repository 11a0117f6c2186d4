#pragma once

#include <string>
#include <vector>

#include "mliuq/snap_params.hpp"

namespace mliuq {

struct SnapPotential {
  SnapParams params;
  std::vector<double> theta;  ///< [n_elements][P]
};

/// Reads a published potential: .snapcoeff (elements and weights) and .snapparam (descriptor). Comments after '#',
/// Windows line ends and blank lines are fine. Throws Error with file and line for unknown, duplicate, missing or
/// out-of-range keys, too few or too many coefficients, and numbers that are not finite.
SnapPotential read_snap_files(const std::string& coeff_path, const std::string& param_path);

/// Writes the two files so that stock LAMMPS reads back the same doubles. Each goes to a temporary name first.
void write_snap_files(const SnapPotential& potential, const std::string& coeff_path, const std::string& param_path);

}  // namespace mliuq
