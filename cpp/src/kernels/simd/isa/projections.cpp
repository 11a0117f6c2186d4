// Projections of features (projection.hpp) of one instruction set: compiled once for each, in double precision.

#include "kernels/simd/isa/unpack.hpp"
#include "kernels/simd/projection.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {
namespace {

using V = Vector<double>;

/// Vectors of atoms: with six columns to each, sums take 24 of 32 registers or 12 of 16.
constexpr int kVectors = kRegisters == 32 ? 4 : 2;
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
        const V entry = broadcast_from(F + c);
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

/// Components whose products with a vector of the others are summed at a time.
constexpr int kProductRows = 8;

/// What of a product counts by l − k, from −kProductRows on: each pair once, squares half.
constexpr auto kShares = [] {
  struct {
    double of[3 * kProductRows];
  } shares{};
  for (int d = -kProductRows; d < 2 * kProductRows; ++d) shares.of[d + kProductRows] = d < 0 ? 0.0 : d > 0 ? 1.0 : 0.5;
  return shares;
}();

void subtract_products(int n_components, int n, const double* B, const double* dB, int stride, double* triangle) {
  constexpr int L = kLanes<double>;
  const double* const end = triangle + n_components * (n_components + 1) / 2;
  const auto row_at = [&](int k, int l) { return triangle + k * n_components - k * (k + 1) / 2 + l; };
  for (int k0 = 0; k0 < n_components; k0 += kProductRows)
    for (int l0 = k0 / L * L; l0 < n_components; l0 += L) {
      V sums[kProductRows] = {};
      const double *b = B, *d = dB;
      for (int i = 0; i < n; ++i, b += stride, d += stride) {
        const V bl = in_register(*vectors_of(b + l0)), dl = in_register(*vectors_of(d + l0));
        MLIUQ_UNROLL
        for (int k = 0; k < kProductRows; ++k) {
          sums[k] += b[k0 + k] * dl;
          sums[k] += d[k0 + k] * bl;
        }
      }
      // Lanes below the diagonal and beyond the components lie in the rows before and after, and add nothing to them.
      MLIUQ_UNROLL
      for (int k = k0; k < k0 + kProductRows; ++k) {
        if (k >= n_components) break;
        V share, old;
        __builtin_memcpy(&share, kShares.of + kProductRows + (l0 - k < kProductRows ? l0 - k : kProductRows),
                         sizeof share);
        double* const row = row_at(k, l0);
        const int room = static_cast<int>(end - row) < L ? static_cast<int>(end - row) : L;
        if (room == L) {
          __builtin_memcpy(&old, row, sizeof old);
          old -= share * sums[k - k0];
          __builtin_memcpy(row, &old, sizeof old);
        } else {
          const V part = share * sums[k - k0];
          for (int l = 0; l < room; ++l) row[l] -= reinterpret_cast<const double*>(&part)[l];
        }
      }
    }
}

void pack_rows(const double* rows, int count, int width, double* lanes) {
  constexpr int L = kLanes<double>;
  int p = 0;
  for (; p + L <= width; p += L)
    for (int first = 0; first < kGroup; first += L) {
      V square[L] = {};
      MLIUQ_UNROLL
      for (int r = 0; r < L; ++r)
        if (first + r < count)
          __builtin_memcpy(&square[r], rows + static_cast<long>(first + r) * width + p, sizeof square[r]);
      transpose<L / 2>(square);
      MLIUQ_UNROLL
      for (int i = 0; i < L; ++i) *vectors(lanes + static_cast<long>(p + i) * kGroup + first) = square[i];
    }
  for (; p < width; ++p)
    for (int r = 0; r < kGroup; ++r)
      lanes[static_cast<long>(p) * kGroup + r] = r < count ? rows[static_cast<long>(r) * width + p] : 0.0;
}

}  // namespace

const ProjectionTable& projections() {
  static constexpr ProjectionTable table{.group = kGroup,
                                         .complete_features = complete_features,
                                         .squared_norms = squared_norms,
                                         .extremes = extremes,
                                         .products = products,
                                         .absolute_sums = absolute_sums,
                                         .subtract_products = subtract_products,
                                         .pack_rows = pack_rows};
  return table;
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
