#include "triangular_factor.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "scaled_sums.hpp"

namespace mliuq {
void triangularise(std::vector<double>& a, int rows, int columns) {
  const auto row = [&](int i) { return a.data() + static_cast<std::size_t>(i) * columns; };
  std::vector<double> v(rows), dots(columns);
  for (int k = 0; k < std::min(rows, columns); ++k) {
    double norm = 0.0;
    for (int i = k; i < rows; ++i) norm += row(i)[k] * row(i)[k];
    norm = std::sqrt(norm);
    if (norm == 0.0) continue;
    const double pivot = row(k)[k];
    for (int i = k; i < rows; ++i) v[i] = row(i)[k];
    v[k] += pivot < 0.0 ? -norm : norm;
    // Row by row, contiguous: the transposed vector times a, then the outer product.
    const int n = columns - k;
    std::fill_n(dots.begin(), n, 0.0);
    for (int i = k; i < rows; ++i) add_scaled(dots.data(), v[i], row(i) + k, n);
    const double scale = -1.0 / (norm * (norm + std::abs(pivot)));
    for (int i = k; i < rows; ++i) add_scaled(row(i) + k, scale * v[i], dots.data(), n);
    for (int i = k + 1; i < rows; ++i) row(i)[k] = 0.0;
  }
}

}  // namespace mliuq
