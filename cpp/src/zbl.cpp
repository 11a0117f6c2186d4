#include "mliuq/zbl.hpp"

#include <cmath>

#include "elements.hpp"
#include "mliuq/error.hpp"
#include "pair_output.hpp"

// Universal screened repulsion of Ziegler, Biersack and Littmark (1985):
//   E(r) = Z_a Z_b e²/(4πε0 r) φ(r/a),  φ(x) = Σ_k c_k exp(−d_k x),  a = 0.46850 Å/(Z_a^0.23 + Z_b^0.23),
// plus a switching S(r) = C for r < r1, C + A/3 (r − r1)³ + B/4 (r − r1)⁴ for r1 < r < rc, chosen so that E + S and its
// first two derivatives vanish at rc. Constants as `pair_style zbl` has them, so that numbers can be compared.

namespace mliuq {
namespace {

constexpr double kCoulomb = 14.399645;  // e²/(4πε0) in eV Å, the value of LAMMPS's metal units
constexpr double kLength = 0.46850;
constexpr double kExponent = 0.23;
constexpr double kScale[4] = {0.02817, 0.28022, 0.50986, 0.18175};
constexpr double kDecay[4] = {0.20162, 0.40290, 0.94229, 3.19980};

struct Value {
  double energy, slope, curvature;
};

Value bare(double prefactor, double length, double r) {
  double sum = 0.0, first = 0.0, second = 0.0;
  for (int k = 0; k < 4; ++k) {
    const double rate = kDecay[k] / length;
    const double term = kScale[k] * std::exp(-rate * r);
    sum += term;
    first -= rate * term;
    second += rate * rate * term;
  }
  const double inverse = 1.0 / r;
  return {prefactor * sum * inverse, prefactor * (first - sum * inverse) * inverse,
          prefactor * (second - 2.0 * inverse * (first - sum * inverse)) * inverse};
}

}  // namespace

void ZblRange::validate() const {
  if (!(std::isfinite(inner) && std::isfinite(outer) && inner > 0.0 && outer > inner && outer <= kLongestCutoff))
    throw Error("zbl: inner " + std::to_string(inner) + " and outer " + std::to_string(outer) +
                ", expected 0 < inner < outer, at most " + std::to_string(static_cast<int>(kLongestCutoff)) + " (Å)");
}

Zbl::Zbl(std::span<const std::string> elements, double inner, double outer)
    : inner_(inner), outer_(outer), n_elements_(static_cast<int>(elements.size())) {
  ZblRange{inner, outer}.validate();
  for (const auto& a : elements)
    for (const auto& b : elements) {
      const double za = atomic_number(a), zb = atomic_number(b);
      const double length = kLength / (std::pow(za, kExponent) + std::pow(zb, kExponent));
      const double prefactor = kCoulomb * za * zb;
      const Value end = bare(prefactor, length, outer);
      const double width = outer - inner;
      pairs_.push_back({.prefactor = prefactor,
                        .screening_length = length,
                        .cubic = (-3.0 * end.slope + width * end.curvature) / (width * width),
                        .quartic = (2.0 * end.slope - width * end.curvature) / (width * width * width),
                        .shift = -end.energy + 0.5 * width * end.slope - width * width * end.curvature / 12.0});
    }
}

void Zbl::evaluate(const Neighbourhood& atoms, std::span<const int> centres, const KernelOutput& out) const {
  for (std::size_t c = 0; c < centres.size(); ++c) {
    const int i = centres[c];
    const int species_i = atoms.species(i);
    for (int n = 0; n < atoms.n_neighbours[i]; ++n) {
      const int j = atoms.neighbours[i][n] & atoms.index_mask;
      const int species_j = atoms.species(j);
      if (species_j < 0) continue;
      const double* ri = atoms.positions + 3 * static_cast<std::size_t>(i);
      const double* rj = atoms.positions + 3 * static_cast<std::size_t>(j);
      const double d[3] = {rj[0] - ri[0], rj[1] - ri[1], rj[2] - ri[2]};
      const double r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
      if (!(r2 < outer_ * outer_) || j == i) continue;
      const double r = std::sqrt(r2);
      const Pair& pair = pairs_[species_i * n_elements_ + species_j];
      Value value = bare(pair.prefactor, pair.screening_length, r);
      value.energy += pair.shift;
      if (r > inner_) {
        const double t = r - inner_;
        value.energy += t * t * t * (pair.cubic / 3.0 + pair.quartic / 4.0 * t);
        value.slope += t * t * (pair.cubic + pair.quartic * t);
      }
      if (out.energies) out.energies[c] += 0.5 * value.energy;
      const double scale = 0.5 * value.slope / r;
      add_pair_gradient(out, i, j, d, {scale * d[0], scale * d[1], scale * d[2]});
    }
  }
}

}  // namespace mliuq
