#include "mliuq/force_rows.hpp"

#include <algorithm>

namespace mliuq {

int atoms_per_tile(int n_elements, int n_weights, int n_threads) {
  const std::size_t bytes_of_atom = 3 * sizeof(double) * static_cast<std::size_t>(n_elements) * n_weights;
  return static_cast<int>(std::clamp<std::size_t>(kTileBytes * n_threads / bytes_of_atom, 1, 1 << 30));
}

std::vector<std::vector<int>> tiles_of_atoms(const Neighbourhood& atoms, std::span<const int> wanted, int largest) {
  std::vector<std::vector<int>> tiles, waiting;
  if (!wanted.empty()) waiting.emplace_back(wanted.begin(), wanted.end());
  while (!waiting.empty()) {
    std::vector<int> group = std::move(waiting.back());
    waiting.pop_back();
    if (group.size() <= static_cast<std::size_t>(std::max(largest, 1))) {
      std::sort(group.begin(), group.end());
      tiles.push_back(std::move(group));
      continue;
    }
    const auto along = [&](int axis) {
      return [&, axis](int i) { return atoms.positions[3 * std::size_t(i) + axis]; };
    };
    int longest = 0;
    double most = -1.0;
    for (int axis = 0; axis < 3; ++axis) {
      const auto position = along(axis);
      const auto less = [&](int a, int b) { return position(a) < position(b); };
      const auto [first, last] = std::minmax_element(group.begin(), group.end(), less);
      if (position(*last) - position(*first) > most) {
        most = position(*last) - position(*first);
        longest = axis;
      }
    }
    const auto position = along(longest);
    const auto middle = group.begin() + static_cast<std::ptrdiff_t>(group.size() / 2);
    // Equal positions go by index: the groups depend on nothing else.
    std::nth_element(group.begin(), middle, group.end(),
                     [&](int a, int b) { return position(a) != position(b) ? position(a) < position(b) : a < b; });
    waiting.emplace_back(middle, group.end());
    group.erase(middle, group.end());
    waiting.push_back(std::move(group));
  }
  return tiles;
}

}  // namespace mliuq
