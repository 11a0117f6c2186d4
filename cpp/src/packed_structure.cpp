#include "mliuq/packed_structure.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "mliuq/error.hpp"

namespace mliuq {
namespace {

void require_range(const char* what, const std::vector<int>& values, int low, int high) {
  for (int value : values)
    if (value < low || value >= high)
      throw Error("packed structure: " + std::string(what) + " " + std::to_string(value) + ", expected " +
                  std::to_string(low) + " to " + std::to_string(high - 1));
}

}  // namespace

PackedStructure::PackedStructure(std::vector<double> positions, std::vector<int> species, std::vector<int> owners,
                                 std::vector<int> offsets, std::vector<int> indices, int n_elements, double volume)
    : positions_(std::move(positions)),
      species_(std::move(species)),
      owners_(std::move(owners)),
      offsets_(std::move(offsets)),
      indices_(std::move(indices)),
      volume_(volume) {
  const int n_atoms = static_cast<int>(species_.size());
  if (positions_.size() != 3 * species_.size() || owners_.size() != species_.size())
    throw Error("packed structure: " + std::to_string(positions_.size()) + " coordinates and " +
                std::to_string(owners_.size()) + " owners for " + std::to_string(n_atoms) + " atoms");
  if (offsets_.empty() || offsets_.front() != 0 || offsets_.back() != static_cast<int>(indices_.size()) ||
      !std::is_sorted(offsets_.begin(), offsets_.end()))
    throw Error("packed structure: offsets must rise from 0 to the number of neighbours");
  const int n_owned = static_cast<int>(offsets_.size()) - 1;
  if (n_owned > n_atoms)
    throw Error("packed structure: " + std::to_string(n_owned) + " owned atoms among " + std::to_string(n_atoms));
  require_range("species", species_, -1, n_elements);
  require_range("neighbour", indices_, 0, n_atoms);
  require_range("owner", owners_, 0, std::max(n_owned, 1));

  centres_.resize(n_owned);
  std::iota(centres_.begin(), centres_.end(), 0);
  identity_.resize(n_elements + 1);  // entry −1 is −1: a species passes through the table of types unchanged
  std::iota(identity_.begin(), identity_.end(), -1);
  for (int i = 0; i < n_owned; ++i) {
    counts_.push_back(offsets_[i + 1] - offsets_[i]);
    rows_.push_back(indices_.data() + offsets_[i]);
  }
  view_.positions = positions_.data();
  view_.types = species_.data();
  view_.species_of_type = identity_.data() + 1;
  view_.n_atoms = n_atoms;
  view_.n_neighbours = counts_.data();
  view_.neighbours = rows_.data();
}

PackedStructure::PackedStructure(UnfoldedPairs pairs, int n_elements, double volume)
    : PackedStructure(std::move(pairs.positions), std::move(pairs.species), std::move(pairs.owners),
                      std::move(pairs.offsets), std::move(pairs.indices), n_elements, volume) {
  image_shifts_ = std::move(pairs.image_shifts);
}

void PackedStructure::set_positions(std::span<const double> positions) {
  if (positions.size() != positions_.size())
    throw Error("packed structure: " + std::to_string(positions.size()) + " coordinates, expected " +
                std::to_string(positions_.size()));
  std::copy(positions.begin(), positions.end(), positions_.begin());
}

void PackedStructure::move_owned(std::span<const double> positions) {
  const std::size_t owned = 3 * centres_.size();
  if (positions.size() != owned || owned + image_shifts_.size() != positions_.size())
    throw Error("packed structure: " + std::to_string(positions.size()) + " coordinates and " +
                std::to_string(image_shifts_.size()) + " shifts of images, expected " + std::to_string(owned) +
                " and " + std::to_string(positions_.size() - owned));
  std::copy(positions.begin(), positions.end(), positions_.begin());
  for (std::size_t x = 0; x < image_shifts_.size(); ++x)
    positions_[owned + x] =
        positions[3 * static_cast<std::size_t>(owners_[centres_.size() + x / 3]) + x % 3] + image_shifts_[x];
}

void PackedStructure::fold(std::span<double> values, int width) const {
  for (int image = n_owned(); image < n_atoms(); ++image)
    for (int c = 0; c < width; ++c)
      values[static_cast<std::size_t>(owners_[image]) * width + c] +=
          values[static_cast<std::size_t>(image) * width + c];
}

}  // namespace mliuq
