#include "kernels/reference_kernel.hpp"

// Bispectrum of one atom, written to be read (Bartók et al., PRB 87, 184115 (2013); Thompson et al., J. Comput. Phys.
// 285, 316 (2015)). All angular momenta are doubled; u^j is a full (j+1)×(j+1) complex matrix with row mb, column ma.
//
//   density      U^μ_j = Σ_k s(r_k) u^j(r_k) + wself·1, k over neighbours of channel μ (one channel without chemflag)
//   product      Z^j_{κ j1, λ j2}[mb, ma] = Σ C(mb1, mb2; mb) C(ma1, ma2; ma) U^κ_{j1}[mb1, ma1] U^λ_{j2}[mb2, ma2]
//   bispectrum   B^{κλμ}_{j1 j2 j} = Re Σ conj(U^μ_j) Z^j_{κ j1, λ j2}
//
// B is cubic in U, and coupling j1, j2 to j equals coupling j, j2 to j1 up to the factor (j+1)/(j1+1), so
//   dB = Re Σ [conj(dU^μ_j) Z^j_{κ j1, λ j2} + (j+1)/(j1+1) conj(dU^κ_{j1}) Z^{j1}_{μ j, λ j2}
//                                            + (j+1)/(j2+1) conj(dU^λ_{j2}) Z^{j2}_{μ j, κ j1}].

#include <cmath>
#include <complex>
#include <numbers>

#include "bispectrum_index.hpp"
#include "neighbour_packing.hpp"
#include "pair_output.hpp"
#include "switching.hpp"

namespace mliuq {
namespace {

using Complex = std::complex<double>;

struct Neighbour {
  int atom, channel;
  double d[3];
  std::vector<Complex> u;      // s·u, all levels
  std::vector<Complex> du[3];  // its derivatives with respect to the neighbour's position, 1/Å
};

struct ReferenceWorkspace final : Workspace {
  std::vector<Neighbour> neighbours;
  std::vector<Complex> U;  // [channel][all levels]
  std::vector<Complex> Y;  // [channel][all levels], ∂e/∂conj(U)
  std::vector<double> B, beta;
};

class ReferenceKernel final : public Kernel {
 public:
  ReferenceKernel(const SnapParams& params, const EnergyModel& model)
      : params_(params),
        model_(model),
        triples_(bispectrum_triples(params.twojmax)),
        squared_cutoffs_(squared_cutoffs(params)),
        n_channels_(params.chemflag ? params.n_elements() : 1),
        level_(params.twojmax + 2, 0) {
    for (int j = 0; j <= params.twojmax; ++j) level_[j + 1] = level_[j] + (j + 1) * (j + 1);
  }

  std::string name() const override { return "reference"; }
  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<ReferenceWorkspace>(); }

  void evaluate(const Neighbourhood& atoms, std::span<const int> centres, const KernelOutput& out,
                Workspace& workspace) const override {
    auto& w = static_cast<ReferenceWorkspace&>(workspace);
    const bool wants_gradient = out.forces || out.virial || out.atom_virials;
    for (std::size_t c = 0; c < centres.size(); ++c) {
      const int element = atoms.species(centres[c]);
      build_density(atoms, centres[c], wants_gradient, w);
      w.B.resize(params_.n_components());
      bispectrum(element, w.U, w.B);
      if (out.B) std::copy(w.B.begin(), w.B.end(), out.B + c * w.B.size());
      if (out.energies) out.energies[c] = model_.energy(element, w.B);
      if (!wants_gradient) continue;
      w.beta.resize(w.B.size());
      model_.gradient(element, w.B, w.beta);
      contract_weights(w.beta, w.U, w.Y, WeightRule::lammps);
      add_gradients(centres[c], out, w);
    }
  }

  void contract(const Neighbourhood& atoms, std::span<const int> centres, const double* beta, const KernelOutput& out,
                Workspace& workspace) const override {
    auto& w = static_cast<ReferenceWorkspace&>(workspace);
    const std::size_t K = params_.n_components();
    for (std::size_t c = 0; c < centres.size(); ++c) {
      build_density(atoms, centres[c], true, w);
      w.beta.assign(beta + c * K, beta + (c + 1) * K);
      contract_weights(w.beta, w.U, w.Y, WeightRule::exact);
      add_gradients(centres[c], out, w);
    }
  }

  void gradients(const Neighbourhood& atoms, std::span<const int> centres, GradientBlock& out,
                 Workspace& workspace) const override {
    auto& w = static_cast<ReferenceWorkspace&>(workspace);
    const std::size_t K = params_.n_components(), stride = padded_row(K);
    out.B.resize(centres.size() * K);
    out.first.assign(1, 0);
    out.neighbour.clear();
    out.dB.clear();
    std::vector<double> unit(K, 0.0);
    for (std::size_t c = 0; c < centres.size(); ++c) {
      build_density(atoms, centres[c], true, w);
      bispectrum(atoms.species(centres[c]), w.U, std::span(out.B).subspan(c * K, K));
      const std::size_t base = out.neighbour.size();
      for (const Neighbour& n : w.neighbours) out.neighbour.push_back(n.atom);
      out.first.push_back(static_cast<int>(out.neighbour.size()));
      out.dB.resize(out.neighbour.size() * 3 * stride);
      for (std::size_t k = 0; k < K; ++k) {
        unit[k] = 1.0;
        contract_weights(unit, w.U, w.Y, WeightRule::exact);
        unit[k] = 0.0;
        for (std::size_t n = 0; n < w.neighbours.size(); ++n)
          for (int x = 0; x < 3; ++x)
            out.dB[((base + n) * 3 + x) * stride + 1 + k] =
                inner(w.Y.data() + w.neighbours[n].channel * level_.back(), w.neighbours[n].du[x]);
      }
    }
    sum_gradients(atoms, centres, out);
    if (out.subtracted_from.rows) subtract_gradients(atoms, centres, out);
  }

 private:
  void subtract_gradients(const Neighbourhood& atoms, std::span<const int> centres, GradientBlock& out) const {
    const GradientRows& to = out.subtracted_from;
    const std::size_t K = params_.n_components(), stride = padded_row(K);
    for (std::size_t c = 0; c < centres.size(); ++c)
      for (int n = out.first[c]; n < out.first[c + 1]; ++n)
        if (const int row = to.row_of_atom[out.neighbour[n]]; row >= 0)
          for (std::size_t x = 0; x < 3; ++x)
            for (std::size_t k = 0; k < K; ++k)
              to.rows[(3 * row + x) * to.stride + to.of_element[atoms.species(centres[c])] + k] -=
                  out.dB[(3 * static_cast<std::size_t>(n) + x) * stride + 1 + k];
    out.first.assign(1, 0);
    out.neighbour.clear();
    out.dB.clear();
  }

  void sum_gradients(const Neighbourhood& atoms, std::span<const int> centres, GradientBlock& out) const {
    constexpr int first[6] = {0, 1, 2, 1, 0, 0}, second[6] = {0, 1, 2, 2, 2, 1};
    const std::size_t K = params_.n_components(), stride = padded_row(K);
    out.total.assign(centres.size() * 3 * stride, 0.0);
    out.strain.assign(out.with_strain ? centres.size() * 6 * K : 0, 0.0);
    for (std::size_t c = 0; c < centres.size(); ++c)
      for (int n = out.first[c]; n < out.first[c + 1]; ++n) {
        const double* const dB = out.dB.data() + static_cast<std::size_t>(n) * 3 * stride;
        for (std::size_t i = 0; i < 3 * stride; ++i) out.total[c * 3 * stride + i] += dB[i];
        for (int v = 0; v < 6 && out.with_strain; ++v) {
          const double r = atoms.positions[3 * static_cast<std::size_t>(out.neighbour[n]) + first[v]] -
                           atoms.positions[3 * static_cast<std::size_t>(centres[c]) + first[v]];
          for (std::size_t k = 0; k < K; ++k) out.strain[(c * 6 + v) * K + k] += r * dB[second[v] * stride + 1 + k];
        }
      }
  }

  void add_gradients(int centre, const KernelOutput& out, const ReferenceWorkspace& w) const {
    for (const Neighbour& n : w.neighbours) {
      std::array<double, 3> g;
      for (int x = 0; x < 3; ++x) g[x] = inner(w.Y.data() + n.channel * level_.back(), n.du[x]);
      add_pair_gradient(out, centre, n.atom, n.d, g);
    }
  }

  double inner(const Complex* y, const std::vector<Complex>& u) const {
    double sum = 0.0;
    for (int i = 0; i < level_.back(); ++i) sum += y[i].real() * u[i].real() + y[i].imag() * u[i].imag();
    return sum;
  }

  void build_density(const Neighbourhood& atoms, int centre, bool with_derivatives, ReferenceWorkspace& w) const {
    const int element = atoms.species(centre);
    w.neighbours.clear();
    w.U.assign(static_cast<std::size_t>(n_channels_) * level_.back(), 0.0);
    for_each_neighbour(atoms, centre, squared_cutoffs_.data() + element * params_.n_elements(),
                       [&](int j, int species, const double* d, double r2) {
                         Neighbour n{.atom = j, .channel = params_.chemflag ? species : 0, .d = {d[0], d[1], d[2]}};
                         expand(element, species, d, std::sqrt(r2), with_derivatives, n);
                         Complex* channel = w.U.data() + static_cast<std::size_t>(n.channel) * level_.back();
                         for (int i = 0; i < level_.back(); ++i) channel[i] += n.u[i];
                         if (with_derivatives) w.neighbours.push_back(std::move(n));
                       });
    for (int channel = 0; channel < n_channels_; ++channel) {
      if (params_.chemflag && !params_.wselfallflag && channel != element) continue;
      for (int j = 0; j <= params_.twojmax; ++j)
        for (int m = 0; m <= j; ++m) w.U[channel * level_.back() + level_[j] + m * (j + 1) + m] += 1.0;
    }
  }

  // s·u and, on request, its gradient: Wigner recursion from level j − 1 to j in the Cayley-Klein parameters a, b.
  void expand(int element, int species, const double* d, double r, bool with_derivatives, Neighbour& n) const {
    const double cutoff = params_.cutoff(element, species);
    const double rate = params_.rfac0 * std::numbers::pi / (cutoff - params_.rmin0);
    const double theta = rate * (r - params_.rmin0);
    // Below rmin0, where θ < 0, stock SNAP keeps the sine positive: z0 = r cot θ there fixes θ modulo π only.
    const double sign = theta < 0.0 ? -1.0 : 1.0;
    const double sine = sign * std::sin(theta), cosine = sign * std::cos(theta);
    const RadialWeight s = switching(params_, r, cutoff, element, species);
    const double unit[3] = {d[0] / r, d[1] / r, d[2] / r};
    const Complex a(cosine, -sine * unit[2]), b(sine * unit[1], -sine * unit[0]);
    Complex da[3], db[3];
    for (int x = 0; x < 3; ++x) {
      double dn[3];
      for (int y = 0; y < 3; ++y) dn[y] = ((x == y) - unit[x] * unit[y]) / r;
      const double dsine = cosine * rate * unit[x], dcosine = -sine * rate * unit[x];
      da[x] = {dcosine, -dsine * unit[2] - sine * dn[2]};
      db[x] = {dsine * unit[1] + sine * dn[1], -dsine * unit[0] - sine * dn[0]};
    }
    n.u.assign(level_.back(), 0.0);
    n.u[0] = 1.0;
    if (with_derivatives)
      for (auto& du : n.du) du.assign(level_.back(), 0.0);
    for (int j = 1; j <= params_.twojmax; ++j) {
      for (int mb = 0; 2 * mb <= j; ++mb)
        for (int ma = 0; ma < j; ++ma) {
          const int from = level_[j - 1] + mb * j + ma, to = level_[j] + mb * (j + 1) + ma;
          const double down = std::sqrt((j - ma) / static_cast<double>(j - mb));
          const double up = std::sqrt((ma + 1) / static_cast<double>(j - mb));
          n.u[to] += down * std::conj(a) * n.u[from];
          n.u[to + 1] -= up * std::conj(b) * n.u[from];
          if (!with_derivatives) continue;
          for (int x = 0; x < 3; ++x) {
            n.du[x][to] += down * (std::conj(da[x]) * n.u[from] + std::conj(a) * n.du[x][from]);
            n.du[x][to + 1] -= up * (std::conj(db[x]) * n.u[from] + std::conj(b) * n.du[x][from]);
          }
        }
      mirror(j, n.u);
      if (with_derivatives)
        for (auto& du : n.du) mirror(j, du);
    }
    for (int i = 0; i < level_.back(); ++i) {
      if (with_derivatives)
        for (int x = 0; x < 3; ++x) n.du[x][i] = s.value * n.du[x][i] + s.slope * unit[x] * n.u[i];
      n.u[i] *= s.value;
    }
  }

  // u[j − mb, j − ma] = (−1)^(ma − mb) conj(u[mb, ma]) fills the lower rows.
  void mirror(int j, std::vector<Complex>& u) const {
    for (int mb = 0; 2 * mb <= j; ++mb)
      for (int ma = 0; ma <= j; ++ma) {
        const Complex value = std::conj(u[level_[j] + mb * (j + 1) + ma]);
        u[level_[j] + (j - mb) * (j + 1) + j - ma] = (ma + mb) % 2 ? -value : value;
      }
  }

  // Z^j of two channels, added with a factor to y (a level-j matrix).
  void add_product(const Complex* u1, int j1, const Complex* u2, int j2, int j, double factor, Complex* y) const {
    const auto& cg = coupling(j1, j2, j);
    const int shift = (j1 + j2 - j) / 2;
    for (int mb = 0; mb <= j; ++mb)
      for (int ma = 0; ma <= j; ++ma) {
        Complex z = 0.0;
        for (int mb1 = std::max(0, mb + shift - j2); mb1 <= std::min(j1, mb + shift); ++mb1)
          for (int ma1 = std::max(0, ma + shift - j2); ma1 <= std::min(j1, ma + shift); ++ma1)
            z += cg[mb1 * (j2 + 1) + mb + shift - mb1] * cg[ma1 * (j2 + 1) + ma + shift - ma1] *
                 u1[level_[j1] + mb1 * (j1 + 1) + ma1] *
                 u2[level_[j2] + (mb + shift - mb1) * (j2 + 1) + ma + shift - ma1];
        y[mb * (j + 1) + ma] += factor * z;
      }
  }

  void bispectrum(int element, const std::vector<Complex>& U, std::span<double> B) const {
    std::vector<Complex> z;
    std::size_t k = 0;
    for_each_component([&](int c1, int c2, int c3, const BispectrumTriple& t) {
      z.assign((t.j + 1) * (t.j + 1), 0.0);
      add_product(channel(U, c1), t.j1, channel(U, c2), t.j2, t.j, 1.0, z.data());
      const Complex* u = channel(U, c3) + level_[t.j];
      double sum = 0.0;
      for (std::size_t i = 0; i < z.size(); ++i) sum += u[i].real() * z[i].real() + u[i].imag() * z[i].imag();
      const bool has_self =
          !params_.chemflag || params_.wselfallflag || (c1 == element && c2 == element && c3 == element);
      if (params_.bzeroflag && has_self) sum -= t.j + 1;
      B[k++] = sum * norm(t);
    });
  }

  // Y = Σ_k β_k ∂B_k/∂conj(U) by the product rule of the file head; `lammps` takes β of equal components as LAMMPS
  // does.
  enum class WeightRule { exact, lammps };
  void contract_weights(std::span<const double> beta, const std::vector<Complex>& U, std::vector<Complex>& Y,
                        WeightRule rule) const {
    Y.assign(U.size(), 0.0);
    std::size_t k = 0;
    for_each_component([&](int c1, int c2, int c3, const BispectrumTriple& t) {
      const ChannelTriple own{c1, c2, c3};
      const auto weight = [&](const ChannelTriple& c) {
        const std::size_t block = (c.c1 * n_channels_ + c.c2) * n_channels_ + c.c3;
        return beta[block * triples_.size() + k % triples_.size()] * norm(t);
      };
      const Complex *u1 = channel(U, c1), *u2 = channel(U, c2), *u3 = channel(U, c3);
      const auto add = [&](double w, const Complex* ua, int ja, const Complex* ub, int jb, int j, int c) {
        if (w != 0.0)
          add_product(ua, ja, ub, jb, j, w * (t.j + 1.0) / (j + 1.0), Y.data() + c * level_.back() + level_[j]);
      };
      const bool exact = rule == WeightRule::exact;
      add(weight(own), u1, t.j1, u2, t.j2, t.j, c3);
      add(weight(exact ? own : weight_of_first(t, own)), u3, t.j, u2, t.j2, t.j1, c1);
      add(weight(exact ? own : weight_of_second(t, own)), u3, t.j, u1, t.j1, t.j2, c2);
      ++k;
    });
  }

  template <class Visit>
  void for_each_component(Visit&& visit) const {
    for (int c1 = 0; c1 < n_channels_; ++c1)
      for (int c2 = 0; c2 < n_channels_; ++c2)
        for (int c3 = 0; c3 < n_channels_; ++c3)
          for (const BispectrumTriple& t : triples_) visit(c1, c2, c3, t);
  }

  const Complex* channel(const std::vector<Complex>& U, int c) const { return U.data() + c * level_.back(); }
  double norm(const BispectrumTriple& t) const { return params_.bnormflag ? 1.0 / (t.j + 1) : 1.0; }

  const std::vector<double>& coupling(int j1, int j2, int j) const { return couplings_.at(key(j1, j2, j)); }
  std::size_t key(int j1, int j2, int j) const {
    const std::size_t n = params_.twojmax + 1;
    return (j1 * n + j2) * n + j;
  }

  SnapParams params_;
  EnergyModel model_;
  std::vector<BispectrumTriple> triples_;
  std::vector<double> squared_cutoffs_;
  int n_channels_;
  std::vector<int> level_;  // offset of level j, level_.back() the length of one channel
  std::vector<std::vector<double>> couplings_ = tabulate_couplings();

  std::vector<std::vector<double>> tabulate_couplings() const {
    const int n = params_.twojmax;
    std::vector<std::vector<double>> table(static_cast<std::size_t>(n + 1) * (n + 1) * (n + 1));
    for (int j1 = 0; j1 <= n; ++j1)
      for (int j2 = 0; j2 <= n; ++j2)
        for (int j = std::abs(j1 - j2); j <= std::min(n, j1 + j2); j += 2) {
          auto& cg = table[key(j1, j2, j)];
          cg.resize((j1 + 1) * (j2 + 1));
          for (int m1 = 0; m1 <= j1; ++m1)
            for (int m2 = 0; m2 <= j2; ++m2) {
              const int m = m1 + m2 - (j1 + j2 - j) / 2;
              if (m >= 0 && m <= j) cg[m1 * (j2 + 1) + m2] = clebsch_gordan(j1, m1, j2, m2, j, m);
            }
        }
    return table;
  }
};

}  // namespace

std::unique_ptr<Kernel> make_reference_kernel(const SnapParams& params, const EnergyModel& model) {
  return std::make_unique<ReferenceKernel>(params, model);
}

}  // namespace mliuq
