#pragma once

#include <memory>
#include <span>
#include <vector>

#include "mliuq/energy_model.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq {

/// Spread of one energy-like quantity f = d·θ over the posterior, about the best fit.
struct Spread {
  double std = 0.0;  ///< root of the second moment of f over the members about the best fit
  double min = 0.0;  ///< smallest f over the members
  double max = 0.0;  ///< largest f over the members
};

/// Where per-atom spreads go, each [n_atoms] indexed by atom, eV. Null: not wanted.
struct AtomSpreads {
  double* std = nullptr;
  double* min = nullptr;
  double* max = nullptr;
  double* extrapolation = nullptr;  ///< dᵀA⁻¹d, needs an extrapolation factor

  bool any() const { return std || min || max || extrapolation; }
};

/// Weights sampled from the posterior, and what they say of energies. The second moment of M members of P weights is
/// kept as a triangular factor of min(M, P) columns: the spread over all members at the price of fewer, and exact.
class Ensemble {
 public:
  /// members: [M][n_elements][P] flattened. Throws Error on a wrong length or a non-finite weight.
  Ensemble(const EnergyModel& model, std::span<const double> members,
           InstructionSet instruction_set = KernelChoice::automatic().instruction_set);
  ~Ensemble();
  Ensemble(Ensemble&&) noexcept;
  Ensemble& operator=(Ensemble&&) noexcept;

  int n_members() const { return n_members_; }

  /// The upper triangular R of A = RᵀR over all n_elements·P weights, row-major: extrapolation = |R⁻ᵀ d|².
  void set_extrapolation_factor(std::span<const double> factor);
  bool has_extrapolation() const;

  /// Spreads of the energies of a run of centres from their descriptors B [n_centres][K] and best-fit energies.
  void atom_spreads(const EnergyModel& model, std::span<const int> centres, std::span<const int> species,
                    const double* B, const AtomSpreads& out) const;

  /// By how much each member's energy differs from the best fit's, d·(θ_m − θ*) into moves [M], for summed features
  /// d [n_elements][P].
  void committee_moves(std::span<const double> features, std::span<double> moves) const;

 private:
  struct Factors;

  int n_members_ = 0;
  int n_elements_ = 0;
  int n_weights_ = 0;
  std::vector<double> theta_;
  std::unique_ptr<Factors> factors_;
};

}  // namespace mliuq
