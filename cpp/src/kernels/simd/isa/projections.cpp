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

template <int N>
struct Count {
  static constexpr int value = N;
};

/// run(Count of the vectors that hold so many atoms).
template <class Run>
MLIUQ_INLINE void for_vectors_of(int n_atoms, Run&& run) {
  const int n = (n_atoms + kLanes<double> - 1) / kLanes<double>;
  if (n <= 1) return run(Count<1>());
  if constexpr (kVectors > 2) {
    if (n == 3) return run(Count<3>());
    if (n >= 4) return run(Count<4>());
  }
  run(Count<2>());
}

/// Panels of the same rows that are summed side by side for one atom, whose sums would wait for each other.
constexpr int kPanelsTogether = 4;

/// Sums of one atom over Count panels of the same rows. Lanes are columns here: with atoms in them, all but one of
/// eight would be idle.
template <int Count, class Use>
MLIUQ_INLINE void project_one_atom(const Panel* panels, const double* features, Use&& use) {
  constexpr int n_vectors = (kPanelColumns + kLanes<double> - 1) / kLanes<double>;
  union {
    V vectors[n_vectors];
    double columns[n_vectors * kLanes<double>];
  } sums[Count] = {};
  const double* d = features + static_cast<long>(kGroup) * panels->first;
  for (long row = 0; row < panels->n_rows; ++row, d += kGroup) {
    const V atom = broadcast_from(d);
    MLIUQ_UNROLL
    for (int p = 0; p < Count; ++p) {
      MLIUQ_UNROLL
      for (int v = 0; v < n_vectors; ++v) {
        V entries;
        __builtin_memcpy(&entries, panels[p].entries + row * kPanelColumns + v * kLanes<double>, sizeof entries);
        sums[p].vectors[v] += atom * entries;
      }
    }
  }
  for (int p = 0; p < Count; ++p) {
    V of_panel[kPanelColumns][1];
    for (int c = 0; c < kPanelColumns; ++c) of_panel[c][0] = broadcast(sums[p].columns[c]);
    use(of_panel);
  }
}

template <class Use>
MLIUQ_INLINE void project_one_atom(const Panel* panels, int n_panels, const double* features, Use&& use) {
  const Panel* const end = panels + n_panels;
  const auto alike = [&](const Panel* last) { return panels->first == last->first && panels->n_rows == last->n_rows; };
  while (panels != end)
    if (const Panel* last = panels + kPanelsTogether - 1;
        last < end && alike(panels + 1) && alike(panels + 2) && alike(last)) {
      project_one_atom<kPanelsTogether>(panels, features, use);
      panels += kPanelsTogether;
    } else {
      project_one_atom<1>(panels++, features, use);
    }
}

/// How far ahead of those in use numbers of a factor are fetched: it is read from end to end and larger than the near
/// caches, whose own foresight ends with every 4 KiB.
constexpr int kFetchedAhead = 768;

/// Calls use(sums [kPanelColumns][Vectors]) for every panel.
template <int Vectors, class Use>
MLIUQ_INLINE void project(const Panel* panels, int n_panels, const double* features, int n_atoms, Use&& use) {
  if constexpr (Vectors == 1)
    if (n_atoms == 1) return project_one_atom(panels, n_panels, features, use);
  for (const Panel* panel = panels; panel != panels + n_panels; ++panel) {
    V sums[kPanelColumns][Vectors] = {};
    const V* d = vectors_of(features) + kVectors * panel->first;
    const double* F = panel->entries;
    for (int row = 0; row < panel->n_rows; ++row, d += kVectors, F += kPanelColumns) {
      __builtin_prefetch(F + kFetchedAhead);
      V atoms[Vectors];
      MLIUQ_UNROLL
      for (int v = 0; v < Vectors; ++v) atoms[v] = in_register(d[v]);
      MLIUQ_UNROLL
      for (int c = 0; c < kPanelColumns; ++c) {
        const V entry = broadcast_from(F + c);
        MLIUQ_UNROLL
        for (int v = 0; v < Vectors; ++v) sums[c][v] += atoms[v] * entry;
      }
    }
    use(sums);
  }
}

void squared_norms(const Panel* panels, int n_panels, const double* features, int n_atoms, double* out) {
  for_vectors_of(n_atoms, [&](auto count) {
    constexpr int N = decltype(count)::value;
    V total[N] = {};
    project<N>(panels, n_panels, features, n_atoms, [&](const V(&sums)[kPanelColumns][N]) {
      MLIUQ_UNROLL
      for (int c = 0; c < kPanelColumns; ++c) {
        MLIUQ_UNROLL
        for (int v = 0; v < N; ++v) total[v] += sums[c][v] * sums[c][v];
      }
    });
    for (int v = 0; v < N; ++v) vectors(out)[v] = total[v];
  });
}

void extremes(const Panel* panels, int n_panels, const double* features, int n_atoms, double* least, double* most) {
  for_vectors_of(n_atoms, [&](auto count) {
    constexpr int N = decltype(count)::value;
    V low[N], high[N];
    for (int v = 0; v < N; ++v) {
      low[v] = broadcast(__builtin_inf());
      high[v] = -low[v];
    }
    project<N>(panels, n_panels, features, n_atoms, [&](const V(&sums)[kPanelColumns][N]) {
      MLIUQ_UNROLL
      for (int c = 0; c < kPanelColumns; ++c) {
        MLIUQ_UNROLL
        for (int v = 0; v < N; ++v) {
          low[v] = sums[c][v] < low[v] ? sums[c][v] : low[v];
          high[v] = sums[c][v] > high[v] ? sums[c][v] : high[v];
        }
      }
    });
    for (int v = 0; v < N; ++v) {
      vectors(least)[v] = low[v];
      vectors(most)[v] = high[v];
    }
  });
}

void products(const Panel* panels, int n_panels, const double* features, int n_atoms, double* out) {
  for_vectors_of(n_atoms, [&](auto count) {
    constexpr int N = decltype(count)::value;
    V* next = vectors(out);
    project<N>(panels, n_panels, features, n_atoms, [&](const V(&sums)[kPanelColumns][N]) {
      MLIUQ_UNROLL
      for (int c = 0; c < kPanelColumns; ++c, next += kVectors) {
        MLIUQ_UNROLL
        for (int v = 0; v < N; ++v) next[v] = sums[c][v];
      }
    });
  });
}

void absolute_sums(const Panel* panels, int n_panels, const double* features, int n_atoms, double* out) {
  for_vectors_of(n_atoms, [&](auto count) {
    constexpr int N = decltype(count)::value;
    V total[N] = {};
    project<N>(panels, n_panels, features, n_atoms, [&](const V(&sums)[kPanelColumns][N]) {
      MLIUQ_UNROLL
      for (int c = 0; c < kPanelColumns; ++c) {
        MLIUQ_UNROLL
        for (int v = 0; v < N; ++v) total[v] += sums[c][v] < 0.0 ? -sums[c][v] : sums[c][v];
      }
    });
    for (int v = 0; v < N; ++v) vectors(out)[v] = total[v];
  });
}

/// Components whose products with a vector of the others are summed at a time, for so many directions: sums fill the
/// registers.
constexpr int kProductRows = 8;
constexpr int kDirections = kRegisters == 32 ? 3 : 1;

/// Numbers in a line of the cache.
constexpr int kLineNumbers = 8;

/// Where sums over pairs of components are formed: [kProductRows] from k0 on, with the lanes from l0 on.
struct ProductTile {
  int n_components, k0 = 0, l0 = 0;
  int number = 0;  ///< of those before it
  /// Both run over the same components: the products of two of them are found on either side of the diagonal.
  bool square() const { return kLanes<double> == kProductRows && k0 == l0; }
  bool ends_inside() const { return l0 + kLanes<double> <= n_components; }
  /// Of component k, counted from l = 0, in a triangle [k][l ≥ k].
  double* row(double* triangle, int k) const { return triangle + k * n_components - k * (k + 1) / 2; }
};

using ProductSums = V[kDirections][kProductRows];

/// Changes of descriptors B [change] along three directions, and those that follow them.
struct Changes {
  int n;
  const double* const* B;
  const double* dB;  ///< [change][direction][stride]
  long stride;
  const double* const* soon;  ///< [change] → [direction][stride]

  MLIUQ_INLINE void fetch_line_of_next(int change, long line) const {
    if (line * kLineNumbers < 3 * stride) __builtin_prefetch(soon[change] + line * kLineNumbers);
  }
};

/// Σ B_k dB_l + dB_k B_l over changes along directions x, …, or in a square Σ B_k dB_l. With every change
/// a line of what follows is fetched: one by one they come from afar while sums go on, many at once hold these up.
template <bool Square>
MLIUQ_INLINE void sum_products(const ProductTile& tile, const Changes& changes, int x0, ProductSums& sums) {
  const double* d = changes.dB + x0 * changes.stride;
  for (int i = 0; i < changes.n; ++i, d += 3 * changes.stride) {
    changes.fetch_line_of_next(i, tile.number);
    const double* const b = changes.B[i];
    V bl, dl[kDirections];
    if constexpr (!Square) bl = in_register(*vectors_of(b + tile.l0));
    MLIUQ_UNROLL
    for (int x = 0; x < kDirections; ++x) dl[x] = in_register(*vectors_of(d + x * changes.stride + tile.l0));
    MLIUQ_UNROLL
    for (int k = 0; k < kProductRows; ++k) {
      const V bk = broadcast_from(b + tile.k0 + k);
      MLIUQ_UNROLL
      for (int x = 0; x < kDirections; ++x) {
        sums[x][k] += bk * dl[x];
        if constexpr (!Square) sums[x][k] += d[x * changes.stride + tile.k0 + k] * bl;
      }
    }
  }
}

/// Takes sums from a triangle, or makes it minus them.
template <bool Add>
MLIUQ_INLINE void put_square(const ProductTile& tile, const V (&sums)[kProductRows], double* triangle) {
  constexpr int L = kLanes<double>;
  double of[kProductRows][L];
  __builtin_memcpy(of, sums, sizeof of);
  const int end = tile.ends_inside() ? L : tile.n_components - tile.l0;
  for (int k = 0; k < end; ++k) {
    double* const row = tile.row(triangle, tile.k0 + k) + tile.l0;
    row[k] = (Add ? row[k] : 0.0) - of[k][k];
    for (int l = k + 1; l < end; ++l) row[l] = (Add ? row[l] : 0.0) - (of[k][l] + of[l][k]);
  }
}

template <bool Add>
MLIUQ_INLINE void put_tile(const ProductTile& tile, const V (&sums)[kProductRows], double* triangle) {
  constexpr int L = kLanes<double>;
  MLIUQ_UNROLL
  for (int r = 0; r < kProductRows; ++r) {
    const int k = tile.k0 + r, first = tile.l0;
    if (k >= tile.n_components) break;
    double* const row = tile.row(triangle, k);
    if (k < first && tile.ends_inside()) {
      Unaligned& to = *reinterpret_cast<Unaligned*>(row + first);
      to = (Add ? to : Unaligned{}) - sums[r];
    } else {
      const V sum = sums[r];
      for (int l = k > first ? k : first; l < tile.n_components && l < first + L; ++l)
        row[l] = (Add ? row[l] : 0.0) - (l == k ? 0.5 : 1.0) * reinterpret_cast<const double*>(&sum)[l - first];
    }
  }
}

template <bool Add>
MLIUQ_INLINE void subtract_products_of(int n_components, const Changes& changes, int x0, double* const* triangles) {
  constexpr int L = kLanes<double>;
  ProductTile tile{.n_components = n_components};
  for (; tile.k0 < n_components; tile.k0 += kProductRows)
    for (tile.l0 = tile.k0 / L * L; tile.l0 < n_components; tile.l0 += L, ++tile.number) {
      ProductSums sums = {};
      if (tile.square()) {
        sum_products<true>(tile, changes, x0, sums);
        MLIUQ_UNROLL
        for (int x = 0; x < kDirections; ++x) put_square<Add>(tile, sums[x], triangles[x]);
      } else {
        sum_products<false>(tile, changes, x0, sums);
        MLIUQ_UNROLL
        for (int x = 0; x < kDirections; ++x) put_tile<Add>(tile, sums[x], triangles[x]);
      }
    }
}

void subtract_products(int n_components, int n, const double* const* B, const double* dB, long stride, bool add,
                       double* triangle, long distance, const double* const* soon) {
  const Changes changes{.n = n, .B = B, .dB = dB, .stride = stride, .soon = soon};
  for (int x = 0; x < 3; x += kDirections) {
    double* triangles[kDirections];
    for (int d = 0; d < kDirections; ++d) triangles[d] = triangle + (x + d) * distance;
    if (add)
      subtract_products_of<true>(n_components, changes, x, triangles);
    else
      subtract_products_of<false>(n_components, changes, x, triangles);
  }
}

void pack_rows(const double* rows, int count, int width, int first, double* lanes) {
  constexpr int L = kLanes<double>;
  lanes += first;
  int p = 0;
  for (; p + L <= width; p += L) {
    V square[L] = {};
    MLIUQ_UNROLL
    for (int r = 0; r < L; ++r)
      if (r < count) __builtin_memcpy(&square[r], rows + static_cast<long>(r) * width + p, sizeof square[r]);
    transpose<L / 2>(square);
    MLIUQ_UNROLL
    for (int i = 0; i < L; ++i) *vectors(lanes + static_cast<long>(p + i) * kGroup) = square[i];
  }
  for (; p < width; ++p)
    for (int r = 0; r < L; ++r)
      lanes[static_cast<long>(p) * kGroup + r] = r < count ? rows[static_cast<long>(r) * width + p] : 0.0;
}

}  // namespace

const ProjectionTable& projections() {
  static constexpr ProjectionTable table{.group = kGroup,
                                         .square = kLanes<double>,
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
