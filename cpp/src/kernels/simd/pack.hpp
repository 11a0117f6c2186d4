#pragma once

// Neighbour lists → slots: the n-th neighbour of every lane side by side, grouped by channel, padded with neighbours of
// weight zero.

#include <vector>

#include "kernels/simd/workspace.hpp"
#include "mliuq/neighbourhood.hpp"

namespace mliuq::simd {

/// What a pair of elements decides; lanes carry it, so that any mixture of neighbours shares a slot.
struct PairConstants {
  double theta_scale, switch_scale, weight, inner_centre, inner_scale;
};

class PairTable {
 public:
  explicit PairTable(const SnapParams& params);
  const PairConstants& of(int centre, int neighbour) const { return pairs_[centre * n_elements_ + neighbour]; }
  const double* squared_cutoffs(int centre) const { return squared_cutoffs_.data() + centre * n_elements_; }
  int n_elements() const { return n_elements_; }
  int channel(int species) const { return chem_ ? species : 0; }

 private:
  int n_elements_;
  bool chem_;
  std::vector<PairConstants> pairs_;
  std::vector<double> squared_cutoffs_;
};

/// Fills the slots of one block. centres: at most one per lane, all of one element.
template <class Real>
void pack(const PairTable& pairs, const Neighbourhood& atoms, const int* centres, int n_centres,
          SimdWorkspace<Real>& w);

extern template void pack(const PairTable&, const Neighbourhood&, const int*, int, SimdWorkspace<double>&);
extern template void pack(const PairTable&, const Neighbourhood&, const int*, int, SimdWorkspace<float>&);

}  // namespace mliuq::simd
