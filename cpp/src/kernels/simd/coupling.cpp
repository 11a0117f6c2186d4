#include "kernels/simd/coupling.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <tuple>

#include "bispectrum_index.hpp"

namespace mliuq::simd {
namespace {

double factorial(int n) { return std::tgamma(n + 1.0); }

/// Indices k of the first factor in a sum with k1 + k2 = s.
struct Range {
  Range(int j1, int j2, int s) : first(std::max(0, s - j2)), last(std::min(j1, s)) {}
  int count() const { return last - first + 1; }
  int first, last;
};

/// One pair (j1, j2): its levels and the coefficients of its sums.
struct Pair {
  Pair(int twojmax, int j1, int j2) : j1(j1), j2(j2), S(j1 + j2), levels(coupled_levels(twojmax, j1, j2)) {}

  /// Levels that have a column (or row) s; because they descend, these are the first ones.
  int n_levels_at(int s) const {
    int n = 0;
    while (n < static_cast<int>(levels.size()) && levels[n] >= std::abs(2 * s - S)) ++n;
    return n;
  }
  /// Whether the lowest level of a column is |2s − S|, not j1 − j2.
  bool stretched(int s) const { return std::abs(2 * s - S) > j1 - j2; }

  double cg(int k, int s, int level) const {
    const int j = levels[level];
    return clebsch_gordan(j1, k, j2, s - k, j, s - (S - j) / 2);
  }
  /// What the images bring to product k of a sum.
  double carried(int k, int s) const {
    return stretched(s) ? image_fall(j1, k) * image_fall(j2, s - k) : image_root(j2, s - k) / image_root(j1, k);
  }

  int j1, j2, S;
  std::vector<int> levels;
};

/// A running sum of degree e, taken e + 1 times, has the weight binom(x + e, e) for the x-th product before the last.
/// Returns how much of each makes a polynomial with the given values at x = 0, 1 …: its differences, from the highest
/// degree down.
std::vector<double> in_running_sums(std::vector<double> values) {
  const int degree = static_cast<int>(values.size()) - 1;
  std::vector<double> shares(degree + 1);
  for (int e = degree; e >= 0; --e) {
    std::vector<double> difference = values;
    for (int order = 0; order < e; ++order)
      for (int x = degree; x > order; --x) difference[x] -= difference[x - 1];
    shares[e] = difference[e];
    for (int x = 0; x <= degree; ++x) values[x] -= shares[e] * factorial(x + e) / (factorial(x) * factorial(e));
  }
  return shares;
}

template <class Real>
class Builder {
 public:
  Builder(int twojmax, int n_channels, const std::vector<int>& first_product)
      : twojmax_(twojmax), n_channels_(n_channels), first_product_(first_product) {}

  Coupling<Real> build() {
    for (int j1 = 0; j1 <= twojmax_; ++j1)
      for (int j2 = 0; j2 <= j1; ++j2) add_pair(Pair(twojmax_, j1, j2));
    group();
    return std::move(out_);
  }

 private:
  void add_pair(const Pair& pair) {
    inner_tables_.assign(pair.S + 1, {});
    for (std::vector<int>& tables : outer_tables_) tables.assign(pair.S + 1, -1);
    for (int e1 = 0; e1 < n_channels_; ++e1)
      for (int e2 = pair.j1 == pair.j2 ? e1 : 0; e2 < n_channels_; ++e2)
        for (int sb = 0; 2 * sb <= pair.S; ++sb)
          // Columns beyond the middle of the middle row are redundant.
          for (int s = 0; s <= (2 * sb == pair.S ? sb : pair.S); ++s) add_element(pair, e1, e2, sb, s);
  }

  /// The operations of row sb and column s, one for each part of their levels.
  void add_element(const Pair& pair, int e1, int e2, int sb, int s) {
    const bool transposed = pair.n_levels_at(sb) < pair.n_levels_at(s);
    int outer = transposed ? s : sb, inner = transposed ? sb : s;
    // The image carries the factors of columns before the middle; an element beyond it is ± the conjugate of one there.
    const bool mirrored = pair.stretched(inner) && 2 * inner > pair.S;
    if (mirrored) outer = pair.S - outer, inner = pair.S - inner;
    const bool odd = (s - sb) % 2;
    const Image image1 = transposed ? kFallTransposed : pair.stretched(inner) ? kFall : kInverseRoot;
    const Image image2 = image1 == kInverseRoot ? kRoot : image1;
    const auto offset = [&](int channel, Image image, int j) {
      return (channel * kImages + image) * full_level(twojmax_ + 1) + full_level(j);
    };
    // Two equal factors: rows k and sb − k give the same products, so half of them count twice.
    const bool swaps = pair.j1 == pair.j2 && e1 == e2;
    const Range rows(pair.j1, pair.j2, outer), columns(pair.j1, pair.j2, inner);
    const int n_levels = pair.n_levels_at(inner), n_parts = (n_levels + kMaxCoupledLevels - 1) / kMaxCoupledLevels;
    for (int part = 0; part < n_parts; ++part) {
      const int t_first = part * n_levels / n_parts, t_last = (part + 1) * n_levels / n_parts;
      const bool has_lowest = t_last == n_levels;
      CouplingOp op{};
      op.u1 = offset(e1, image1, pair.j1) + rows.first * (pair.j1 + 1) + columns.first;
      op.u2 = offset(e2, image2, pair.j2) + (outer - rows.first) * (pair.j2 + 1) + inner - columns.first;
      op.stride1 = pair.j1 + 1;
      op.stride2 = pair.j2 + 1;
      op.product = first_product_[pair_index(twojmax_, n_channels_, e1, pair.j1, e2, pair.j2)] + t_first;
      op.n_rows = (swaps ? outer / 2 : rows.last) - rows.first + 1;
      op.n_columns = columns.count();
      op.negate_re = mirrored && odd;
      op.negate_im = mirrored && !odd;
      op.outer_cg = outer_table(pair, outer, swaps) + t_first;
      op.outer_cg_stride = pair.n_levels_at(outer);
      op.inner_cg = inner_table(pair, inner, part, t_first, t_last);
      for (int t = t_first; t < t_last; ++t) {
        const int j = pair.levels[t], shift = (pair.S - j) / 2;
        op.target[t - t_first] = static_cast<std::uint16_t>(half_level(j) + (sb - shift) * (j + 1) + s - shift);
        op.n_descriptors += j <= pair.j2;
      }
      shaped_.push_back({.n_levels = t_last - t_first,
                         .n_columns = has_lowest && op.n_columns <= kMaxUnrolledColumns ? op.n_columns : 0,
                         .n_free = has_lowest ? std::min(n_levels, kFreeLevels) : 0,
                         .op = op});
    }
  }

  int here() const { return static_cast<int>(out_.coefficients.size()); }
  void push(double value) { out_.coefficients.push_back(static_cast<Real>(value)); }

  /// Coefficients [k][level].
  int outer_table(const Pair& pair, int s, bool swaps) {
    int& table = outer_tables_[swaps][s];
    if (table >= 0) return table;
    table = here();
    const Range range(pair.j1, pair.j2, s);
    for (int k = range.first; k <= (swaps ? s / 2 : range.last); ++k)
      for (int t = 0; t < pair.n_levels_at(s); ++t) push((swaps && 2 * k != s ? 2.0 : 1.0) * pair.cg(k, s, t));
    return table;
  }

  /// Header and coefficients [k][level] of the levels that are multiplied, relative to the lowest.
  int inner_table(const Pair& pair, int s, int part, int t_first, int t_last) {
    std::vector<int>& tables = inner_tables_[s];
    if (part < static_cast<int>(tables.size())) return tables[part];
    tables.push_back(here());
    const Range range(pair.j1, pair.j2, s);
    const int n = pair.n_levels_at(s);
    const auto remaining = [&](int k, int t) { return pair.cg(k, s, t) / pair.carried(k, s); };
    double header[kSumHeader] = {};
    for (int d = 0; d < std::min(n, kFreeLevels); ++d) {
      std::vector<double> values;  // from the last product on, without the alternating sign
      for (int x = 0; x <= d; ++x) values.push_back((x % 2 ? -1.0 : 1.0) * remaining(range.last - x, n - 1 - d));
      const auto shares = in_running_sums(values);
      header[2 * d] = shares[d];
      header[2 * d + 1] = -shares[d];
      for (int e = 0; e < d; ++e) header[running_share(d, e)] = shares[e] / shares[d];
    }
    for (const double value : header) push(value);
    for (int k = range.first; k <= range.last; ++k)
      for (int t = t_first; t < std::min(t_last, n - kFreeLevels); ++t) push(remaining(k, t) / header[0]);
    return tables.back();
  }

  void group() {
    std::stable_sort(shaped_.begin(), shaped_.end(),
                     [](const Shaped& x, const Shaped& y) { return x.shape() < y.shape(); });
    for (int i = 0; i < static_cast<int>(shaped_.size()); ++i) {
      const Shaped& s = shaped_[i];
      if (i == 0 || shaped_[i - 1].shape() != s.shape())
        out_.groups.push_back({s.n_levels, s.n_columns, s.n_free, i, i});
      out_.groups.back().last = i + 1;
      out_.ops.push_back(s.op);
    }
  }

  struct Shaped {
    int n_levels, n_columns, n_free;
    CouplingOp op;
    auto shape() const { return std::tuple(n_free, n_levels, n_columns); }
  };

  int twojmax_, n_channels_;
  const std::vector<int>& first_product_;
  Coupling<Real> out_;
  std::vector<Shaped> shaped_;
  // Of the present pair: offsets of tables by s.
  std::vector<std::vector<int>> inner_tables_;  // and part
  std::vector<int> outer_tables_[2];            // of sums over all rows, and over half of them
};

}  // namespace

std::vector<int> coupled_levels(int twojmax, int j1, int j2) {
  int j = std::min(twojmax, j1 + j2);
  if ((j1 + j2 - j) % 2) --j;
  std::vector<int> levels;
  for (; j >= j1 - j2; j -= 2) levels.push_back(j);
  return levels;
}

double image_root(int j, int m) { return std::sqrt(factorial(j) / (factorial(m) * factorial(j - m))); }
double image_fall(int j, int m) { return std::sqrt(factorial(j - m) / factorial(m)); }

template <class Real>
Coupling<Real> tabulate_coupling(int twojmax, int n_channels, const std::vector<int>& first_product) {
  return Builder<Real>(twojmax, n_channels, first_product).build();
}

template Coupling<double> tabulate_coupling(int, int, const std::vector<int>&);
template Coupling<float> tabulate_coupling(int, int, const std::vector<int>&);

}  // namespace mliuq::simd
