#pragma once

// The stages of the vector kernel and the data they hand on. Lanes are central atoms: a block of `lanes` centres of one
// element walks through its neighbours in step, the n-th neighbour of every lane at a time (a "slot"). With chemflag
// the slots are grouped by the neighbour's element, one group per channel of the density.
//
//   pack      lists → slots                      (pack.hpp, ordinary code)
//   geometry  slots → rotations, switching
//   density   slots → U, half plane, unscaled           (by recursion or by moments: polynomial.hpp)
//   expand    U → images of the full plane; half plane weighted for sums
//   couple    U → Y with the weights of a linear model folded in, optionally B on the way
//   store     U → all Z;  describe: Z → B;  respond: B → e, ∂e/∂B;  fold: Z → Y
//   energy    U, Y → e of a linear model with one channel
//   ladder    Y → what the forces dot with v, or the coefficients of their polynomials
//   force     slots, ladder → ∂e/∂r of every slot
//   virial    slots, ∂e/∂r → their virial
//   derive    slots, Z → ∂B/∂r of some slots and its sums
//   unpack    lanes → one array each
//
// Each stage exists once in source and is compiled per instruction set (isa/), so that all that leaves such an object
// is one table of functions.

#include "kernels/simd/plan.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq::simd {

/// Slots whose derivatives are computed together: the gradients of each product are formed once for them all.
inline constexpr int kDeriveSlots = 36;

/// How many of the slots left to derive next: about equal shares, because few at a time waste what was formed.
inline int slots_derived_together(int n_left) {
  const int n_shares = (n_left + kDeriveSlots - 1) / kDeriveSlots;
  return (n_left + n_shares - 1) / n_shares;
}

/// Slots at most whose powers are kept side by side.
inline constexpr int kMaxPolynomialSlots = 4;

/// Scratch of one block; every array [...][lanes], complex elements as [2][lanes].
template <class Real>
struct Block {
  int species;  ///< element of the centres
  int n_slots;
  const int* first_slot;  ///< [n_channels + 1]
  Real* packed;           ///< [slot][kPackedFields]
  Real* geometry;         ///< [slot][kGeometryFields]
  Real* rows;             ///< [slot][twojmax + 1] complex, where a slot's recursion stands
  Real* sums;             ///< [slot][4], force sums S, Z, G, H
  Real* forces;           ///< [slot][3], ∂e/∂r of the neighbour
  Real* virial;           ///< [6], Voigt, −Σ_slots r ⊗ ∂e/∂r
  Real* U_half;           ///< [channel][n_half] complex
  Real* images;           ///< [channel][kImages][n_full] complex
  Real* Y;                ///< [channel][n_half] complex
  Real* ladder;           ///< [channel][n_half][4] complex, or [channel][number of moments]
  Real* moments;          ///< [2][number of moments], before and after a step of their maps
  Real* powers;           ///< [2][padded_column(twojmax + 1)][slot of a tile]
  Real* Z;                ///< [n_stored] complex
  Real* B;                ///< [n_components]
  Real* beta;             ///< [n_components], ∂e/∂B
  Real* lowered;          ///< [n_lowered][2][4], gradients of the products of a component in SU(2)
  Real* coefficients;     ///< [half_used(twojmax − 1)][8], not lanes: of one product
  Real* v;                ///< [kDeriveSlots][half_level(twojmax)] complex, tile by tile
  Real* dB;               ///< [kDeriveSlots][3][padded_row(n_components)], component k in place 1 + k, zero around them
  Real* total;            ///< [3][padded_row(n_components)], Σ ∂B/∂r over the slots derived so far
  Real* strain;           ///< [6][n_components], Σ r ⊗ ∂B/∂r, Voigt
  double* energies;       ///< [lanes]
};

template <class Real>
struct StageTable {
  int lanes;
  void (*geometry)(const Plan<Real>&, const Block<Real>&);
  void (*density)(const Plan<Real>&, const Block<Real>&);
  void (*expand)(const Plan<Real>&, const Block<Real>&);
  void (*couple)(const Plan<Real>&, const Block<Real>&);
  void (*couple_and_describe)(const Plan<Real>&, const Block<Real>&);
  void (*store)(const Plan<Real>&, const Block<Real>&);
  void (*describe)(const Plan<Real>&, const Block<Real>&);
  void (*respond)(const Plan<Real>&, const Block<Real>&);
  void (*fold)(const Plan<Real>&, const Block<Real>&);
  void (*fold_exactly)(const Plan<Real>&,
                       const Block<Real>&);  ///< with ∂e/∂B that need not be equal on equal components
  void (*energy)(const Plan<Real>&, const Block<Real>&);
  void (*ladder)(const Plan<Real>&, const Block<Real>&);
  void (*force)(const Plan<Real>&, const Block<Real>&);
  void (*virial)(const Plan<Real>&, const Block<Real>&);
  /// Adds to the totals, and to the strain where it is wanted.
  void (*derive)(const Plan<Real>&, const Block<Real>&, int channel, int first_slot, int n_slots, bool strain);
  /// [n][lanes] → to[lane][n]; null: not wanted.
  void (*unpack)(const Real* from, int n, double* const* to);
  void (*unpack_and_subtract)(const Real* from, int n, double* const* to);
  Real (*multiply_adds)(long rounds);  ///< the yardstick of benchmarks: nothing but arithmetic
  int multiply_adds_per_round;         ///< vector operations
};

/// The stages that go through all neighbours: what a KernelPlan decides.
template <class Real>
struct SummationTable {
  void (*density)(const Plan<Real>&, const Block<Real>&);
  void (*ladder)(const Plan<Real>&, const Block<Real>&);  ///< Y → what the next stage needs of it
  void (*force)(const Plan<Real>&, const Block<Real>&);
};

/// The stages compiled for an instruction set that cpu_runs().
template <class Real>
const StageTable<Real>& stage_table(InstructionSet set);
template <class Real>
SummationTable<Real> summation_table(InstructionSet set, KernelPlan plan);

}  // namespace mliuq::simd
