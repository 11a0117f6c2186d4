#include "kernels/simd/projection.hpp"

#include <algorithm>

namespace mliuq::simd {

namespace baseline {
const ProjectionTable& projections();
}
#ifdef MLIUQ_SIMD_X86
namespace avx2 {
const ProjectionTable& projections();
}
namespace avx512 {
const ProjectionTable& projections();
}
#endif

const ProjectionTable& projection_table(InstructionSet set) {
#ifdef MLIUQ_SIMD_X86
  if (set == InstructionSet::avx512) return avx512::projections();
  if (set == InstructionSet::avx2) return avx2::projections();
#endif
  (void)set;
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
