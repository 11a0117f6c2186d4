#include "mliuq/periodic_pairs.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include "mliuq/error.hpp"

namespace mliuq {
namespace {

/// A shift as one number: three counts of cells, each from −kReach to kReach.
constexpr std::int64_t kReach = (std::int64_t{1} << 20) - 1;

constexpr std::int64_t number_of(const std::int64_t* s) {
  return ((s[0] + kReach) << 42) | ((s[1] + kReach) << 21) | (s[2] + kReach);
}

constexpr std::int64_t kNoShift[3] = {};
constexpr std::int64_t kHome = number_of(kNoShift);

void count_of(std::int64_t number, std::int64_t* s) {
  constexpr std::int64_t mask = (std::int64_t{1} << 21) - 1;
  s[0] = (number >> 42) - kReach;
  s[1] = ((number >> 21) & mask) - kReach;
  s[2] = (number & mask) - kReach;
}

/// Shifts in our cell vectors, between the positions as they were given.
class Shifts {
 public:
  explicit Shifts(const PeriodicPairs& list)
      : list_(list), moved_(std::any_of(list.wraps.begin(), list.wraps.end(), [](std::int64_t w) { return w != 0; })) {
    for (int x = 0; x < 9; ++x) other_basis_ |= list.basis[x] != (x % 4 == 0);
  }

  std::int64_t number(std::size_t pair, std::size_t i, std::size_t j) const {
    const std::int64_t* given = list_.shifts.data() + 3 * pair;
    std::int64_t s[3] = {given[0], given[1], given[2]};
    if (other_basis_)
      for (int x = 0; x < 3; ++x)
        s[x] = given[0] * list_.basis[x] + given[1] * list_.basis[3 + x] + given[2] * list_.basis[6 + x];
    if (moved_)
      for (int x = 0; x < 3; ++x) s[x] += list_.wraps[3 * i + x] - list_.wraps[3 * j + x];
    const std::int64_t reach = std::max({s[0], s[1], s[2], -s[0], -s[1], -s[2]});
    if (reach > kReach)
      throw Error("atoms lie " + std::to_string(reach) +
                  " cells outside the cell, wrap the positions into the cell first");
    return number_of(s);
  }

 private:
  const PeriodicPairs& list_;
  bool moved_, other_basis_ = false;
};

void check(const PeriodicPairs& list) {
  const std::size_t n = list.species.size(), n_pairs = list.pairs.size() / 2;
  if (list.positions.size() != 3 * n || list.wraps.size() != 3 * n || list.cell.size() != 9 || list.basis.size() != 9 ||
      list.pairs.size() != 2 * n_pairs || list.shifts.size() != 3 * n_pairs)
    throw Error("periodic pairs: " + std::to_string(list.positions.size()) + " coordinates and " +
                std::to_string(list.wraps.size()) + " wraps of " + std::to_string(n) + " atoms, " +
                std::to_string(list.shifts.size()) + " shifts of " + std::to_string(n_pairs) + " pairs");
  for (std::uint64_t atom : list.pairs)
    if (atom >= n)
      throw Error("periodic pairs: atom " + std::to_string(atom) + ", expected 0 to " + std::to_string(n) + " − 1");
}

}  // namespace

UnfoldedPairs unfold(const PeriodicPairs& list) {
  check(list);
  const std::size_t n = list.species.size(), n_pairs = list.pairs.size() / 2;
  const Shifts shifts(list);
  UnfoldedPairs out;
  out.positions.assign(list.positions.begin(), list.positions.end());
  out.species.assign(list.species.begin(), list.species.end());
  out.owners.resize(n);
  std::iota(out.owners.begin(), out.owners.end(), 0);
  out.offsets.resize(n + 1);

  // A pair seen from its first atom, then from its second.
  struct Sight {
    int from, to;  ///< `to` becomes the image
    std::int64_t shift;
  };
  std::vector<Sight> sights(2 * n_pairs);
  std::vector<std::size_t> last(n + 1);
  for (std::size_t p = 0; p < n_pairs; ++p) {
    const std::size_t i = list.pairs[2 * p], j = list.pairs[2 * p + 1];
    const std::int64_t shift = shifts.number(p, i, j);
    sights[2 * p] = {static_cast<int>(i), static_cast<int>(j), shift};
    sights[2 * p + 1] = {static_cast<int>(j), static_cast<int>(i), 2 * kHome - shift};
    ++out.offsets[i + 1];
    ++out.offsets[j + 1];
    last[i + 1] += shift != kHome;
    last[j + 1] += shift != kHome;
  }
  std::partial_sum(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  std::partial_sum(last.begin(), last.end(), last.begin());

  struct Crossing {
    std::int64_t shift;
    std::size_t sight;
  };
  std::vector<Crossing> crossings(last[n]);  // sights that leave the cell, by neighbour
  for (std::size_t s = 0; s < sights.size(); ++s)
    if (sights[s].shift != kHome) crossings[last[sights[s].to]++] = {sights[s].shift, s};
  for (std::size_t j = 0, begin = 0; j < n; begin = last[j++]) {
    const auto from = crossings.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto to = crossings.begin() + static_cast<std::ptrdiff_t>(last[j]);
    std::sort(from, to, [](const Crossing& a, const Crossing& b) { return a.shift < b.shift; });
    std::int64_t known = kHome;
    for (auto crossing = from; crossing != to; ++crossing) {
      if (crossing->shift != known) {
        known = crossing->shift;
        std::int64_t s[3];
        count_of(known, s);
        for (int x = 0; x < 3; ++x) {
          const double shift = static_cast<double>(s[0]) * list.cell[x] + static_cast<double>(s[1]) * list.cell[3 + x] +
                               static_cast<double>(s[2]) * list.cell[6 + x];
          out.image_shifts.push_back(shift);
          out.positions.push_back(list.positions[3 * j + x] + shift);
        }
        out.species.push_back(list.species[j]);
        out.owners.push_back(static_cast<int>(j));
      }
      sights[crossing->sight].to = static_cast<int>(out.owners.size()) - 1;
    }
  }

  out.indices.resize(sights.size());
  std::vector<int> next(out.offsets.begin(), out.offsets.end() - 1);
  for (const Sight& sight : sights) out.indices[next[sight.from]++] = sight.to;
  return out;
}

}  // namespace mliuq
