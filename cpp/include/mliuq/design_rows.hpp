#pragma once

#include <span>
#include <vector>

#include "mliuq/kernel.hpp"
#include "mliuq/packed_structure.hpp"

namespace mliuq {

/// Which rows of a structure's design matrix are wanted. They stand in this order.
struct RowRequest {
  bool energy = true;   ///< one row: features summed over the atoms, divided by their number
  bool forces = true;   ///< 3N rows, atom-major: force components per unit weight, 1/Å
  bool stress = false;  ///< six rows, Voigt xx yy zz yz xz xy: (1/V) dE/dstrain per unit weight, 1/Å³

  int n_rows(int n_atoms) const { return (energy ? 1 : 0) + (forces ? 3 * n_atoms : 0) + (stress ? 6 : 0); }
};

/// Design rows: what energies, forces and stress are linear in. Columns are the weights [n_elements][P].
/// The derivatives of quadratic features are folded in neighbour by neighbour and never stored.
class RowBuilder {
 public:
  RowBuilder(const SnapParams& params, KernelChoice choice);
  ~RowBuilder();

  int n_columns() const { return params_.n_elements() * model_.n_weights(); }

  /// rows [request.n_rows(n_owned)][n_columns], overwritten. One thread. Throws Error for stress without a volume and
  /// for atoms whose species is not of the model.
  void build(const PackedStructure& structure, const RowRequest& request, std::span<double> rows) const;

  /// The same for many structures, threads over structures (0: all of the machine); rows [i] as above.
  void build_all(std::span<const PackedStructure* const> structures, const RowRequest& request,
                 std::span<double* const> rows, int n_threads) const;

 private:
  SnapParams params_;
  EnergyModel model_;
  std::unique_ptr<Kernel> kernel_;
  InstructionSet instruction_set_;
  struct Idle;
  std::unique_ptr<Idle> idle_;
};

/// Descriptors of all owned atoms, B [n_owned][K], and on request their derivatives: one entry per pair of a centre and
/// an owned atom (the centre itself included), images of one atom summed, ∂B_k(centre)/∂r(atom), 1/Å.
struct DescriptorDerivatives {
  std::vector<int> centre;  ///< [n_pairs]
  std::vector<int> atom;    ///< [n_pairs]
  std::vector<double> dB;   ///< [n_pairs][3][K]
};

void compute_descriptors(const Kernel& kernel, const SnapParams& params, const PackedStructure& structure,
                         std::span<double> B, DescriptorDerivatives* derivatives);

}  // namespace mliuq
