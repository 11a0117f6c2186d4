#pragma once

#include <array>
#include <istream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mliuq/snap_params.hpp"
#include "mliuq/zbl.hpp"

namespace mliuq {

/// What calibration says of raw spreads: error² = (alpha·std)² + noise². Noise is per atom for energies.
struct ErrorScale {
  double alpha_energy = 1.0;
  double alpha_force = 1.0;
  double alpha_stress = 1.0;
  double noise_energy = 0.0;  ///< eV/atom
  double noise_force = 0.0;   ///< eV/Å
  double noise_stress = 0.0;  ///< eV/Å³
};

/// Box of a hypercube posterior, θ = θ* + axes·u with lo ≤ u ≤ hi.
struct PosteriorBox {
  std::vector<double> axes;    ///< [n_elements·P][A]
  std::vector<double> lo, hi;  ///< [A]
};

/// How members share energy between atoms (Ensemble::set_sharing).
struct EnergySharing {
  std::vector<double> moves;         ///< [S][n_elements·P]
  std::vector<double> coefficients;  ///< [M][S]
};

/// Everything the core needs of a NAME.mliuq file (docs/reference/model-file.md).
struct ModelFile {
  SnapParams params;
  std::vector<double> theta;                 ///< [n_elements][P]
  std::vector<double> members;               ///< [M][n_elements][P], empty without a posterior
  std::vector<double> extrapolation_factor;  ///< [n_elements·P][n_elements·P] upper triangular, or empty
  std::optional<PosteriorBox> box;
  std::optional<EnergySharing> sharing;
  std::optional<ZblRange> zbl;
  std::string reference;  ///< potential that the fit took off its data, as it was told; not part of the model
  ErrorScale error_scale;
  std::map<std::string, std::array<double, 2>> thresholds;  ///< quantity -> (save, halt): where its guard begins
};

/// Reads a model file. Throws Error naming file, key, expected and found; never trusts a size it has not checked.
ModelFile read_model_file(const std::string& path);

/// Refuses what is no model file by its header and its size, before any of its arrays are read: a device, a pipe,
/// gigabytes of nothing. What is empty or cannot be opened, whoever reads it will name.
void require_model_file(const std::string& path);

/// The same from a stream of its bytes; `name` is what messages call it.
ModelFile read_model_file(std::istream& stream, const std::string& name);

}  // namespace mliuq
