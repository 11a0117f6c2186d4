#include "scaled_sums.hpp"

#include "clones.hpp"

namespace mliuq {
namespace {

/// Eight numbers at an address that need not be aligned.
constexpr int kTile = 8;
typedef double Tile __attribute__((vector_size(kTile * sizeof(double)), aligned(8), may_alias));

}  // namespace

// In tiles; the last of a row overlaps the one before, so it is formed first.
MLIUQ_CLONES void add_rows(int n_rows, int n, double s, const double* x, std::size_t x_stride, double* y,
                           std::size_t y_stride) {
  for (int row = 0; row < n_rows; ++row, x += x_stride, y += y_stride) {
    if (n < kTile) {
      for (int i = 0; i < n; ++i) y[i] += s * x[i];
      continue;
    }
    Tile& last_of_y = *reinterpret_cast<Tile*>(y + n - kTile);
    const Tile last = last_of_y + s * *reinterpret_cast<const Tile*>(x + n - kTile);
    for (int i = 0; i + kTile < n; i += kTile)
      *reinterpret_cast<Tile*>(y + i) += s * *reinterpret_cast<const Tile*>(x + i);
    last_of_y = last;
  }
}

MLIUQ_CLONES void set_scaled(double* y, double s, const double* x, int n) {
  if (n < kTile)
    for (int i = 0; i < n; ++i) y[i] = s * x[i];
  for (int i = 0, done = 0; n >= kTile && done < n; done = i + kTile) {
    i = done + kTile <= n ? done : n - kTile;
    *reinterpret_cast<Tile*>(y + i) = s * *reinterpret_cast<const Tile*>(x + i);
  }
}

}  // namespace mliuq
