// The list of coupling operations, walked in plain complex numbers, against double sums over all Clebsch-Gordan
// coefficients.

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <random>
#include <vector>

#include "bispectrum_index.hpp"
#include "check.hpp"
#include "kernels/simd/coupling.hpp"

using namespace mliuq;
using namespace mliuq::simd;
using Complex = std::complex<double>;

namespace {

struct Product {
  int e1, j1, e2, j2, j;
};

/// Random densities of the right symmetry, their images and the list.
struct Scene {
  Scene(int twojmax, int n_channels) : n_full(full_level(twojmax + 1)), u(n_channels), images(n_channels * kImages) {
    std::mt19937 random(twojmax + 1);
    std::normal_distribution<double> normal;
    for (int e = 0; e < n_channels; ++e) {
      u[e].resize(n_full);
      for (int i = 0; i < kImages; ++i) images[e * kImages + i].resize(n_full);
      for (int j = 0; j <= twojmax; ++j)
        for (int mb = 0; mb <= j; ++mb)
          for (int ma = 0; ma <= j; ++ma) {
            const int element = at(j, mb, ma), mirror = at(j, j - mb, j - ma), turned = at(j, ma, mb);
            if (element <= mirror) {
              u[e][element] = {normal(random), element == mirror ? 0.0 : normal(random)};
              u[e][mirror] = ((ma + mb) % 2 ? -1.0 : 1.0) * std::conj(u[e][element]);
            }
            images[e * kImages + kRoot][element] = image_root(j, ma) * u[e][element];
            images[e * kImages + kInverseRoot][element] = u[e][element] / image_root(j, ma);
            // Last columns are not written, so that nobody may read them.
            images[e * kImages + kFall][element] = ma == j ? nothing : image_fall(j, ma) * u[e][element];
            images[e * kImages + kFallTransposed][turned] = mb == j ? nothing : image_fall(j, mb) * u[e][element];
          }
    }
    const int n = twojmax + 1;
    std::vector<int> first(n_channels * n * n_channels * n, -1);
    for (int j1 = 0; j1 < n; ++j1)
      for (int j2 = 0; j2 <= j1; ++j2)
        for (int e1 = 0; e1 < n_channels; ++e1)
          for (int e2 = j1 == j2 ? e1 : 0; e2 < n_channels; ++e2) {
            first[pair_index(twojmax, n_channels, e1, j1, e2, j2)] = static_cast<int>(products.size());
            for (int j : coupled_levels(twojmax, j1, j2)) products.push_back({e1, j1, e2, j2, j});
          }
    coupling = tabulate_coupling<double>(twojmax, n_channels, first);
  }

  static constexpr Complex nothing = std::numeric_limits<double>::quiet_NaN();

  static int at(int j, int mb, int ma) { return full_level(j) + mb * (j + 1) + ma; }

  Complex image(std::uint32_t offset) const { return images[offset / n_full][offset % n_full]; }

  /// Element (mb, ma) of a product, all of its terms.
  Complex plain(const Product& p, int mb, int ma) const {
    const int shift = (p.j1 + p.j2 - p.j) / 2, sb = mb + shift, s = ma + shift;
    const auto coefficients = [&](int total, int m) {
      std::vector<double> cg(p.j1 + 1);
      for (int k = std::max(0, total - p.j2); k <= std::min(p.j1, total); ++k)
        cg[k] = clebsch_gordan(p.j1, k, p.j2, total - k, p.j, m);
      return cg;
    };
    const auto rows = coefficients(sb, mb), columns = coefficients(s, ma);
    Complex sum = 0.0;
    for (int k = std::max(0, sb - p.j2); k <= std::min(p.j1, sb); ++k)
      for (int a = std::max(0, s - p.j2); a <= std::min(p.j1, s); ++a)
        sum += rows[k] * columns[a] * u[p.e1][at(p.j1, k, a)] * u[p.e2][at(p.j2, sb - k, s - a)];
    return sum;
  }

  /// The same of all levels of an operation, as the kernel does it.
  std::vector<Complex> factorised(const CouplingOp& op, int n_levels, int n_free) const {
    const std::vector<double>& cg = coupling.coefficients;
    const int n_multiplied = n_levels - n_free, lowest = n_levels - 1;
    std::vector<Complex> z(n_levels);
    for (int k = 0; k < op.n_rows; ++k) {
      std::vector<Complex> sum(n_levels);
      for (int a = 0; a < op.n_columns; ++a) {
        const Complex product = image(op.u1 + k * op.stride1 + a) * image(op.u2 - k * op.stride2 - a);
        for (int t = 0; t < n_multiplied; ++t) sum[t] += cg[op.inner_cg + kSumHeader + a * n_multiplied + t] * product;
        Complex running = product;
        for (int d = 0; d < n_free; ++d) running = sum[lowest - d] = running - sum[lowest - d];
      }
      for (int d = n_free - 1; d > 0; --d)
        for (int e = 0; e < d; ++e) sum[lowest - d] += cg[op.inner_cg + running_share(d, e)] * sum[lowest - e];
      for (int t = 0; t < n_levels; ++t) z[t] += cg[op.outer_cg + k * op.outer_cg_stride + t] * sum[t];
    }
    for (int t = 0; t < n_levels; ++t) {
      const double* scale = cg.data() + op.inner_cg + 2 * (t < n_multiplied ? 0 : lowest - t);
      z[t] = {z[t].real() * scale[op.negate_re], z[t].imag() * scale[op.negate_im]};
    }
    return z;
  }

  int n_full;
  std::vector<std::vector<Complex>> u, images;
  std::vector<Product> products;
  Coupling<double> coupling;
};

}  // namespace

TEST(coupling, operations_make_every_element_once) {
  for (auto [twojmax, n_channels] : {std::pair(0, 1), {1, 2}, {2, 3}, {5, 2}, {8, 1}, {14, 1}, {17, 1}}) {
    const Scene scene(twojmax, n_channels);
    std::vector<std::vector<int>> made;
    for (const Product& p : scene.products) made.emplace_back(half_used(p.j), 0);
    double largest = 0.0, error = 0.0;
    for (const CouplingGroup& group : scene.coupling.groups)
      for (int i = group.first; i < group.last; ++i) {
        const CouplingOp& op = scene.coupling.ops[i];
        CHECK(group.n_columns == 0 || group.n_columns == op.n_columns);
        const auto z = scene.factorised(op, group.n_levels, group.n_free);
        for (int t = 0; t < group.n_levels; ++t) {
          const Product& p = scene.products[op.product + t];
          const int element = op.target[t] - half_level(p.j);
          CHECK(element < half_used(p.j));
          ++made[op.product + t][element];
          const Complex expected = scene.plain(p, element / (p.j + 1), element % (p.j + 1));
          CHECK(std::isfinite(z[t].real()) && std::isfinite(z[t].imag()));
          largest = std::max(largest, std::abs(expected));
          error = std::max(error, std::abs(z[t] - expected));
          CHECK((t >= group.n_levels - op.n_descriptors) == (p.j <= p.j2));
        }
      }
    CHECK_NEAR(error, 0.0, 1e-13 * largest);
    CHECK(largest > 0.1);
    for (const auto& elements : made)
      CHECK(std::all_of(elements.begin(), elements.end(), [](int n) { return n == 1; }));
  }
}

TEST(coupling, single_precision_can_hold_every_coefficient) {
  const Scene scene(kMaxTwojmax, 1);
  for (double c : scene.coupling.coefficients) CHECK(std::abs(c) < 1e30);
  for (int m = 0; m <= kMaxTwojmax; ++m) CHECK(image_fall(kMaxTwojmax, m) < 1e15 && image_root(kMaxTwojmax, m) < 1e15);
}
