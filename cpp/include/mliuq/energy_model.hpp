#pragma once

#include <span>
#include <vector>

namespace mliuq {

/// Energy of an atom as a function of its descriptor B, linear in the weights: e = D(B)·θ with the features
/// D = (1, B_1 … B_K) or, quadratic, (1, B_1 … B_K, ½B_1², B_1B_2, … B_1B_K, ½B_2², …) — the order of LAMMPS.
class EnergyModel {
 public:
  /// theta: [n_elements][P] flattened. Throws Error on a wrong length or a non-finite weight.
  EnergyModel(int n_elements, int n_components, bool quadratic, std::vector<double> theta);

  /// All weights zero: for callers that want descriptors only.
  static EnergyModel zero(int n_elements, int n_components, bool quadratic = false);

  int n_elements() const { return n_elements_; }
  int n_components() const { return n_components_; }
  int n_weights() const { return n_weights_; }
  bool quadratic() const { return quadratic_; }
  std::span<const double> theta() const { return theta_; }

  double constant(int element) const { return theta_[static_cast<std::size_t>(element) * n_weights_]; }

  /// β_k: the linear weights of an element, [K]. For a linear model this is ∂e/∂B everywhere.
  std::span<const double> linear(int element) const;

  /// α_kl as a full symmetric matrix, [K][K]; empty for a linear model.
  std::span<const double> quadratic_matrix(int element) const;

  /// Energy of one atom with descriptor B [K], eV.
  double energy(int element, std::span<const double> B) const;

  /// ∂e/∂B_k into beta [K].
  void gradient(int element, std::span<const double> B, std::span<double> beta) const;

  /// Adds D(B) to sums [P].
  void add_features(std::span<const double> B, std::span<double> sums) const;

 private:
  int n_elements_;
  int n_components_;
  int n_weights_;
  bool quadratic_;
  std::vector<double> theta_;
  std::vector<double> quadratic_matrices_;
};

}  // namespace mliuq
