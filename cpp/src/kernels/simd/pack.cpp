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

template <class Real>
void fill_constants(SimdWorkspace<Real>& w, int slot, int lane, const PairConstants& pair) {
  const int L = w.lanes;
  Real* field = w.block.packed + static_cast<std::size_t>(slot) * kPackedFields * L + lane;
  field[kThetaScale * L] = static_cast<Real>(pair.theta_scale);
  field[kSwitchScale * L] = static_cast<Real>(pair.switch_scale);
  field[kInnerCentre * L] = static_cast<Real>(pair.inner_centre);
  field[kInnerScale * L] = static_cast<Real>(pair.inner_scale);
}

template <class Real>
void fill_slot(SimdWorkspace<Real>& w, int slot, int lane, double dx, double dy, double dz, int atom, double weight) {
  const int L = w.lanes;
  Real* field = w.block.packed + static_cast<std::size_t>(slot) * kPackedFields * L + lane;
  field[kDx * L] = static_cast<Real>(dx);
  field[kDy * L] = static_cast<Real>(dy);
  field[kDz * L] = static_cast<Real>(dz);
  field[kWeight * L] = static_cast<Real>(weight);
  w.slot_atom[static_cast<std::size_t>(slot) * L + lane] = atom;
}

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
      for (int lane = 0; lane < w.lanes; ++lane) fill_constants(w, slot, lane, pairs.of(0, 0));

  for (int lane = 0; lane < w.lanes; ++lane) {
    int* cursor = w.cursor.data() + lane * n_channels;
    std::copy_n(w.first_slot.begin(), n_channels, cursor);
    const FoundNeighbour* list = w.found.data() + lane * longest;
    const double* ri = atoms.positions + 3 * static_cast<std::size_t>(centres[std::min(lane, n_centres - 1)]);
    const double x = ri[0], y = ri[1], z = ri[2];
    for (int n = 0; n < w.n_found[lane]; ++n) {
      const auto [atom, species] = list[n];
      const PairConstants& pair = pairs.of(w.block.species, species);
      const int slot = cursor[pairs.channel(species)]++;
      const double* rj = atoms.positions + 3 * static_cast<std::size_t>(atom);
      fill_slot(w, slot, lane, rj[0] - x, rj[1] - y, rj[2] - z, atom, pair.weight);
      if (!uniform) fill_constants(w, slot, lane, pair);
    }
    for (int channel = 0; channel < n_channels; ++channel)
      for (int slot = cursor[channel]; slot < w.first_slot[channel + 1]; ++slot) {
        fill_slot(w, slot, lane, 0.0, 0.0, 1.0, -1, 0.0);
        if (!uniform) fill_constants(w, slot, lane, {});
      }
  }
}

template void pack(const PairTable&, const Neighbourhood&, const int*, int, SimdWorkspace<double>&);
template void pack(const PairTable&, const Neighbourhood&, const int*, int, SimdWorkspace<float>&);

}  // namespace mliuq::simd
