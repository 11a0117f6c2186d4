#pragma once

// Random models and random environments of atoms, the same for the same seed.

#include <array>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "mliuq/energy_model.hpp"
#include "mliuq/neighbourhood.hpp"
#include "mliuq/packed_structure.hpp"
#include "mliuq/snap_params.hpp"

namespace scenes {

/// Atoms in the open with lists of all others, in the shape LAMMPS hands over: types are not species, entries carry
/// flags in their high bits, and lists hold atoms beyond the cutoff and, first of all, the centre itself.
class Scene {
 public:
  Scene(int n_centres, const std::vector<int>& n_neighbours, int n_elements, unsigned seed, double spread = 4.5)
      : random_(seed) {
    std::uniform_int_distribution<int> any_type(0, n_elements);  // type 0 is no element of the model
    for (int i = 0; i < n_centres; ++i) {
      for (int x = 0; x < 3; ++x) positions.push_back(x == 0 ? 50.0 * i : 0.0);
      types.push_back(1 + i % n_elements);
    }
    lists_.resize(n_centres);
    for (int i = 0; i < n_centres; ++i) {
      lists_[i].push_back(i);
      const int count = n_neighbours[i % n_neighbours.size()];
      while (static_cast<int>(lists_[i].size()) <= count) {
        const auto d = direction(0.9, spread);
        const int flags = static_cast<int>(random_() % 3) << 30;
        lists_[i].push_back(static_cast<int>(types.size()) | flags);
        for (int x = 0; x < 3; ++x) positions.push_back(positions[3 * i + x] + d[x]);
        types.push_back(any_type(random_));
      }
    }
    for (int e = 0; e <= n_elements; ++e) species_of_type_.push_back(e - 1);
    for (int i = 0; i < n_centres; ++i) centres.push_back(i);
    counts_.resize(types.size(), 0);
    rows_.resize(types.size(), nullptr);
    for (int i = 0; i < n_centres; ++i) {
      counts_[i] = static_cast<int>(lists_[i].size());
      rows_[i] = lists_[i].data();
    }
  }

  int n_atoms() const { return static_cast<int>(types.size()); }

  mliuq::Neighbourhood view() const {
    return {.positions = positions.data(),
            .types = types.data(),
            .species_of_type = species_of_type_.data(),
            .n_atoms = n_atoms(),
            .n_neighbours = counts_.data(),
            .neighbours = rows_.data(),
            .index_mask = 0x3FFFFFFF};
  }

  std::vector<double> positions;
  std::vector<int> types;
  std::vector<int> centres;

 private:
  std::array<double, 3> direction(double shortest, double longest) {
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> length(shortest, longest);
    std::array<double, 3> d{normal(random_), normal(random_), normal(random_)};
    const double scale = length(random_) / std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    for (double& x : d) x *= scale;
    return d;
  }

  std::mt19937 random_;
  std::vector<int> species_of_type_, counts_;
  std::vector<std::vector<int>> lists_;
  std::vector<const int*> rows_;
};

/// Atoms in the open that all see each other; each is a centre. Positions [n][3], Å.
inline std::unique_ptr<mliuq::PackedStructure> cluster(std::vector<double> positions, std::vector<int> species,
                                                       int n_elements) {
  const int n = static_cast<int>(species.size());
  std::vector<int> owners(n), offsets{0}, indices;
  for (int i = 0; i < n; ++i) {
    owners[i] = i;
    for (int j = 0; j < n; ++j)
      if (j != i) indices.push_back(j);
    offsets.push_back(static_cast<int>(indices.size()));
  }
  return std::make_unique<mliuq::PackedStructure>(std::move(positions), std::move(species), std::move(owners),
                                                  std::move(offsets), std::move(indices), n_elements, 1.0);
}

/// `n` atoms of alternating elements at random places, none closer than 1 Å.
inline std::unique_ptr<mliuq::PackedStructure> random_cluster(int n, int n_elements, unsigned seed, double size = 2.4) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> coordinate(-size, size);
  std::vector<double> positions;
  std::vector<int> species;
  while (static_cast<int>(species.size()) < n) {
    const std::array<double, 3> r{coordinate(random), coordinate(random), coordinate(random)};
    bool apart = true;
    for (std::size_t j = 0; j < species.size(); ++j)
      apart &= std::hypot(r[0] - positions[3 * j], r[1] - positions[3 * j + 1], r[2] - positions[3 * j + 2]) > 1.0;
    if (!apart) continue;
    positions.insert(positions.end(), r.begin(), r.end());
    species.push_back(static_cast<int>(species.size()) % n_elements);
  }
  return cluster(std::move(positions), std::move(species), n_elements);
}

inline mliuq::SnapParams params(int n_elements, int twojmax, bool chem = false, bool quadratic = false) {
  const std::vector<std::string> names = {"W", "Be", "Mo"};
  mliuq::SnapParams p;
  p.twojmax = twojmax;
  p.rcutfac = 4.0;
  p.chemflag = chem;
  p.quadraticflag = quadratic;
  for (int e = 0; e < n_elements; ++e) {
    p.elements.push_back(names[e]);
    p.radii.push_back(0.5 - 0.03 * e);
    p.weights.push_back(1.0 - 0.4 * e);
  }
  return p;
}

/// Weights of size `size`, quadratic ones far smaller, as fits have them.
inline std::vector<double> random_theta(const mliuq::SnapParams& p, unsigned seed, double size = 0.02) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  const int K = p.n_components(), P = p.n_weights();
  std::vector<double> theta(static_cast<std::size_t>(p.n_elements()) * P);
  for (std::size_t i = 0; i < theta.size(); ++i)
    theta[i] = normal(random) * (static_cast<int>(i % P) <= K ? size : 1e-3 * size);
  return theta;
}

inline mliuq::EnergyModel random_model(const mliuq::SnapParams& p, unsigned seed) {
  return {p.n_elements(), p.n_components(), p.quadraticflag, random_theta(p, seed)};
}

}  // namespace scenes
