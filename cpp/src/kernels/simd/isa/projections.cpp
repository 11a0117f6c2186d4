// Projections of features (projection.hpp) of one instruction set: compiled once for each, in double precision.

#include "kernels/simd/isa/vector.hpp"
#include "kernels/simd/projection.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {
namespace {

using V = Vector<double>;

/// Vectors of atoms: with six columns to each, sums take 24 of 32 registers or 12 of 16.
constexpr int kVectors = MLIUQ_SIMD_BYTES == 64 ? 4 : 2;
constexpr int kGroup = kVectors * kLanes<double>;

const V* vectors_of(const double* p) { return reinterpret_cast<const V*>(p); }

void complete_features(int n_components, bool quadratic, double* features) {
  V* d = vectors(features);
  for (int v = 0; v < kVectors; ++v) d[v] = broadcast(1.0);
  if (!quadratic) return;
  const V* B = d + kVectors;
  V* next = d + kVectors * (1 + n_components);
  for (int k = 0; k < n_components; ++k)
    for (int l = k; l < n_components; ++l, next += kVectors)
      for (int v = 0; v < kVectors; ++v) next[v] = (k == l ? 0.5 : 1.0) * B[kVectors * k + v] * B[kVectors * l + v];
}

/// Calls use(sums [kPanelColumns][kVectors]) for every panel.
template <class Use>
MLIUQ_INLINE void project(const Panel* panels, int n_panels, const double* features, Use&& use) {
  for (const Panel* panel = panels; panel != panels + n_panels; ++panel) {
    V sums[kPanelColumns][kVectors] = {};
    const V* d = vectors_of(features) + kVectors * panel->first;
    const double* F = panel->entries;
    for (int row = 0; row < panel->n_rows; ++row, d += kVectors, F += kPanelColumns) {
      V atoms[kVectors];
      MLIUQ_UNROLL
      for (int v = 0; v < kVectors; ++v) atoms[v] = in_register(d[v]);
      MLIUQ_UNROLL
      for (int c = 0; c < kPanelColumns; ++c) {
        const V entry = in_register(broadcast(F[c]));
        MLIUQ_UNROLL
        for (int v = 0; v < kVectors; ++v) sums[c][v] += atoms[v] * entry;
      }
    }
    use(sums);
  }
}

void squared_norms(const Panel* panels, int n_panels, const double* features, double* out) {
  V total[kVectors] = {};
  project(panels, n_panels, features, [&](const V(&sums)[kPanelColumns][kVectors]) {
    MLIUQ_UNROLL
    for (int c = 0; c < kPanelColumns; ++c) {
      MLIUQ_UNROLL
      for (int v = 0; v < kVectors; ++v) total[v] += sums[c][v] * sums[c][v];
    }
  });
  for (int v = 0; v < kVectors; ++v) vectors(out)[v] = total[v];
}

void extremes(const Panel* panels, int n_panels, const double* features, double* least, double* most) {
  V low[kVectors], high[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    low[v] = broadcast(__builtin_inf());
    high[v] = -low[v];
  }
  project(panels, n_panels, features, [&](const V(&sums)[kPanelColumns][kVectors]) {
    MLIUQ_UNROLL
    for (int c = 0; c < kPanelColumns; ++c) {
      MLIUQ_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        low[v] = sums[c][v] < low[v] ? sums[c][v] : low[v];
        high[v] = sums[c][v] > high[v] ? sums[c][v] : high[v];
      }
    }
  });
  for (int v = 0; v < kVectors; ++v) {
    vectors(least)[v] = low[v];
    vectors(most)[v] = high[v];
  }
}

void products(const Panel* panels, int n_panels, const double* features, double* out) {
  V* next = vectors(out);
  project(panels, n_panels, features, [&](const V(&sums)[kPanelColumns][kVectors]) {
    MLIUQ_UNROLL
    for (int c = 0; c < kPanelColumns; ++c) {
      MLIUQ_UNROLL
      for (int v = 0; v < kVectors; ++v) *next++ = sums[c][v];
    }
  });
}

void absolute_sums(const Panel* panels, int n_panels, const double* features, double* out) {
  V total[kVectors] = {};
  project(panels, n_panels, features, [&](const V(&sums)[kPanelColumns][kVectors]) {
    MLIUQ_UNROLL
    for (int c = 0; c < kPanelColumns; ++c) {
      MLIUQ_UNROLL
      for (int v = 0; v < kVectors; ++v) total[v] += sums[c][v] < 0.0 ? -sums[c][v] : sums[c][v];
    }
  });
  for (int v = 0; v < kVectors; ++v) vectors(out)[v] = total[v];
}

}  // namespace

const ProjectionTable& projections() {
  static constexpr ProjectionTable table{.group = kGroup,
                                         .complete_features = complete_features,
                                         .squared_norms = squared_norms,
                                         .extremes = extremes,
                                         .products = products,
                                         .absolute_sums = absolute_sums};
  return table;
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
