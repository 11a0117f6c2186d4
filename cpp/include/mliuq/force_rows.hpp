#pragma once

// Error bars of forces and stress come from design rows: every force component and every strain derivative of the
// energy is linear in the weights, f = x·θ, so that its spread over the posterior follows from x alone.
//
//   1. accumulate_rows     centres of this process -> x of chosen atoms (Potential)
//   2. add what other processes' centres gave to the same atoms (LAMMPS: reverse communication of ghosts' rows)
//   3. row_spreads         x -> std, least, most, committee, bounds of the box (Ensemble)
//
// A row has n_elements·P numbers, three of them per atom (2J = 8: 1.3 KiB an atom when linear, 37 KiB when quadratic),
// so that large cells are worked through in tiles of atoms; `tiles_of_atoms` makes them. Where no other process adds to
// them, rows go on to step 3 as soon as they are finished, from a near cache (RowSink).

#include <cstddef>
#include <span>
#include <vector>

#include "mliuq/neighbourhood.hpp"

namespace mliuq {

/// Takes rows of forces, those of one atom after another, each once and when nobody adds to them any more. Threads come
/// side by side, each with a number of its own.
class RowSink {
 public:
  virtual ~RowSink() = default;
  /// Before `take`: how many threads there may be.
  virtual void expect(int n_threads) = 0;
  /// Room of a thread for the next three rows [3][n_elements·P].
  virtual double* room(int thread) = 0;
  /// The rows called `row` have been put there.
  virtual void take(int thread, int row) = 0;
};

/// Where accumulated rows go. Nothing is owned; null pointers: not wanted.
struct RowTargets {
  /// [n_atoms] (owned atoms and images): the row that takes this atom's forces, −1 for none. An image may name its
  /// owner's row (what PackedStructure's doors do), or a row of its own that the caller adds to the owner's later.
  const int* row_of_atom = nullptr;
  /// [n_rows][3][n_elements·P], force components per unit weight, 1/Å, overwritten: rows that nobody adds to are zero.
  double* forces = nullptr;
  int n_rows = 0;
  /// Takes the rows of forces, which leaves those of `forces` undefined: room for what waits for more to be added.
  RowSink* sink = nullptr;
  /// [6][n_elements·P], Σ over the centres of dD/dstrain, Voigt xx yy zz yz xz xy, ADDED to. Divided by the volume: the
  /// rows of the stress, eV/Å³ per unit weight; with the sign changed: those of the virial. Sum over processes.
  double* strain = nullptr;
  /// [n_elements·P], Σ over the centres of D: the row of the energy, ADDED to.
  double* features = nullptr;
};

/// Where spreads of n linear functionals go, about the best fit f*: all are moves f − f*, in the unit of the rows times
/// the weights'. Arrays [n]; null: not wanted.
struct MoveSpreads {
  double* std = nullptr;        ///< root of the second moment of f over the members about f*
  double* least = nullptr;      ///< smallest f_m − f*: f's `*_min` is f* + least
  double* most = nullptr;       ///< largest f_m − f*
  double* committee = nullptr;  ///< [M][n], f_m − f* of every member; least and most are among them to the last bit
  double* box_least = nullptr;  ///< smallest f − f* over the whole box of a hypercube posterior
  double* box_most = nullptr;   ///< largest f − f* over the box

  bool needs_members() const { return std || least || most || committee; }
  bool needs_box() const { return box_least || box_most; }
};

/// Bytes of rows that a tile may hold, per thread.
inline constexpr std::size_t kTileBytes = std::size_t{64} << 20;

/// Atoms whose rows fill the tiles of so many threads, at least one.
int atoms_per_tile(int n_elements, int n_weights, int n_threads);

/// Splits atoms into compact groups (halves along the longest edge of their box) of at most `largest`, each rising.
/// One group when they all fit. The groups depend on positions and `largest` alone.
std::vector<std::vector<int>> tiles_of_atoms(const Neighbourhood& atoms, std::span<const int> wanted, int largest);

}  // namespace mliuq
