#pragma once

#include <vector>

namespace mliuq {

/// Upper triangular (or trapezoidal) R of the QR factorisation of a [rows][columns], row-major, so that RᵀR = aᵀa:
/// in place, in the first min(rows, columns) rows; everything below the diagonal and below those rows is zero.
/// Householder reflections (Golub & Van Loan, Matrix Computations, 4th ed., algorithm 5.2.1).
void triangularise(std::vector<double>& a, int rows, int columns);

}  // namespace mliuq
