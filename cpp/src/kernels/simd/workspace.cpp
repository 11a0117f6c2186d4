#include "kernels/simd/workspace.hpp"

namespace mliuq::simd {
namespace {

/// Hands out consecutive pieces of one array; null while only the total is wanted.
template <class Real>
class Pieces {
 public:
  Pieces(Real* base, int lanes) : base_(base), lanes_(lanes) {}
  Real* take(std::size_t n) {
    Real* piece = base_ ? base_ + used_ : nullptr;
    used_ += n * lanes_;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  Real* base_;
  int lanes_;
  std::size_t used_ = 0;
};

/// Sizes an array by a first call of `carve`, then carves it.
template <class Real, class Carve>
void allocate(AlignedVector<Real>& array, int lanes, Carve&& carve) {
  Pieces<Real> measure(nullptr, lanes);
  carve(measure);
  array.assign(measure.used(), Real(0));
  Pieces<Real> pieces(array.data(), lanes);
  carve(pieces);
}

}  // namespace

template <class Real>
SimdWorkspace<Real>::SimdWorkspace(const Plan<Real>& plan, int lanes_of_kernel)
    : lanes(lanes_of_kernel),
      n_found(lanes),
      first_slot(plan.n_channels + 1),
      cursor(static_cast<std::size_t>(lanes) * plan.n_channels),
      plan_(plan),
      energies_(lanes) {
  const std::size_t channels = plan.n_channels;
  allocate(fixed_, lanes, [&](Pieces<Real>& pieces) {
    block.U_half = pieces.take(2 * channels * plan.n_half);
    block.images = pieces.take(2 * channels * kImages * plan.n_full);
    block.Y = pieces.take(2 * channels * plan.n_half);
    block.ladder = pieces.take(8 * channels * plan.n_half);
    block.moments = pieces.take(2 * static_cast<std::size_t>(n_moments(plan.twojmax) + n_moments(plan.twojmax - 1)));
    block.powers = pieces.take(2 * static_cast<std::size_t>(padded_column(plan.twojmax + 1)) * kMaxPolynomialSlots);
    block.B = pieces.take(plan.n_components);
    block.virial = pieces.take(6);
    block.beta = pieces.take(plan.n_components);
  });
  block.energies = energies_.data();
  block.first_slot = first_slot.data();
}

template <class Real>
bool SimdWorkspace<Real>::reserve_slots(int n_slots) {
  if (n_slots <= slot_capacity_) return false;
  slot_capacity_ = n_slots + n_slots / 4;
  const std::size_t n = slot_capacity_;
  slot_atom.resize(n * lanes);
  allocate(slots_, lanes, [&](Pieces<Real>& pieces) {
    block.packed = pieces.take(n * kPackedFields);
    block.geometry = pieces.take(n * kGeometryFields);
    block.rows = pieces.take(n * 2 * (plan_.twojmax + 1));
    block.sums = pieces.take(n * 4);
    block.forces = pieces.take(n * 3);
  });
  return true;
}

template <class Real>
void SimdWorkspace<Real>::reserve_products(bool with_derivatives) {
  if (!block.Z)
    allocate(products_, lanes,
             [&](Pieces<Real>& pieces) { block.Z = pieces.take(2 * static_cast<std::size_t>(plan_.n_stored)); });
  if (with_derivatives && !block.lowered)
    allocate(derivatives_, lanes, [&](Pieces<Real>& pieces) {
      const std::size_t slots = kDeriveSlots;
      block.lowered = pieces.take(8 * static_cast<std::size_t>(plan_.n_lowered));
      block.coefficients = pieces.take(plan_.twojmax > 0 ? 8 * half_used(plan_.twojmax - 1) / lanes + 1 : 0);
      block.v = pieces.take(slots * 2 * half_level(plan_.twojmax));
      block.dB = pieces.take(slots * 3 * padded_row(plan_.n_components));
      block.total = pieces.take(3 * padded_row(plan_.n_components));
      block.strain = pieces.take(6 * static_cast<std::size_t>(plan_.n_components));
    });
}

template <class Real>
std::size_t SimdWorkspace<Real>::bytes() const {
  return sizeof(Real) * (slots_.size() + fixed_.size() + products_.size() + derivatives_.size()) +
         sizeof(FoundNeighbour) * found.size() + sizeof(int) * slot_atom.size();
}

template class SimdWorkspace<double>;
template class SimdWorkspace<float>;

}  // namespace mliuq::simd
