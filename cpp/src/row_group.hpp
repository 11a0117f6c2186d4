#pragma once

#include <span>
#include <vector>

#include "mliuq/aligned.hpp"
#include "mliuq/ensemble.hpp"

namespace mliuq {

/// Spreads of design rows, a group of them side by side in the vector unit: what one thread needs for them.
class RowGroup {
 public:
  /// `out` has room for `n` rows. Throws Error where bounds of a box are wanted and the posterior has none.
  RowGroup(const Ensemble& ensemble, const MoveSpreads& out, std::size_t n);

  /// Rows that are added at once.
  std::size_t square() const { return square_; }
  /// Numbers in a row, n_elements·P.
  std::size_t width() const { return width_; }
  /// Adds rows [places][width], a square of them or, last of all, fewer: the spreads of row r go to places[r]. Numbers
  /// that are not finite are put there as they are, for require_finite_spreads to find.
  void add(const double* rows, std::span<const std::size_t> places);
  /// Puts the spreads of what has been added, and what would not fill a group, where they go.
  void end();

 private:
  const Ensemble& ensemble_;
  MoveSpreads out_;
  std::size_t n_, size_, square_, width_;
  std::vector<std::size_t> places_;  ///< of the rows in the lanes
  AlignedRoom<double> lanes_, products_;
  AlignedVector<double> low_, high_;
};

/// Throws Error for a std, least or most of n rows that is not a finite number.
void require_finite_spreads(const MoveSpreads& out, std::size_t n);

}  // namespace mliuq
