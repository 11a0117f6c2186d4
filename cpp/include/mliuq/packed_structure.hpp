#pragma once

#include <span>
#include <vector>

#include "mliuq/neighbourhood.hpp"
#include "mliuq/periodic_pairs.hpp"

namespace mliuq {

/// A structure as Python hands it over: owned atoms first, then the periodic images within reach, and the full
/// neighbour lists of the owned atoms in compressed rows (atom i: indices[offsets[i]] … indices[offsets[i + 1]]).
/// Owns its arrays; the view stays valid as long as the object.
class PackedStructure {
 public:
  /// positions [n_atoms][3] Å; species [n_atoms], −1: not of the model; owners [n_atoms], owners[i] = i for i <
  /// n_owned; offsets [n_owned + 1]; volume Å³ (0: none). Throws Error when arrays disagree or an index is out of
  /// range.
  PackedStructure(std::vector<double> positions, std::vector<int> species, std::vector<int> owners,
                  std::vector<int> offsets, std::vector<int> indices, int n_elements, double volume);
  PackedStructure(UnfoldedPairs pairs, int n_elements, double volume);
  PackedStructure(const PackedStructure&) = delete;
  PackedStructure& operator=(const PackedStructure&) = delete;

  const Neighbourhood& neighbourhood() const { return view_; }
  std::span<const int> centres() const { return centres_; }
  std::span<const int> owners() const { return owners_; }
  int n_owned() const { return static_cast<int>(centres_.size()); }
  int n_atoms() const { return static_cast<int>(species_.size()); }
  double volume() const { return volume_; }

  /// Moves all atoms, images included: positions [n_atoms][3], Å.
  void set_positions(std::span<const double> positions);

  /// Moves owned atoms to positions [n_owned][3], Å, and the images of unfolded pairs with them.
  void move_owned(std::span<const double> positions);

  /// Adds what belongs to images to their owners, values [n_atoms][width]; only the first n_owned rows are meaningful
  /// then.
  void fold(std::span<double> values, int width) const;

 private:
  std::vector<double> positions_;
  std::vector<int> species_, owners_, offsets_, indices_;
  std::vector<int> centres_, identity_, counts_;
  std::vector<const int*> rows_;
  std::vector<double> image_shifts_;  ///< [n_atoms − n_owned][3] of unfolded pairs, Å
  double volume_;
  Neighbourhood view_;
};

}  // namespace mliuq
