#include "dense_block.hpp"

#include <algorithm>

#include "clones.hpp"

namespace mliuq {
namespace {

constexpr int kAtoms = 4;     // rows of d that share one pass over F
constexpr int kColumns = 32;  // columns of F held in registers

}  // namespace

MLIUQ_CLONES
void multiply_block(int n, int n_rows, int n_columns, const double* d, int d_stride, const double* F, double* y,
                    Shape shape) {
  // Columns outermost: a panel of F stays in the second-level cache while all atoms pass over it.
  for (int c0 = 0; c0 < n_columns; c0 += kColumns) {
    const int columns = std::min(kColumns, n_columns - c0);
    const int first = shape == Shape::lower ? std::min(c0, n_rows) : 0;
    for (int a0 = 0; a0 < n; a0 += kAtoms) {
      const int atoms = std::min(kAtoms, n - a0);
      // A short last group reads its first row again instead of branching in the inner loop.
      const double* rows[kAtoms];
      for (int a = 0; a < kAtoms; ++a) rows[a] = d + static_cast<long>(a0 + (a < atoms ? a : 0)) * d_stride;
      double sum[kAtoms][kColumns] = {};
      if (columns == kColumns) {
        for (int p = first; p < n_rows; ++p) {
          const double* f = F + static_cast<long>(p) * n_columns + c0;
          for (int a = 0; a < kAtoms; ++a)
            for (int c = 0; c < kColumns; ++c) sum[a][c] += rows[a][p] * f[c];
        }
      } else {
        for (int p = first; p < n_rows; ++p) {
          const double* f = F + static_cast<long>(p) * n_columns + c0;
          for (int a = 0; a < kAtoms; ++a)
            for (int c = 0; c < columns; ++c) sum[a][c] += rows[a][p] * f[c];
        }
      }
      for (int a = 0; a < atoms; ++a) std::copy_n(sum[a], columns, y + static_cast<long>(a0 + a) * n_columns + c0);
    }
  }
}

}  // namespace mliuq
