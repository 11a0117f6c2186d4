#pragma once

namespace mliuq {

/// y = d·F for n rows at once: d [n][n_rows] with stride d_stride, F [n_rows][n_columns], y [n][n_columns], all
/// row-major. The shape behind every spread: small enough to stay in cache, large enough to want the vector unit.
void multiply_block(int n, int n_rows, int n_columns, const double* d, int d_stride, const double* F, double* y);

}  // namespace mliuq
