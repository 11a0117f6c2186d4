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

/// Contents of the two files.
struct SnapTexts {
  std::string coeff;
  std::string param;
};

/// The files from which stock LAMMPS reads back the same doubles. With chemflag, components that are equal by symmetry
/// carry equal weights, without which its forces would not be the gradient of its energy.
SnapTexts snap_texts(const SnapPotential& potential);

}  // namespace mliuq
