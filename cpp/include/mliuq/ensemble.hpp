#pragma once

#include <memory>
#include <span>
#include <vector>

#include "mliuq/energy_model.hpp"
#include "mliuq/force_rows.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq {

/// Spread of one energy-like quantity f = d·θ over the posterior, about the best fit.
struct Spread {
  double std = 0.0;  ///< root of the second moment of f over the members about the best fit
  double min = 0.0;  ///< smallest f over the members
  double max = 0.0;  ///< largest f over the members
};

/// Where per-atom spreads go, each [n_atoms] indexed by atom, eV; committees have the members first. Null: not wanted.
struct AtomSpreads {
  double* std = nullptr;
  double* min = nullptr;
  double* max = nullptr;
  double* box_min = nullptr;    ///< smallest over the whole box of a hypercube posterior
  double* box_max = nullptr;    ///< largest over the box
  double* committee = nullptr;  ///< [M][n_atoms], of every member
  std::size_t n_atoms = 0;      ///< length of a row of the committee

  bool any() const { return std || min || max || box_min || box_max || committee; }
};

/// Weights sampled from the posterior, and what they say of energies. The second moment of M members of P weights is
/// kept as a triangular factor of min(M, P) columns: the spread over all members at the price of fewer, and exact.
/// Members are kept as moves about the best fit: where all are equal to it, every spread is exactly zero.
class Ensemble {
  friend class RowGroup;

 public:
  /// members: [M][n_elements][P] flattened. Throws Error on a wrong length or a non-finite weight.
  Ensemble(const EnergyModel& model, std::span<const double> members,
           InstructionSet instruction_set = KernelChoice::automatic().instruction_set);
  ~Ensemble();
  Ensemble(Ensemble&&) noexcept;
  Ensemble& operator=(Ensemble&&) noexcept;

  int n_members() const { return n_members_; }

  /// How members share energy between atoms where no training row could tell, which is no error of an atom: member m
  /// holds the sum over k of coefficients[m][k] times moves[k], which spreads of single atoms leave out and those of
  /// rows keep. moves [S][n_elements·P], coefficients [M][S]. Throws Error on wrong lengths and on numbers that are not
  /// finite.
  void set_sharing(std::span<const double> moves, std::span<const double> coefficients);

  /// The box of a hypercube posterior, θ = θ* + axes·u with lo ≤ u ≤ hi: axes [n_elements·P][A], lo and hi [A]. Throws
  /// Error on wrong lengths, on numbers that are not finite and where lo > hi.
  void set_box(std::span<const double> axes, std::span<const double> lo, std::span<const double> hi);
  bool has_box() const;

  /// Spreads of the energies of a run of centres from their descriptors B [n_centres][K]. Extremes and committees are
  /// moves about the best fit's energy: the caller adds it.
  void atom_spreads(const EnergyModel& model, std::span<const int> centres, std::span<const int> species,
                    const double* B, const AtomSpreads& out) const;

  /// Spreads of linear functionals from their design rows x [n][n_elements·P], row after row: force components, strain
  /// derivatives, sums of features, differences of such. Rows are independent of each other and of the thread count.
  /// Throws Error for box bounds of a posterior that has no box.
  void row_spreads(std::span<const double> rows, const MoveSpreads& out, int n_threads = 0) const;

  /// S d into weights [n_elements·P] for features d, S the second moment of the members about the best fit: dᵀ S d is
  /// the variance of d·θ, and S d/σ the weights whose energy has σ's gradient.
  void second_moment_times(std::span<const double> features, std::span<double> weights) const;

  /// scales[c] · ∂σ/∂B of the per-atom standard deviation σ of each centre of a run, into beta [n_centres][K]; zero
  /// where σ is. The weights S d/σ of the run's own element, turned into slopes at its own B.
  void atom_std_slopes(const EnergyModel& model, std::span<const int> species, const double* B, const double* scales,
                       double* beta) const;

 private:
  struct Factors;
  void require_box(bool wanted) const;
  void set_moves_of_atoms(std::span<const double> by_weight);

  int n_members_ = 0;
  int n_elements_ = 0;
  int n_weights_ = 0;
  std::unique_ptr<Factors> factors_;
};

}  // namespace mliuq
