#pragma once

#include <string>
#include <utility>
#include <vector>

#include "mliuq/error.hpp"

namespace mliuq {

/// A parameter out of range or at odds with another; `key` is the one to look at.
class ParameterError : public Error {
 public:
  ParameterError(std::string key, const std::string& message) : Error(message), key_(std::move(key)) {}
  const std::string& key() const { return key_; }

 private:
  std::string key_;
};

/// Largest 2J the core accepts; beyond it factorials in the Clebsch-Gordan sums lose digits.
inline constexpr int kMaxTwojmax = 24;

/// Cutoffs the core takes, Å. Within 50 Å lie some 30,000 neighbours in a metal: beyond is a slip of units or a damaged
/// file, and a list that fills the memory.
inline constexpr double kShortestCutoff = 0.1;
inline constexpr double kLongestCutoff = 50.0;

/// What makes a bispectrum descriptor: the keys of a LAMMPS .snapparam file and the element lines of a .snapcoeff file.
struct SnapParams {
  int twojmax = 8;               ///< 2J: twice the largest angular momentum
  double rcutfac = 4.7;          ///< scale of the cutoff: R_cut(a, b) = rcutfac (R_a + R_b), Å when radii are 0.5
  double rfac0 = 0.99363;        ///< scale of the polar angle θ = rfac0 π (r − rmin0)/(R_cut − rmin0)
  double rmin0 = 0.0;            ///< distance of polar angle zero, Å
  bool switchflag = true;        ///< cosine switching to zero at the cutoff
  bool bzeroflag = true;         ///< subtract the bispectrum of an isolated atom
  bool bnormflag = false;        ///< divide B_{j1 j2 j} by 2j + 1
  bool chemflag = false;         ///< explicit multi-element: one density per element
  bool wselfallflag = false;     ///< with chemflag: the central atom contributes to every density
  bool switchinnerflag = false;  ///< switching to zero at short distance as well
  bool quadraticflag = false;    ///< energy has terms quadratic in B

  std::vector<std::string> elements;  ///< chemical symbols, [n_elements]
  std::vector<double> radii;          ///< R, units of rcutfac, [n_elements]
  std::vector<double> weights;        ///< w of a neighbour of that element, [n_elements]
  std::vector<double> sinner;         ///< centre of the inner switching, Å, [n_elements] (switchinnerflag)
  std::vector<double> dinner;         ///< half-width of the inner switching, Å, [n_elements] (switchinnerflag)

  int n_elements() const { return static_cast<int>(elements.size()); }

  /// K: components of B per atom (all n_elements^3 blocks with chemflag).
  int n_components() const;

  /// P: weights per element of the energy model: 1 + K, or 1 + K + K(K+1)/2 when quadratic.
  int n_weights() const;

  double cutoff(int a, int b) const { return rcutfac * (radii[a] + radii[b]); }
  double max_cutoff() const;

  /// Index of a chemical symbol, −1 when the model does not know it.
  int index_of(const std::string& element) const;

  /// Throws ParameterError naming the key, its value and what is allowed.
  void validate() const;
};

}  // namespace mliuq
