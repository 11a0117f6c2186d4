#include "kernels/simd/pack.hpp"

#include <algorithm>
#include <numbers>

namespace mliuq::simd {

PairTable::PairTable(const SnapParams& params)
    : n_elements_(params.n_elements()), chem_(params.chemflag), squared_cutoffs_(mliuq::squared_cutoffs(params)) {
  constexpr double pi = std::numbers::pi;
  for (int a = 0; a < n_elements_; ++a)
    for (int b = 0; b < n_elements_; ++b) {
      const double rate = pi / (params.cutoff(a, b) - params.rmin0);
      PairConstants pair{};
      pair.theta_scale = params.rfac0 * rate;
      pair.switch_scale = params.switchflag ? rate : 0.0;
      pair.weight = params.weights[b];
      if (params.switchinnerflag) {
        pair.inner_centre = 0.5 * (params.sinner[a] + params.sinner[b]);
        pair.inner_scale = pi / (params.dinner[a] + params.dinner[b]);
      }
      pairs_.push_back(pair);
    }
}

namespace {

/// Neighbours of every lane, and in `cursor` how many fall to each channel.
template <class Real>
void collect(const PairTable& pairs, const Neighbourhood& atoms, const int* centres, int n_centres, std::size_t stride,
             SimdWorkspace<Real>& w) {
  const int n_channels = static_cast<int>(w.first_slot.size()) - 1;
  const double* cutoffs = pairs.squared_cutoffs(w.block.species);
  std::fill(w.cursor.begin(), w.cursor.end(), 0);
  std::fill(w.n_found.begin(), w.n_found.end(), 0);
  for (int lane = 0; lane < n_centres; ++lane) {
    FoundNeighbour* list = w.found.data() + lane * stride;
    int* counts = w.cursor.data() + lane * n_channels;
    w.n_found[lane] = collect_neighbours(atoms, centres[lane], cutoffs, list);
    if (n_channels == 1)
      counts[0] = w.n_found[lane];
    else
      for (int n = 0; n < w.n_found[lane]; ++n) ++counts[pairs.channel(list[n].species)];
  }
}

/// One lane of a slot, and of those after it.
template <class Real>
class LaneOfSlot {
 public:
  LaneOfSlot(SimdWorkspace<Real>& w, int slot, int lane)
      : lanes_(w.lanes),
        field_(w.block.packed + static_cast<std::size_t>(slot) * kPackedFields * lanes_ + lane),
        atom_(w.slot_atom.data() + static_cast<std::size_t>(slot) * lanes_ + lane) {}

  void fill(double dx, double dy, double dz, int atom, double weight) const {
    field_[kDx * lanes_] = static_cast<Real>(dx);
    field_[kDy * lanes_] = static_cast<Real>(dy);
    field_[kDz * lanes_] = static_cast<Real>(dz);
    field_[kWeight * lanes_] = static_cast<Real>(weight);
    *atom_ = atom;
  }
  void leave_empty() const { fill(0.0, 0.0, 1.0, -1, 0.0); }
  void fill_constants(const PairConstants& pair) const {
    field_[kThetaScale * lanes_] = static_cast<Real>(pair.theta_scale);
    field_[kSwitchScale * lanes_] = static_cast<Real>(pair.switch_scale);
    field_[kInnerCentre * lanes_] = static_cast<Real>(pair.inner_centre);
    field_[kInnerScale * lanes_] = static_cast<Real>(pair.inner_scale);
  }
  LaneOfSlot& operator++() {
    field_ += kPackedFields * lanes_;
    atom_ += lanes_;
    return *this;
  }

 private:
  std::ptrdiff_t lanes_;
  Real* field_;
  int* atom_;
};

}  // namespace

template <class Real>
void pack(const PairTable& pairs, const Neighbourhood& atoms, const int* centres, int n_centres,
          SimdWorkspace<Real>& w) {
  const int n_channels = static_cast<int>(w.first_slot.size()) - 1;
  std::size_t longest = 0;
  for (int lane = 0; lane < n_centres; ++lane)
    longest = std::max<std::size_t>(longest, atoms.n_neighbours[centres[lane]]);
  if (w.found.size() < longest * w.lanes) w.found.resize(longest * w.lanes);
  w.block.species = atoms.species(centres[0]);
  collect(pairs, atoms, centres, n_centres, longest, w);

  int n_slots = 0;
  for (int channel = 0; channel < n_channels; ++channel) {
    w.first_slot[channel] = n_slots;
    int most = 0;
    for (int lane = 0; lane < w.lanes; ++lane) most = std::max(most, w.cursor[lane * n_channels + channel]);
    n_slots += most;
  }
  w.first_slot[n_channels] = n_slots;
  const bool fresh = w.reserve_slots(n_slots);
  w.block.n_slots = n_slots;
  // With one element all slots carry the same constants, padding included: they are written once and stay.
  const bool uniform = pairs.n_elements() == 1;
  if (uniform && fresh)
    for (int slot = 0; slot < w.slot_capacity(); ++slot)
      for (int lane = 0; lane < w.lanes; ++lane) LaneOfSlot(w, slot, lane).fill_constants(pairs.of(0, 0));

  for (int lane = 0; lane < w.lanes; ++lane) {
    const FoundNeighbour* list = w.found.data() + lane * longest;
    const double* ri = atoms.positions + 3 * static_cast<std::size_t>(centres[std::min(lane, n_centres - 1)]);
    const double x = ri[0], y = ri[1], z = ri[2];
    const auto fill = [&](const LaneOfSlot<Real>& slot, int atom, double weight) {
      const double* rj = atoms.positions + 3 * static_cast<std::size_t>(atom);
      slot.fill(rj[0] - x, rj[1] - y, rj[2] - z, atom, weight);
    };
    if (uniform) {  // slot after slot
      LaneOfSlot slot(w, 0, lane);
      for (int n = 0; n < w.n_found[lane]; ++n, ++slot) fill(slot, list[n].atom, pairs.of(0, 0).weight);
      for (int n = w.n_found[lane]; n < n_slots; ++n, ++slot) slot.leave_empty();
      continue;
    }
    int* cursor = w.cursor.data() + lane * n_channels;
    std::copy_n(w.first_slot.begin(), n_channels, cursor);
    for (int n = 0; n < w.n_found[lane]; ++n) {
      const auto [atom, species] = list[n];
      const PairConstants& pair = pairs.of(w.block.species, species);
      const LaneOfSlot slot(w, cursor[pairs.channel(species)]++, lane);
      fill(slot, atom, pair.weight);
      slot.fill_constants(pair);
    }
    for (int channel = 0; channel < n_channels; ++channel)
      for (int s = cursor[channel]; s < w.first_slot[channel + 1]; ++s) {
        const LaneOfSlot slot(w, s, lane);
        slot.leave_empty();
        slot.fill_constants({});
      }
  }
}

template void pack(const PairTable&, const Neighbourhood&, const int*, int, SimdWorkspace<double>&);
template void pack(const PairTable&, const Neighbourhood&, const int*, int, SimdWorkspace<float>&);

}  // namespace mliuq::simd
