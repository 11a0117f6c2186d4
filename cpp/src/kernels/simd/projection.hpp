#pragma once

// Features of a group of atoms times the columns of a factor: what every spread of an energy comes down to. Lanes are
// atoms here too, so that sums, squares and extremes over the columns never leave the registers.

#include <span>
#include <vector>

#include "mliuq/aligned.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq::simd {

/// Columns that share one pass over the features; with their atoms they fill the vector registers.
inline constexpr int kPanelColumns = 6;

/// Numbers behind the last panel that may be read: vectors of columns are longer than its rows.
inline constexpr int kPanelPadding = 8;

/// Neighbouring columns of a factor between its first and its last row that is not zero.
struct Panel {
  int first, n_rows;
  const double* entries;  ///< [n_rows][kPanelColumns]
};

/// Compiled per instruction set (isa/projections.cpp). `features` [n_rows][group], aligned to 64 bytes; results [group]
/// are right for the first n_atoms, and undefined for others.
struct ProjectionTable {
  int group;   ///< atoms served at once
  int square;  ///< rows packed at once
  /// From B in rows 1 … n_components: the ones of row 0 and, for a quadratic model, the products of all pairs behind.
  void (*complete_features)(int n_components, bool quadratic, double* features);
  /// Σ_c (Σ_p d_p F_pc)² of every atom.
  void (*squared_norms)(const Panel* panels, int n_panels, const double* features, int n_atoms, double* sums);
  /// Least and largest Σ_p d_p F_pc over the columns c of every atom.
  void (*extremes)(const Panel* panels, int n_panels, const double* features, int n_atoms, double* least, double* most);
  /// Σ_p d_p F_pc of every column c into products [columns, padding included][group].
  void (*products)(const Panel* panels, int n_panels, const double* features, int n_atoms, double* products);
  /// Σ_c |Σ_p d_p F_pc| of every atom.
  void (*absolute_sums)(const Panel* panels, int n_panels, const double* features, int n_atoms, double* sums);
  /// Minus the change of all products B_k B_l (k < l) and ½B_k² for n changes of n descriptors B[change][component]
  /// along three directions, dB [change][direction][stride]: both in rows of padded_row(n_components − 1) numbers,
  /// aligned to 64 bytes, of any value behind the last component. Triangles [k][l ≥ k], `distance` apart: added to, or
  /// overwritten. Meanwhile soon[change], a dB that comes next, is fetched into the nearest cache.
  void (*subtract_products)(int n_components, int n, const double* const* B, const double* dB, long stride, bool add,
                            double* triangle, long distance, const double* const* soon);
  /// Rows [count][width], at most `square` of them, side by side into lanes [width][group] from lane `first` on, a
  /// multiple of `square`; lanes without a row are zero.
  void (*pack_rows)(const double* rows, int count, int width, int first, double* lanes);
};

/// The functions compiled for an instruction set that cpu_runs(); those of `baseline` for `reference`.
const ProjectionTable& projection_table(InstructionSet set);

/// A factor F [n_rows][n_columns] cut into panels: half the work where it is triangular.
class PanelledFactor {
 public:
  enum class Padding { zeros, last_column };  ///< what fills the last panel: nothing to a sum, or to an extreme

  PanelledFactor() = default;
  PanelledFactor(PanelledFactor&&) noexcept = default;
  PanelledFactor& operator=(PanelledFactor&&) noexcept = default;
  PanelledFactor(std::span<const double> F, int n_rows, int n_columns, Padding padding);

  double entry(int row, int column) const {
    const Panel& panel = panels_[column / kPanelColumns];
    const int stored = row - panel.first;
    return stored < 0 || stored >= panel.n_rows ? 0.0 : panel.entries[stored * kPanelColumns + column % kPanelColumns];
  }
  std::span<const Panel> panels() const { return panels_; }

  /// Views of rows first … first + n_rows − 1, counted from the first.
  std::vector<Panel> panels_of_rows(int first, int n_rows) const;

 private:
  AlignedVector<double> entries_;  // panels point into it: it moves, but is never copied
  std::vector<Panel> panels_;
};

}  // namespace mliuq::simd
