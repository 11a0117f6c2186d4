#include "kernels/simd/polynomial.hpp"

#include <algorithm>
#include <complex>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

namespace mliuq::simd {
namespace {

using Rows = std::vector<SparseRow>;

double factorial(int n) { return n < 2 ? 1.0 : n * factorial(n - 1); }
double binomial(int n, int k) { return k < 0 || k > n ? 0.0 : factorial(n) / (factorial(k) * factorial(n - k)); }

/// Functions of degree p in one complex number c = x + iy are counted by k = 0 … p: Re c^k conj(c)^{p−k} for 2k ≥ p,
/// and Im c^{p−k} conj(c)^k below. This is number k as Σ_i coefficient X^p_i.
std::vector<double> in_divided_powers(int p, int k) {
  const bool real = 2 * k >= p;
  const int r = real ? k : p - k, s = p - r;
  std::vector<double> coefficients(p + 1, 0.0);
  for (int e = 0; e <= r; ++e)
    for (int f = 0; f <= s; ++f) {
      static constexpr double re[] = {1, 0, -1, 0}, im[] = {0, 1, 0, -1};
      const int turns = ((r - e) - (s - f)) & 3;  // i^{r−e} (−i)^{s−f}
      coefficients[e + f] += binomial(r, e) * binomial(s, f) * (real ? re : im)[turns];
    }
  for (int i = 0; i <= p; ++i) coefficients[i] *= factorial(i) * factorial(p - i);
  return coefficients;
}

/// c^r conj(c)^s = C + i sign S by functions of degree r + s; S is absent where r = s.
struct Phase {
  Phase(int r, int s) : C(std::max(r, s)), S(std::min(r, s)), sign(r > s ? 1.0 : r < s ? -1.0 : 0.0) {}
  int C, S;
  double sign;
};

/// Monomials a^r conj(a)^s b^t conj(b)^u of v^j_{mb,m} (|a|² + |b|²)^{(n−j)/2}.
std::map<std::tuple<int, int, int, int>, double> lifted_element(int n, int j, int mb, int m) {
  std::map<std::tuple<int, int, int, int>, double> terms;
  const int lift = (n - j) / 2;
  for (int k = std::max(0, m - mb); k <= std::min(m, j - mb); ++k)
    for (int l = 0; l <= lift; ++l)
      terms[{m - k + l, j - mb - k + l, mb - m + k + lift - l, k + lift - l}] +=
          (k % 2 ? -1.0 : 1.0) * binomial(j - mb, k) * binomial(mb, m - k) * binomial(lift, l);
  return terms;
}

class Chain {
 public:
  explicit Chain(int twojmax) : twojmax_(twojmax) {
    const int count = n_moments(twojmax) + n_moments(twojmax - 1);
    along_b_.resize(count);
    along_a_.resize(count);
    to_v_.resize(2 * static_cast<std::size_t>(half_level(twojmax + 1)));
    for (int n = twojmax; n >= std::max(0, twojmax - 1); --n) {
      for (int p = 0; p <= n; ++p) add_powers(n, p);
      for (int j = n; j >= 0; j -= 2) add_level(n, j);
    }
  }

  const Rows& along_b() const { return along_b_; }
  const Rows& along_a() const { return along_a_; }
  const Rows& to_v() const { return to_v_; }

 private:
  int at(int n, int p, int i, int l) const {
    return (n == twojmax_ ? 0 : n_moments(twojmax_)) + first_moment(n, p) + i * (n - p + 1) + l;
  }

  void add_powers(int n, int p) {
    for (int k = 0; k <= n - p; ++k) {
      const auto powers = in_divided_powers(n - p, k);
      for (int i = 0; i <= p; ++i)
        for (int l = 0; l <= n - p; ++l)
          if (powers[l] != 0.0) along_b_[at(n, p, i, k)].emplace_back(at(n, p, i, l), powers[l]);
    }
    for (int k = 0; k <= p; ++k) {
      const auto powers = in_divided_powers(p, k);
      for (int l = 0; l <= n - p; ++l)
        for (int i = 0; i <= p; ++i)
          if (powers[i] != 0.0) along_a_[at(n, p, k, l)].emplace_back(at(n, p, i, l), powers[i]);
    }
  }

  void add_level(int n, int j) {
    for (int mb = 0; 2 * mb <= j; ++mb)
      for (int m = 0; m <= (2 * mb == j ? mb : j); ++m) {
        SparseRow& re = to_v_[2 * (half_level(j) + mb * (j + 1) + m)];
        SparseRow& im = to_v_[2 * (half_level(j) + mb * (j + 1) + m) + 1];
        for (const auto& [powers, c] : lifted_element(n, j, mb, m)) {
          const auto [r, s, t, u] = powers;
          const Phase a(r, s), b(t, u);
          re.emplace_back(at(n, r + s, a.C, b.C), c);
          if (a.sign * b.sign != 0.0) re.emplace_back(at(n, r + s, a.S, b.S), -c * a.sign * b.sign);
          if (b.sign != 0.0) im.emplace_back(at(n, r + s, a.C, b.S), c * b.sign);
          if (a.sign != 0.0) im.emplace_back(at(n, r + s, a.S, b.C), c * a.sign);
        }
      }
  }

  int twojmax_;
  Rows along_b_, along_a_, to_v_;
};

Rows transposed(const Rows& rows, std::size_t n_sources) {
  Rows result(n_sources);
  for (std::size_t target = 0; target < rows.size(); ++target)
    for (const auto& [source, c] : rows[target]) result[source].emplace_back(static_cast<int>(target), c);
  return result;
}

}  // namespace

template <class Real>
SparseMapStorage<Real>::SparseMapStorage(const std::vector<SparseRow>& rows) {
  std::vector<int> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return rows[x].size() < rows[y].size(); });
  for (const int target : order) {
    const int n_terms = static_cast<int>(rows[target].size());
    if (n_terms == 0) continue;
    if (groups_.empty() || groups_.back().n_terms != n_terms) groups_.push_back({n_terms, 0});
    ++groups_.back().n_rows;
    targets_.push_back(static_cast<std::uint16_t>(target));
    for (const auto& [source, c] : rows[target]) {
      sources_.push_back(static_cast<std::uint16_t>(source));
      coefficients_.push_back(static_cast<Real>(c));
    }
  }
}

template <class Real>
SparseMap<Real> SparseMapStorage<Real>::view() const {
  return {groups_.data(), static_cast<int>(groups_.size()), targets_.data(), sources_.data(), coefficients_.data()};
}

template <class Real>
PolynomialMaps<Real>::PolynomialMaps(int twojmax, const std::vector<Real>& to_v) {
  const Chain chain(twojmax);
  const std::size_t count = chain.along_a().size();
  for (const Rows* rows : {&chain.along_b(), &chain.along_a(), &chain.to_v()}) to_density.emplace_back(*rows);
  Rows from_Y_rows = transposed(chain.to_v(), count);
  for (SparseRow& row : from_Y_rows)
    for (auto& [source, c] : row) c *= 2.0 * to_v[source / 2];
  from_Y.emplace_back(from_Y_rows);
  from_Y.emplace_back(transposed(chain.along_a(), count));
  from_Y.emplace_back(transposed(chain.along_b(), count));
}

template class SparseMapStorage<double>;
template class SparseMapStorage<float>;
template struct PolynomialMaps<double>;
template struct PolynomialMaps<float>;

}  // namespace mliuq::simd
