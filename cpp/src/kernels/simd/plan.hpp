#pragma once

// What a kernel prepares once from the parameters and the weights: index lists, Clebsch-Gordan coefficients, scale
// factors. `Plan` is a view of raw arrays, because the vector code that reads it must not instantiate templates of the
// standard library (see layout.hpp); `PlanStorage` owns them.

#include <cstddef>
#include <optional>
#include <vector>

#include "kernels/simd/coupling.hpp"
#include "kernels/simd/polynomial.hpp"
#include "mliuq/energy_model.hpp"
#include "mliuq/snap_params.hpp"

namespace mliuq::simd {

/// Z^j of one (κ j1, λ j2): where it lies in the store.
struct Product {
  int j;
  int stored;
};

/// Contribution of a component's derivative to the weight of a product in a channel's Y.
template <class Real>
struct WeightTerm {
  int component;  ///< whose derivative it is
  int weight;     ///< whose weight it carries: the same, or one equal to it by symmetry (bispectrum_index.hpp)
  Real factor;
};

/// The same contributions by component, what ∂B is summed from: lowest level first.
template <class Real>
struct GradientTerm {
  int product;
  Real factor;
  Real value_share;  ///< 1/j less that of the term after it: of q·G so far in the value (isa/derive.hpp)
};

/// What the gradient's polynomials of a product of level j take from it for one element (mb, m) of the level below:
/// four elements of the half plane, (mb, m), (mb+1, m+1), (mb+1, m), (mb, m+1) or their mirror images. The coefficients
/// of [re, im] of each stand elsewhere, side by side with those of other elements; those of the last two im are
/// negative.
struct LoweredElement {
  int from[4];
};

/// One B as a product dotted with a channel of the density; `twin` is the component that is the same dot, or −1.
struct DescriptorDot {
  int product, channel, component, twin;
};

template <class Real>
struct Plan {
  int twojmax, n_channels, n_components, n_half, n_full;
  bool wselfall, chem, quadratic, switchinner;
  Real rmin0;
  const Real* to_u;   ///< [n_half], takes v of the recursion to u
  const Real* share;  ///< [n_half], weight in half-plane sums: 1, and on the middle row 1, ½, 0
  const Real* to_v;   ///< [n_half], to_u · share: takes Y or Z to what is dotted with v
  SparseMap<Real> to_density[kMapSteps], from_Y[kMapSteps];  ///< moments → v, Y → polynomials (polynomial.hpp)
  const Real* root;  ///< [first_column(twojmax + 1)], √binom(j, m), of every column m of every level
  const Real* inverse_root;
  const Real* fall;  ///< the same, √((j − m)!/m!)
  const Real* cg;    ///< coefficients of all operations
  const CouplingOp* ops;
  const CouplingGroup* groups;
  int n_groups;
  const Product* products;  ///< [n_products]
  const int* store_offset;  ///< [n_products], where level j of the half plane would begin in the store of Z
  int n_products, n_stored;
  const int* first_term;  ///< [n_products][n_channels] + 1
  const WeightTerm<Real>* terms;
  const int* first_gradient_term;  ///< [n_channels][n_components] + 1
  const GradientTerm<Real>* gradient_terms;
  const LoweredElement* lowered_elements;  ///< of level j from first_lowered(j) on
  const Real* lowered_coefficients;        ///< [8] of each
  int n_lowered;                           ///< elements of all terms of one component at most
  const DescriptorDot* dots;
  int n_dots;
  const int* component_of;       ///< [n_channels][n_products], B of a product dotted with a channel where j ≤ j2
  const int* level_products;     ///< products sorted by j, [n_products]
  const int* first_of_level;     ///< [twojmax + 2]
  const Real* descriptor_scale;  ///< [n_components], takes the dots to B
  // By element of the centre:
  const double* shift;             ///< [n_elements][n_components], B of an isolated atom, subtracted with bzeroflag
  const double* constant;          ///< [n_elements], constant energy
  const double* shifted_constant;  ///< [n_elements], constant − β·shift: what ⟨u, Y⟩ adds to
  const Real* linear;              ///< [n_elements][n_components]
  const Real* matrix;              ///< [n_elements][n_components][n_components], null unless quadratic
  const Real* product_weight;      ///< [n_elements][n_channels][n_products] in Y, of a linear model
};

template <class Real>
class PlanStorage {
 public:
  PlanStorage(const SnapParams& params, const EnergyModel& model);
  const Plan<Real>& view() const { return plan_; }

 private:
  void tabulate_scales();
  void tabulate_products();
  void tabulate_components();
  void tabulate_gradient_terms();
  void tabulate_lowering();
  void tabulate_weights(const EnergyModel& model);
  int product_index(int e1, int j1, int e2, int j2, int j) const;

  SnapParams params_;
  int n_channels_;
  int n_triples_;
  Plan<Real> plan_{};
  std::vector<Real> to_u_, share_, to_v_, root_, inverse_root_, fall_, descriptor_scale_, linear_, matrix_,
      product_weight_;
  std::vector<double> shift_, constant_, shifted_constant_;
  Coupling<Real> coupling_;
  std::optional<PolynomialMaps<Real>> maps_;
  std::vector<Product> products_;
  std::vector<int> first_product_;  // of each pair, by pair_index
  std::vector<int> first_term_, first_gradient_term_, level_products_, first_of_level_, component_of_, store_offset_;
  std::vector<WeightTerm<Real>> terms_;
  std::vector<GradientTerm<Real>> gradient_terms_;
  std::vector<LoweredElement> lowered_elements_;
  std::vector<Real> lowered_coefficients_;
  std::vector<DescriptorDot> dots_;
};

extern template class PlanStorage<double>;
extern template class PlanStorage<float>;

}  // namespace mliuq::simd
