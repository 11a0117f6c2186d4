#pragma once

// Scratch of one thread. At 2J = 8 with 26 neighbours, eight lanes of double: U 20 KB, its images 146 KB, Y 20 KB,
// ladder 80 KB (of which polynomials use 18), moments 36 KB, powers 32 KB, slots 85 KB, lists 4 KB; and where products
// are stored (quadratic models, derivatives) Z 298 KB, with derivatives another 1 MB. Sixteen lanes of float take the
// same. Aligned vectors only: nothing is allocated by hand.

#include <cstddef>
#include <vector>

#include "kernels/simd/stages.hpp"
#include "mliuq/aligned.hpp"
#include "mliuq/kernel.hpp"
#include "neighbour_packing.hpp"

namespace mliuq::simd {

template <class Real>
class SimdWorkspace final : public Workspace {
 public:
  SimdWorkspace(const Plan<Real>& plan, int lanes);

  /// Room for so many slots. True where the arrays moved: old contents are lost then.
  bool reserve_slots(int n_slots);
  int slot_capacity() const { return slot_capacity_; }
  /// Room for Z and, with_derivatives, what the derive stage needs.
  void reserve_products(bool with_derivatives);

  std::size_t bytes() const;

  int lanes;
  Block<Real> block{};
  std::vector<FoundNeighbour> found;  ///< [lane][longest list]
  std::vector<int> n_found;           ///< [lane]
  std::vector<int> first_slot;        ///< [n_channels + 1]
  std::vector<int> cursor;            ///< [lane][n_channels]
  std::vector<int> slot_atom;         ///< [slot][lane], −1 for padding
  std::vector<int> order;             ///< [lane], place of its centre in the span of centres
  std::vector<int> lane_atoms;        ///< [lane]
  std::vector<int> pair_cursor;       ///< [lane], where its next pair is written
  std::vector<double*> lane_target;   ///< [lane], where its numbers are unpacked

 private:
  const Plan<Real>& plan_;
  int slot_capacity_ = 0;
  AlignedVector<Real> slots_, fixed_, products_, derivatives_;
  AlignedVector<double> energies_;
};

extern template class SimdWorkspace<double>;
extern template class SimdWorkspace<float>;

}  // namespace mliuq::simd
