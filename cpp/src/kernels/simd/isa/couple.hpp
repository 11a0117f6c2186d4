#pragma once

// Products Z = Σ Σ C C u1 u2 (coupling.hpp says of what) and what becomes of each: added to the Y of every channel with
// a fixed weight, dotted with their densities into B, or stored.

#include "kernels/simd/isa/density.hpp"

namespace mliuq::simd::MLIUQ_SIMD_ISA {

/// One operation: the products are formed once and feed `Levels` levels. The lowest `Free` of them are sums without
/// coefficients: running sums of the products with alternating signs, running sums of those and so on. Columns 0: their
/// number is known at run time.
template <int Levels, int Columns, int Free, class Real>
MLIUQ_INLINE void double_sum(const CouplingOp& op, const Real* cg, const Vector<Real>* images, Vector<Real>* re,
                             Vector<Real>* im) {
  using V = Vector<Real>;
  constexpr int multiplied = Levels - Free, lowest = Levels - 1;
  const V* row1 = images + 2 * std::size_t(op.u1);
  const V* row2 = images + 2 * std::size_t(op.u2);
  const std::size_t stride1 = 2 * std::size_t(op.stride1), stride2 = 2 * std::size_t(op.stride2);
  const Real* row_cg = cg + op.outer_cg;
  const Real* header = cg + op.inner_cg;
  const int n_columns = Columns > 0 ? Columns : op.n_columns;
  MLIUQ_UNROLL
  for (int t = 0; t < Levels; ++t) re[t] = im[t] = V{};
  int k = op.n_rows;
  do {
    V sum_re[Levels], sum_im[Levels];
    MLIUQ_UNROLL
    for (int t = 0; t < Levels; ++t) sum_re[t] = sum_im[t] = V{};
    const V *u1 = row1, *u2 = row2;
    const Real* column_cg = header + kSumHeader;
    _Pragma("GCC unroll 9") for (int a = 0; a < n_columns; ++a) {
      const V a_re = in_register(u1[0]), a_im = in_register(u1[1]);
      const V b_re = in_register(u2[0]), b_im = in_register(u2[1]);
      if constexpr (Levels == 1 && Free == 1) {
        // Alone it needs no product of its own: four instructions, not six, where sums have no units to themselves.
        sum_re[0] = (a_re * b_re - sum_re[0]) - a_im * b_im;
        sum_im[0] = (a_re * b_im - sum_im[0]) + a_im * b_re;
      } else {
        const V product_re = a_re * b_re - a_im * b_im;
        const V product_im = a_re * b_im + a_im * b_re;
        MLIUQ_UNROLL
        for (int t = 0; t < multiplied; ++t) {
          sum_re[t] += column_cg[t] * product_re;
          sum_im[t] += column_cg[t] * product_im;
        }
        V running_re = product_re, running_im = product_im;
        MLIUQ_UNROLL
        for (int d = 0; d < Free; ++d) {
          running_re = sum_re[lowest - d] = running_re - sum_re[lowest - d];
          running_im = sum_im[lowest - d] = running_im - sum_im[lowest - d];
        }
      }
      u1 += 2;
      u2 -= 2;
      column_cg += multiplied;
    }
    MLIUQ_UNROLL
    for (int d = Free - 1; d > 0; --d) {
      MLIUQ_UNROLL
      for (int e = 0; e < d; ++e) {
        sum_re[lowest - d] += header[running_share(d, e)] * sum_re[lowest - e];
        sum_im[lowest - d] += header[running_share(d, e)] * sum_im[lowest - e];
      }
    }
    MLIUQ_UNROLL
    for (int t = 0; t < Levels; ++t) {
      re[t] += row_cg[t] * sum_re[t];
      im[t] += row_cg[t] * sum_im[t];
    }
    row1 += stride1;
    row2 -= stride2;
    row_cg += op.outer_cg_stride;
  } while (--k > 0);
  MLIUQ_UNROLL
  for (int t = 0; t < Levels; ++t) {
    const Real* scale = header + 2 * (t < multiplied ? 0 : lowest - t);
    re[t] *= scale[op.negate_re];
    im[t] *= scale[op.negate_im];
  }
}

template <int Levels, class Real>
MLIUQ_INLINE void add_to_Y(const CouplingOp& op, const Real* weights, const Vector<Real>* re, const Vector<Real>* im,
                           Vector<Real>* Y) {
  MLIUQ_UNROLL
  for (int t = 0; t < Levels; ++t) {
    const Real weight = weights[op.product + t];
    Vector<Real>* y = Y + 2 * std::size_t(op.target[t]);
    y[0] += weight * re[t];
    y[1] += weight * im[t];
  }
}

/// The last levels of an operation are those that make a B.
template <int Levels, class Real>
MLIUQ_INLINE void add_to_B(const CouplingOp& op, const int* components, const Vector<Real>* U, const Vector<Real>* re,
                           const Vector<Real>* im, Vector<Real>* B) {
  MLIUQ_UNROLL
  for (int t = Levels - 1; t >= 0; --t) {
    if (t < Levels - op.n_descriptors) break;
    const Vector<Real>* u = U + 2 * std::size_t(op.target[t]);
    Vector<Real>& b = B[components[op.product + t]];
    b = (b + u[0] * re[t]) + u[1] * im[t];
  }
}

/// Products of one channel's density with itself, or stored ones. One set of loops serves the three uses: the choice is
/// made once per operation, which costs nothing beside its sums, where a set for each would triple the object.
template <class Real>
struct OneChannel {
  enum Use {
    kFold,             ///< Y += weight · Z: a linear model
    kFoldAndDescribe,  ///< and B += Re conj(U) Z where the product belongs to a component
    kStore
  } use;
  const Real* weights;      ///< [n_products]
  const int* components;    ///< [n_products]
  const int* store_offset;  ///< [n_products]
  Vector<Real>* Y;
  const Vector<Real>* U;  ///< half plane with its shares
  Vector<Real>* B;
  Vector<Real>* Z;

  template <int Levels>
  MLIUQ_INLINE void put(const CouplingOp& op, const Vector<Real>* re, const Vector<Real>* im) const {
    if (use == kStore) {
      MLIUQ_UNROLL
      for (int t = 0; t < Levels; ++t) {
        Vector<Real>* z = Z + 2 * (store_offset[op.product + t] + op.target[t]);
        z[0] = re[t];
        z[1] = im[t];
      }
      return;
    }
    add_to_Y<Levels, Real>(op, weights, re, im, Y);
    if (use == kFoldAndDescribe) add_to_B<Levels, Real>(op, components, U, re, im, B);
  }
};

/// Every product serves the Y and the B of every channel.
template <class Real>
struct AllChannels {
  int n_channels, n_products;
  int channel_stride;     ///< of Y and U
  const Real* weights;    ///< [n_channels][n_products]
  const int* components;  ///< [n_channels][n_products]
  Vector<Real>* Y;
  const Vector<Real>* U;
  Vector<Real>* B;

  template <int Levels>
  MLIUQ_INLINE void put(const CouplingOp& op, const Vector<Real>* re, const Vector<Real>* im) const {
    for (int c = 0; c < n_channels; ++c) {
      add_to_Y<Levels, Real>(op, weights + c * n_products, re, im, Y + c * channel_stride);
      add_to_B<Levels, Real>(op, components + c * n_products, U + c * channel_stride, re, im, B);
    }
  }
};

template <int Levels, int Columns, int Free, class Real, class Destination>
[[gnu::noinline]] void run_group(const CouplingOp* first, const CouplingOp* last, const Real* cg,
                                 const Vector<Real>* images, const Destination& destination) {
  const Destination local = destination;
  for (const CouplingOp* op = first; op != last; ++op) {
    Vector<Real> re[Levels], im[Levels];
    double_sum<Levels, Columns, Free, Real>(*op, cg, images, re, im);
    local.template put<Levels>(*op, re, im);
  }
}

/// A sum over n columns serves at most n levels: shapes with fewer columns than levels do not occur and get no loop of
/// their own.
template <int Levels, int Columns>
inline constexpr int unrolled_columns = Columns<Levels || Columns> kMaxUnrolledColumns ? 0 : Columns;

template <int Levels, class Real, class Destination>
void run_shape(const CouplingGroup& group, const CouplingOp* ops, const Real* cg, const Vector<Real>* images,
               const Destination& destination) {
  constexpr int free = Levels < kFreeLevels ? Levels : kFreeLevels;
  const CouplingOp *first = ops + group.first, *last = ops + group.last;
  if (group.n_free == 0) return run_group<Levels, 0, 0>(first, last, cg, images, destination);
  static_assert(kMaxUnrolledColumns <= 9, "one case per length");
  switch (group.n_columns) {
    case 1:
      return run_group<Levels, unrolled_columns<Levels, 1>, free>(first, last, cg, images, destination);
    case 2:
      return run_group<Levels, unrolled_columns<Levels, 2>, free>(first, last, cg, images, destination);
    case 3:
      return run_group<Levels, unrolled_columns<Levels, 3>, free>(first, last, cg, images, destination);
    case 4:
      return run_group<Levels, unrolled_columns<Levels, 4>, free>(first, last, cg, images, destination);
    case 5:
      return run_group<Levels, unrolled_columns<Levels, 5>, free>(first, last, cg, images, destination);
    case 6:
      return run_group<Levels, unrolled_columns<Levels, 6>, free>(first, last, cg, images, destination);
    case 7:
      return run_group<Levels, unrolled_columns<Levels, 7>, free>(first, last, cg, images, destination);
    case 8:
      return run_group<Levels, unrolled_columns<Levels, 8>, free>(first, last, cg, images, destination);
    case 9:
      return run_group<Levels, unrolled_columns<Levels, 9>, free>(first, last, cg, images, destination);
    default:
      return run_group<Levels, 0, free>(first, last, cg, images, destination);
  }
}

template <class Real, class Destination>
void run_operations(const Plan<Real>& plan, const Block<Real>& block, const Destination& destination) {
  const Vector<Real>* images = vectors(block.images);
  static_assert(kMaxCoupledLevels == 8, "one case per number of levels");
  for (const CouplingGroup* group = plan.groups; group != plan.groups + plan.n_groups; ++group) {
    switch (group->n_levels) {
      case 1:
        run_shape<1>(*group, plan.ops, plan.cg, images, destination);
        break;
      case 2:
        run_shape<2>(*group, plan.ops, plan.cg, images, destination);
        break;
      case 3:
        run_shape<3>(*group, plan.ops, plan.cg, images, destination);
        break;
      case 4:
        run_shape<4>(*group, plan.ops, plan.cg, images, destination);
        break;
      case 5:
        run_shape<5>(*group, plan.ops, plan.cg, images, destination);
        break;
      case 6:
        run_shape<6>(*group, plan.ops, plan.cg, images, destination);
        break;
      case 7:
        run_shape<7>(*group, plan.ops, plan.cg, images, destination);
        break;
      case 8:
        run_shape<8>(*group, plan.ops, plan.cg, images, destination);
        break;
    }
  }
}

template <class Real>
void run_one_channel(const Plan<Real>& plan, const Block<Real>& block, typename OneChannel<Real>::Use use) {
  run_operations(plan, block,
                 OneChannel<Real>{.use = use,
                                  .weights = plan.product_weight + static_cast<long>(block.species) * plan.n_products,
                                  .components = plan.component_of,
                                  .store_offset = plan.store_offset,
                                  .Y = vectors(block.Y),
                                  .U = vectors(block.U_half),
                                  .B = vectors(block.B),
                                  .Z = vectors(block.Z)});
}

template <class Real>
void run_all_channels(const Plan<Real>& plan, const Block<Real>& block) {
  const long n_weights = static_cast<long>(plan.n_products) * plan.n_channels;
  run_operations(plan, block,
                 AllChannels<Real>{.n_channels = plan.n_channels,
                                   .n_products = plan.n_products,
                                   .channel_stride = 2 * plan.n_half,
                                   .weights = plan.product_weight + block.species * n_weights,
                                   .components = plan.component_of,
                                   .Y = vectors(block.Y),
                                   .U = vectors(block.U_half),
                                   .B = vectors(block.B)});
}

template <class Real>
MLIUQ_INLINE void clear_Y(const Plan<Real>& plan, const Block<Real>& block) {
  set_zero<Real>(vectors(block.Y), 2 * plan.n_half * plan.n_channels);
}

/// B = scale · sum − B of an isolated atom.
template <class Real>
void finish_descriptors(const Plan<Real>& plan, const Block<Real>& block) {
  Vector<Real>* B = vectors(block.B);
  for (const DescriptorDot* dot = plan.dots; dot != plan.dots + plan.n_dots; ++dot)
    if (dot->twin >= 0) B[dot->twin] = B[dot->component];
  const double* shift = plan.shift + static_cast<long>(block.species) * plan.n_components;
  for (int k = 0; k < plan.n_components; ++k) B[k] = plan.descriptor_scale[k] * B[k] - static_cast<Real>(shift[k]);
}

/// One channel.
template <class Real>
void couple(const Plan<Real>& plan, const Block<Real>& block) {
  clear_Y(plan, block);
  run_one_channel(plan, block, OneChannel<Real>::kFold);
}

template <class Real>
void couple_and_describe(const Plan<Real>& plan, const Block<Real>& block) {
  clear_Y(plan, block);
  set_zero<Real>(vectors(block.B), plan.n_components);
  if (plan.n_channels == 1)
    run_one_channel(plan, block, OneChannel<Real>::kFoldAndDescribe);
  else
    run_all_channels(plan, block);
  finish_descriptors(plan, block);
}

template <class Real>
void store(const Plan<Real>& plan, const Block<Real>& block) {
  run_one_channel(plan, block, OneChannel<Real>::kStore);
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
