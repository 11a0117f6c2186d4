#pragma once

namespace mliuq {

/// y = d·F for n rows at once: d [n][n_rows] with stride d_stride, F [n_rows][n_columns], y [n][n_columns], all
/// row-major. The shape behind every spread: small enough to stay in cache, large enough to want the vector unit.
/// `shape` lower: F[p][c] is zero for c > p, and those products are left out.
enum class Shape { full, lower };
void multiply_block(int n, int n_rows, int n_columns, const double* d, int d_stride, const double* F, double* y,
                    Shape shape = Shape::full);

}  // namespace mliuq
