#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mliuq/energy_model.hpp"
#include "mliuq/ensemble.hpp"
#include "mliuq/extrapolation.hpp"
#include "mliuq/kernel.hpp"
#include "mliuq/model_file.hpp"
#include "mliuq/zbl.hpp"

namespace mliuq {

/// Where an evaluation goes; null: not wanted. Arrays [n_atoms] are indexed by atom and written for centres only.
struct PotentialOutput {
  double* energy = nullptr;         ///< [1], eV, sum over the centres, overwritten
  double* atom_energies = nullptr;  ///< [n_atoms], eV, overwritten
  double* forces = nullptr;         ///< [n_atoms][3], eV/Å, added to (images included: the caller folds them back)
  double* virial = nullptr;         ///< [6] Voigt, eV, added to
  double* atom_virials = nullptr;   ///< [n_atoms][6] Voigt, eV, added to
  double* B = nullptr;              ///< [n_atoms][K], overwritten
  AtomSpreads spreads;              ///< per-atom spreads, need members
  double* extrapolation = nullptr;  ///< [n_atoms], dᵀA⁻¹d, needs an extrapolation factor
  double* features = nullptr;       ///< [n_elements][P], sum of D over the centres, overwritten: add over ranks,
                                    ///  then ask Potential::cell_spread
};

/// Descriptor, model, ensemble and nuclear repulsion put together: what ASE and LAMMPS call.
/// A Potential owns its workspaces: calls of `evaluate` from several threads wait for each other.
class Potential {
 public:
  explicit Potential(ModelFile file, KernelChoice choice = KernelChoice::automatic());
  ~Potential();
  Potential(Potential&&) noexcept;
  Potential& operator=(Potential&&) noexcept;

  const SnapParams& params() const;
  const EnergyModel& model() const;
  const Ensemble* ensemble() const;            ///< null without members
  const Extrapolation* extrapolation() const;  ///< null without a factor
  const ErrorScale& error_scale() const;
  const std::map<std::string, std::array<double, 2>>& thresholds() const;  ///< of a guard, as in ModelFile
  const Kernel& kernel() const;
  double cutoff() const;  ///< Å, largest of SNAP and ZBL

  /// Centres of species −1 are skipped. n_threads 0: what OpenMP would take. Deterministic for a fixed thread count.
  /// Throws Error when spreads are asked of a model without members, or an energy comes out non-finite (naming the
  /// atom).
  void evaluate(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                int n_threads = 0);

  /// Rows of the forces on chosen atoms, and of the strain, from all `centres` that see them: every centre of this
  /// process must be among them, whatever the tile. Centres of species −1 are skipped, and centres that see no atom of
  /// the tile cost next to nothing. Nuclear repulsion has no rows: it has no spread. Sums of linear models
  /// do not depend on the number of threads, those of quadratic ones in the last bits only.
  void accumulate_rows(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
                       int n_threads = 0);

  /// Adds scale · ∂σ/∂r of the cell's energy_std σ to gradient [n_atoms][3] (images included: the caller folds them
  /// back), eV/Å. `features` [n_elements][P] are those of the whole cell (summed over processes), centres those of this
  /// process. One evaluation of forces. Nothing is added where σ = 0.
  void energy_std_gradient(const Neighbourhood& atoms, std::span<const int> centres, std::span<const double> features,
                           double scale, double* gradient, int n_threads = 0);

  /// The same for Σ_i scales[i] σ_i of the per-atom energy_std of the centres, scales [n_atoms].
  void atom_std_gradient(const Neighbourhood& atoms, std::span<const int> centres, const double* scales,
                         double* gradient, int n_threads = 0);

  /// Spread of a cell's energy from its summed features and its best-fit energy (eV, nuclear repulsion included).
  /// Throws Error for a model without members.
  Spread cell_spread(std::span<const double> features, double energy) const;

  /// The cell's energy by every member into energies [M], eV.
  void committee(std::span<const double> features, double energy, std::span<double> energies) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Throws Error naming `of` unless std, min and max are finite, std is not negative and min ≤ max.
void require_spread(const Spread& spread, const std::string& of);

/// Predicted error of a cell's energy, eV: sqrt((alpha std)² + (n_atoms noise)²).
double energy_error(const ErrorScale& scale, double std, double n_atoms);

}  // namespace mliuq
