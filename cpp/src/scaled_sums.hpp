#pragma once

#include <cstddef>

namespace mliuq {

/// y [n_rows][y_stride] += s x [n_rows][n].
void add_rows(int n_rows, int n, double s, const double* x, double* y, std::size_t y_stride);

/// y [n] += s x.
inline void add_scaled(double* y, double s, const double* x, int n) { add_rows(1, n, s, x, y, n); }

/// y [n] = s x.
void set_scaled(double* y, double s, const double* x, int n);

}  // namespace mliuq
