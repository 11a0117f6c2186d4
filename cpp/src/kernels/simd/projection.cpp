#include "kernels/simd/projection.hpp"

#include <algorithm>

#include "kernels/simd/instruction_sets.hpp"

namespace mliuq::simd {

#define MLIUQ_TABLE(set)                \
  namespace set {                       \
  const ProjectionTable& projections(); \
  }
MLIUQ_SIMD_SETS(MLIUQ_TABLE)
#undef MLIUQ_TABLE

const ProjectionTable& projection_table(InstructionSet set) {
#define MLIUQ_PROJECTIONS(known) \
  if (set == InstructionSet::known) return known::projections();
  MLIUQ_SIMD_SETS(MLIUQ_PROJECTIONS)
#undef MLIUQ_PROJECTIONS
  return baseline::projections();
}

PanelledFactor::PanelledFactor(std::span<const double> F, int n_rows, int n_columns, Padding padding) {
  const auto entry = [&](int row, int column) { return F[static_cast<std::size_t>(row) * n_columns + column]; };
  for (int c0 = 0; c0 < n_columns; c0 += kPanelColumns) {
    const int c1 = std::min(c0 + kPanelColumns, n_columns);
    const auto is_zero = [&](int row) {
      for (int c = c0; c < c1; ++c)
        if (entry(row, c) != 0.0) return false;
      return true;
    };
    int first = 0, end = n_rows;
    while (end > first && is_zero(end - 1)) --end;
    while (first < end && is_zero(first)) ++first;
    panels_.push_back({.first = first, .n_rows = end - first, .entries = nullptr});
    for (int row = first; row < end; ++row)
      for (int c = c0; c < c0 + kPanelColumns; ++c)
        entries_.push_back(c < c1 ? entry(row, c) : padding == Padding::zeros ? 0.0 : entry(row, c1 - 1));
  }
  entries_.resize(entries_.size() + kPanelPadding);
  const double* next = entries_.data();
  for (Panel& panel : panels_) {
    panel.entries = next;
    next += static_cast<std::size_t>(panel.n_rows) * kPanelColumns;
  }
}

std::vector<Panel> PanelledFactor::panels_of_rows(int first, int n_rows) const {
  std::vector<Panel> views;
  for (const Panel& panel : panels_) {
    const int last = panel.first + panel.n_rows;
    const int from = std::clamp(first, panel.first, last), end = std::clamp(first + n_rows, from, last);
    views.push_back({.first = std::max(0, from - first),
                     .n_rows = end - from,
                     .entries = panel.entries + static_cast<std::ptrdiff_t>(from - panel.first) * kPanelColumns});
  }
  return views;
}

}  // namespace mliuq::simd
