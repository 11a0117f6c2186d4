#pragma once

#include <span>
#include <string>
#include <vector>

#include "mliuq/kernel.hpp"
#include "mliuq/neighbourhood.hpp"

namespace mliuq {

struct ZblRange {
  double inner;  ///< Å
  double outer;  ///< Å

  /// Throws Error unless 0 < inner < outer within the cutoffs the core takes.
  void validate() const;
};

/// Screened nuclear repulsion (Ziegler, Biersack, Littmark 1985) with the switching of LAMMPS's `pair_style zbl`:
/// a cubic-quartic polynomial from `inner` to `outer` takes energy, force and curvature to zero.
class Zbl {
 public:
  /// Distances in Å as ZblRange takes them; elements as chemical symbols. Throws Error otherwise.
  Zbl(std::span<const std::string> elements, double inner, double outer);

  double inner() const { return inner_; }
  double outer() const { return outer_; }

  /// Adds half of each pair's energy to its centre; forces and virials as the kernels do.
  void evaluate(const Neighbourhood& atoms, std::span<const int> centres, const KernelOutput& out) const;

 private:
  struct Pair {
    double prefactor, screening_length, cubic, quartic, shift;
  };
  double inner_;
  double outer_;
  int n_elements_;
  std::vector<Pair> pairs_;  // [n_elements][n_elements]
};

}  // namespace mliuq
