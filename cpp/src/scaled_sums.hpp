#pragma once

#include <cstddef>

namespace mliuq {

/// y += s x for n numbers of each row, y [n_rows][y_stride], x [n_rows][x_stride].
void add_rows(int n_rows, int n, double s, const double* x, std::size_t x_stride, double* y, std::size_t y_stride);

/// y [n] += s x.
inline void add_scaled(double* y, double s, const double* x, int n) { add_rows(1, n, s, x, n, y, n); }

/// y [n] = s x.
void set_scaled(double* y, double s, const double* x, int n);

}  // namespace mliuq
