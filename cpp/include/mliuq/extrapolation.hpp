#pragma once

#include <memory>
#include <span>

#include "mliuq/energy_model.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq {

/// How far atoms are from the training data, dᵀA⁻¹d: Mahalanobis distance or local prediction rigidity, without unit.
/// It needs the factor of the fit alone, no posterior.
class Extrapolation {
 public:
  /// factor: the upper triangular R of A = RᵀR over all n_elements·P weights, row-major. Throws Error on a wrong length
  /// or a singular factor.
  Extrapolation(const EnergyModel& model, std::span<const double> factor,
                InstructionSet instruction_set = KernelChoice::automatic().instruction_set);
  ~Extrapolation();
  Extrapolation(Extrapolation&&) noexcept;
  Extrapolation& operator=(Extrapolation&&) noexcept;

  /// |R⁻ᵀd|² of a run of centres from their descriptors B [n_centres][K] into distance [n_atoms], indexed by atom.
  void distances(const EnergyModel& model, std::span<const int> centres, std::span<const int> species, const double* B,
                 double* distance) const;

 private:
  struct Factors;
  std::unique_ptr<Factors> factors_;
};

}  // namespace mliuq
