#include "kernels/simd/plan.hpp"

#include <algorithm>
#include <utility>

#include "bispectrum_index.hpp"

namespace mliuq::simd {

template <class Real>
PlanStorage<Real>::PlanStorage(const SnapParams& params, const EnergyModel& model)
    : params_(params),
      n_channels_(params.chemflag ? params.n_elements() : 1),
      n_triples_(bispectrum_count(params.twojmax)) {
  plan_.twojmax = params.twojmax;
  plan_.n_channels = n_channels_;
  plan_.n_components = params.n_components();
  plan_.n_half = half_level(params.twojmax + 1);
  plan_.n_full = full_level(params.twojmax + 1);
  plan_.wselfall = params.wselfallflag;
  plan_.chem = params.chemflag;
  plan_.quadratic = model.quadratic();
  plan_.switchinner = params.switchinnerflag;
  plan_.rmin0 = static_cast<Real>(params.rmin0);
  tabulate_scales();
  tabulate_lowering();
  tabulate_products();
  tabulate_components();
  coupling_ = tabulate_coupling<Real>(params.twojmax, n_channels_, first_product_);
  plan_.cg = coupling_.coefficients.data();
  plan_.ops = coupling_.ops.data();
  plan_.groups = coupling_.groups.data();
  plan_.n_groups = static_cast<int>(coupling_.groups.size());
  tabulate_weights(model);
}

template <class Real>
void PlanStorage<Real>::tabulate_scales() {
  to_u_.resize(plan_.n_half);
  share_.resize(plan_.n_half);
  to_v_.resize(plan_.n_half);
  for (int j = 0; j <= plan_.twojmax; ++j)
    for (int mb = 0; 2 * mb <= j; ++mb)
      for (int ma = 0; ma <= j; ++ma) {
        const int h = half_level(j) + mb * (j + 1) + ma;
        to_u_[h] = static_cast<Real>(image_root(j, mb) / image_root(j, ma));
        share_[h] = 2 * mb < j || ma < mb ? 1 : ma == mb ? Real(0.5) : 0;
        to_v_[h] = to_u_[h] * share_[h];
      }
  for (int j = 0; j <= plan_.twojmax; ++j)
    for (int m = 0; m <= j; ++m) {
      root_.push_back(static_cast<Real>(image_root(j, m)));
      inverse_root_.push_back(static_cast<Real>(1.0 / image_root(j, m)));
      fall_.push_back(static_cast<Real>(image_fall(j, m)));
    }
  plan_.root = root_.data();
  plan_.inverse_root = inverse_root_.data();
  plan_.fall = fall_.data();
  plan_.to_u = to_u_.data();
  plan_.share = share_.data();
  plan_.to_v = to_v_.data();
  maps_.emplace(params_.twojmax, to_v_);
  for (int step = 0; step < kMapSteps; ++step) {
    plan_.to_density[step] = maps_->to_density[step].view();
    plan_.from_Y[step] = maps_->from_Y[step].view();
  }
}

template <class Real>
void PlanStorage<Real>::tabulate_lowering() {
  for (int j = 1; j <= plan_.twojmax; ++j)
    for (int mb = 0; 2 * mb <= j - 1; ++mb)
      for (int m = 0; m <= (2 * mb == j - 1 ? mb : j - 1); ++m) {
        const double share = 2 * share_[half_level(j - 1) + mb * j + m];
        const struct {
          int mb, m;
          double factor;
        } elements[4] = {{mb, m, share * (j - mb)},
                         {mb + 1, m + 1, share * (mb + 1)},
                         {mb + 1, m, share * (mb + 1)},
                         {mb, m + 1, share * (j - mb)}};
        LoweredElement element;
        for (int e = 0; e < 4; ++e) {
          const auto& [row, column, factor] = elements[e];
          const bool mirrored = 2 * row > j || (2 * row == j && column > row);
          element.from[e] = mirrored ? (j - row) * (j + 1) + j - column : row * (j + 1) + column;
          const double sign = mirrored && (row + column) % 2 ? -1.0 : 1.0;
          const double scale = sign * factor * to_u_[half_level(j) + element.from[e]];
          lowered_coefficients_.push_back(static_cast<Real>(scale));
          lowered_coefficients_.push_back(static_cast<Real>(mirrored == (e < 2) ? -scale : scale));
        }
        lowered_elements_.push_back(element);
      }
  plan_.lowered_elements = lowered_elements_.data();
  plan_.lowered_coefficients = lowered_coefficients_.data();
}

template <class Real>
int PlanStorage<Real>::product_index(int e1, int j1, int e2, int j2, int j) const {
  if (j1 == j2 && e1 > e2) std::swap(e1, e2);
  const int top = coupled_levels(plan_.twojmax, j1, j2).front();
  return first_product_[pair_index(plan_.twojmax, n_channels_, e1, j1, e2, j2)] + (top - j) / 2;
}

template <class Real>
void PlanStorage<Real>::tabulate_products() {
  const int n = plan_.twojmax + 1;
  first_product_.assign(static_cast<std::size_t>(n) * n * n_channels_ * n_channels_, -1);
  int stored = 0;
  for (int j1 = 0; j1 < n; ++j1)
    for (int j2 = 0; j2 <= j1; ++j2)
      for (int e1 = 0; e1 < n_channels_; ++e1)
        for (int e2 = j1 == j2 ? e1 : 0; e2 < n_channels_; ++e2) {
          first_product_[pair_index(plan_.twojmax, n_channels_, e1, j1, e2, j2)] = static_cast<int>(products_.size());
          for (int j : coupled_levels(plan_.twojmax, j1, j2)) {
            products_.push_back({.j = j, .stored = stored});
            store_offset_.push_back(stored - half_level(j));
            stored += half_size(j);
          }
        }
  for (int j = 0; j < n; ++j) {
    first_of_level_.push_back(static_cast<int>(level_products_.size()));
    for (std::size_t p = 0; p < products_.size(); ++p)
      if (products_[p].j == j) level_products_.push_back(static_cast<int>(p));
  }
  first_of_level_.push_back(static_cast<int>(level_products_.size()));
  plan_.products = products_.data();
  plan_.store_offset = store_offset_.data();
  plan_.n_products = static_cast<int>(products_.size());
  plan_.n_stored = stored;
  plan_.level_products = level_products_.data();
  plan_.first_of_level = first_of_level_.data();
}

// B_{κλμ, j1 j2 j} is trilinear in the density. With N = 1 or 1/(j+1) its derivatives with respect to the three
// densities are N Z^j(κ j1, λ j2), N (j+1)/(j1+1) Z^{j1}(μ j, λ j2) and N (j+1)/(j2+1) Z^{j2}(μ j, κ j1): one term for
// each. Dotted with its density each of them is B; the last, of the lowest level, has the fewest elements.
template <class Real>
void PlanStorage<Real>::tabulate_components() {
  struct Term {
    int product, channel, component, weight;
    double factor;
  };
  std::vector<Term> all;
  const auto triples = bispectrum_triples(plan_.twojmax);
  const int n = n_channels_;
  descriptor_scale_.resize(plan_.n_components);
  int b = 0;
  for (int e1 = 0; e1 < n; ++e1)
    for (int e2 = 0; e2 < n; ++e2)
      for (int e3 = 0; e3 < n; ++e3)
        for (const auto& [j1, j2, j] : triples) {
          const double norm = params_.bnormflag ? 1.0 / (j + 1) : 1.0;
          const auto component = [&](const ChannelTriple& c) {
            return ((c.c1 * n + c.c2) * n + c.c3) * n_triples_ + b % n_triples_;
          };
          const int first = component(weight_of_first({j1, j2, j}, {e1, e2, e3}));
          const int second = component(weight_of_second({j1, j2, j}, {e1, e2, e3}));
          all.push_back({product_index(e1, j1, e2, j2, j), e3, b, b, norm});
          all.push_back({product_index(e3, j, e2, j2, j1), e1, b, first, norm * (j + 1) / (j1 + 1)});
          const int lowest = product_index(e3, j, e1, j1, j2);
          const double share = norm * (j + 1) / (j2 + 1);
          all.push_back({lowest, e2, b, second, share});
          descriptor_scale_[b] = static_cast<Real>(2.0 * share);
          const bool has_twin = j1 == j && e1 != e3;
          if (!has_twin || e1 < e3) dots_.push_back({lowest, e2, b, has_twin ? component({e3, e2, e1}) : -1});
          ++b;
        }
  std::stable_sort(all.begin(), all.end(), [&](const Term& x, const Term& y) {
    return std::pair(x.product, x.channel) < std::pair(y.product, y.channel);
  });
  std::size_t next = 0;
  for (int p = 0; p < plan_.n_products; ++p)
    for (int channel = 0; channel < n; ++channel) {
      first_term_.push_back(static_cast<int>(terms_.size()));
      for (; next < all.size() && all[next].product == p && all[next].channel == channel; ++next) {
        const Term& term = all[next];
        if (static_cast<int>(terms_.size()) > first_term_.back() && terms_.back().component == term.component &&
            terms_.back().weight == term.weight)
          terms_.back().factor += static_cast<Real>(term.factor);
        else
          terms_.push_back({term.component, term.weight, static_cast<Real>(term.factor)});
      }
    }
  first_term_.push_back(static_cast<int>(terms_.size()));
  plan_.first_term = first_term_.data();
  plan_.terms = terms_.data();
  tabulate_gradient_terms();
  plan_.dots = dots_.data();
  plan_.n_dots = static_cast<int>(dots_.size());
  component_of_.assign(static_cast<std::size_t>(plan_.n_products) * n, -1);
  for (const DescriptorDot& dot : dots_) component_of_[dot.channel * plan_.n_products + dot.product] = dot.component;
  plan_.component_of = component_of_.data();
  plan_.descriptor_scale = descriptor_scale_.data();
}

template <class Real>
void PlanStorage<Real>::tabulate_gradient_terms() {
  std::vector<std::vector<GradientTerm<Real>>> by_component(static_cast<std::size_t>(n_channels_) * plan_.n_components);
  for (int p = 0; p < plan_.n_products; ++p)
    for (int channel = 0; channel < n_channels_; ++channel) {
      const int* first = first_term_.data() + p * n_channels_ + channel;
      for (int t = first[0]; t < first[1]; ++t) {
        auto& of_component = by_component[static_cast<std::size_t>(channel) * plan_.n_components + terms_[t].component];
        if (!of_component.empty() && of_component.back().product == p)
          of_component.back().factor += terms_[t].factor;
        else
          of_component.push_back({.product = p, .factor = terms_[t].factor, .value_share = 0});
      }
    }
  plan_.n_lowered = 0;
  for (auto& of_component : by_component) {
    const auto level = [&](const GradientTerm<Real>& term) { return products_[term.product].j; };
    std::ranges::stable_sort(of_component, {}, level);
    int lowered = 0;
    for (std::size_t t = 0; t < of_component.size(); ++t) {
      const int j = level(of_component[t]);
      if (j == 0) continue;
      const double next = t + 1 < of_component.size() ? 1.0 / level(of_component[t + 1]) : 0.0;
      of_component[t].value_share = static_cast<Real>(1.0 / j - next);
      lowered += half_used(j - 1);
    }
    plan_.n_lowered = std::max(plan_.n_lowered, lowered);
    first_gradient_term_.push_back(static_cast<int>(gradient_terms_.size()));
    gradient_terms_.insert(gradient_terms_.end(), of_component.begin(), of_component.end());
  }
  first_gradient_term_.push_back(static_cast<int>(gradient_terms_.size()));
  plan_.first_gradient_term = first_gradient_term_.data();
  plan_.gradient_terms = gradient_terms_.data();
}

template <class Real>
void PlanStorage<Real>::tabulate_weights(const EnergyModel& model) {
  const int n_elements = params_.n_elements(), K = plan_.n_components;
  const auto triples = bispectrum_triples(plan_.twojmax);
  shift_.assign(static_cast<std::size_t>(n_elements) * K, 0.0);
  for (int e = 0; e < n_elements; ++e) {
    const auto beta = model.linear(e);
    double shifted = model.constant(e);
    for (int k = 0; k < K; ++k) {
      const int c3 = k / n_triples_ % n_channels_, c2 = k / n_triples_ / n_channels_ % n_channels_;
      const int c1 = k / n_triples_ / n_channels_ / n_channels_;
      const bool has_self = !params_.chemflag || params_.wselfallflag || (c1 == e && c2 == e && c3 == e);
      if (params_.bzeroflag && has_self)
        shift_[static_cast<std::size_t>(e) * K + k] = params_.bnormflag ? 1.0 : triples[k % n_triples_].j + 1.0;
      shifted -= beta[k] * shift_[static_cast<std::size_t>(e) * K + k];
      linear_.push_back(static_cast<Real>(beta[k]));
    }
    constant_.push_back(model.constant(e));
    shifted_constant_.push_back(shifted);
    for (double alpha : model.quadratic_matrix(e)) matrix_.push_back(static_cast<Real>(alpha));
    for (int channel = 0; channel < n_channels_; ++channel)
      for (int p = 0; p < plan_.n_products; ++p) {
        const int* first = first_term_.data() + p * n_channels_ + channel;
        double weight = 0.0;
        for (int t = first[0]; t < first[1]; ++t) weight += terms_[t].factor * beta[terms_[t].weight];
        product_weight_.push_back(static_cast<Real>(weight));
      }
  }
  plan_.shift = shift_.data();
  plan_.constant = constant_.data();
  plan_.shifted_constant = shifted_constant_.data();
  plan_.linear = linear_.data();
  plan_.matrix = matrix_.empty() ? nullptr : matrix_.data();
  plan_.product_weight = product_weight_.data();
}

template class PlanStorage<double>;
template class PlanStorage<float>;

}  // namespace mliuq::simd
