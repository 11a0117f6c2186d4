// The stages of the vector kernel one by one, in every instruction set this machine runs: each against a plain
// formula or the reference kernel's ingredients, on random blocks with unequal neighbour counts. No framework: a
// failed check prints its line and the program's status says so.

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>
#include <numbers>
#include <random>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/reference_kernel.hpp"
#include "kernels/simd/pack.hpp"
#include "kernels/simd/projection.hpp"
#include "kernels/simd/simd_kernel.hpp"
#include "kernels/simd/stages.hpp"
#include "switching.hpp"

using namespace mliuq;
using namespace mliuq::simd;
using Complex = std::complex<double>;

namespace {

int failures = 0;

/// Written so that a NaN fails.
void check_close(double found, double expected, double tolerance,
                 std::source_location where = std::source_location::current()) {
  if (std::abs(found - expected) <= tolerance) return;
  if (++failures <= 20) std::printf("line %u: found %.17g, expected %.17g\n", where.line(), found, expected);
}

void check(bool holds, std::source_location where = std::source_location::current()) {
  if (!holds && ++failures <= 20) std::printf("line %u: does not hold\n", where.line());
}

/// Centres 0 … n−1 with 0, 7, 14 … neighbours about them; all lists are disjoint.
struct Scene {
  Scene(int n_centres, int n_elements) {
    std::mt19937 random(5);
    std::uniform_real_distribution<double> coordinate(-2.2, 2.2);
    for (int i = 0; i < n_centres; ++i) {
      for (int x = 0; x < 3; ++x) positions.push_back(20.0 * i + 0.1 * x);
      types.push_back(0);
    }
    lists.resize(n_centres);
    for (int i = 0; i < n_centres; ++i)
      while (static_cast<int>(lists[i].size()) < 7 * i) {
        double d[3], r2 = 0.0;
        for (double& x : d) {
          x = coordinate(random);
          r2 += x * x;
        }
        if (r2 < 0.8) continue;
        lists[i].push_back(static_cast<int>(types.size()));
        for (int x = 0; x < 3; ++x) positions.push_back(positions[3 * i + x] + d[x]);
        types.push_back(static_cast<int>(random() % n_elements));
      }
    species.resize(n_elements);
    for (int e = 0; e < n_elements; ++e) species[e] = e;
    for (const auto& list : lists) {
      rows.push_back(list.data());
      counts.push_back(static_cast<int>(list.size()));
    }
    for (int i = 0; i < n_centres; ++i) centres.push_back(i);
    view.positions = positions.data();
    view.types = types.data();
    view.species_of_type = species.data();
    view.n_atoms = static_cast<int>(types.size());
    view.n_neighbours = counts.data();
    view.neighbours = rows.data();
  }

  std::vector<double> positions;
  std::vector<int> types, species, counts, centres;
  std::vector<std::vector<int>> lists;
  std::vector<const int*> rows;
  Neighbourhood view;
};

SnapParams descriptor(int twojmax, bool chem) {
  SnapParams p;
  p.twojmax = twojmax;
  p.rcutfac = 3.4;
  p.chemflag = chem;
  p.elements = {"A", "B"};
  p.radii = {0.5, 0.46};
  p.weights = {1.0, 0.7};
  p.rmin0 = 0.2;
  p.switchinnerflag = true;
  p.sinner = {1.2, 1.3};
  p.dinner = {0.4, 0.3};
  return p;
}

EnergyModel random_model(const SnapParams& p) {
  std::mt19937 random(9);
  std::normal_distribution<double> normal;
  std::vector<double> theta(static_cast<std::size_t>(p.n_elements()) * p.n_weights());
  for (double& t : theta) t = normal(random);
  return {p.n_elements(), p.n_components(), false, theta};
}

/// u^j by the textbook recursion, full matrices level after level.
std::vector<Complex> plain_u(int twojmax, Complex a, Complex b) {
  std::vector<Complex> u(full_level(twojmax + 1));
  u[0] = 1.0;
  for (int j = 1; j <= twojmax; ++j) {
    const Complex* from = u.data() + full_level(j - 1);
    Complex* to = u.data() + full_level(j);
    for (int mb = 0; 2 * mb <= j; ++mb)
      for (int ma = 0; ma < j; ++ma) {
        to[mb * (j + 1) + ma] += std::sqrt((j - ma) / double(j - mb)) * std::conj(a) * from[mb * j + ma];
        to[mb * (j + 1) + ma + 1] -= std::sqrt((ma + 1) / double(j - mb)) * std::conj(b) * from[mb * j + ma];
      }
    for (int mb = 0; 2 * mb <= j; ++mb)
      for (int ma = 0; ma <= j; ++ma)
        to[(j - mb) * (j + 1) + j - ma] = ((ma + mb) % 2 ? -1.0 : 1.0) * std::conj(to[mb * (j + 1) + ma]);
  }
  return u;
}

struct Fixture {
  Fixture(InstructionSet set, int twojmax, bool chem)
      : set(set),
        params(descriptor(twojmax, chem)),
        model(random_model(params)),
        storage(params, model),
        plan(storage.view()),
        stages(stage_table<double>(set)),
        pairs(params),
        lanes(stages.lanes),
        n(std::max(2, lanes - 1)),  // a lane to spare where there are enough
        scene(n, 2),
        w(plan, lanes) {
    w.reserve_products(true);
    pack(pairs, scene.view, scene.centres.data(), n, w);
  }

  double packed(int slot, int field, int lane) const {
    return w.block.packed[(slot * kPackedFields + field) * lanes + lane];
  }
  double geometry(int slot, int field, int lane) const {
    return w.block.geometry[(slot * kGeometryFields + field) * lanes + lane];
  }
  Complex image(int channel, Image image, int element, int lane) const {
    const std::size_t at = (static_cast<std::size_t>(channel) * kImages + image) * plan.n_full + element;
    const double* value = w.block.images + 2 * at * lanes + lane;
    return {value[0], value[lanes]};
  }
  int channel_of(int slot) const {
    int c = 0;
    while (w.first_slot[c + 1] <= slot) ++c;
    return c;
  }
  void run_to_density(KernelPlan kind = KernelPlan::recursion) {
    stages.geometry(plan, w.block);
    summation_table<double>(set, kind).density(plan, w.block);
    stages.expand(plan, w.block);
  }

  InstructionSet set;
  SnapParams params;
  EnergyModel model;
  PlanStorage<double> storage;
  const Plan<double>& plan;
  const StageTable<double>& stages;
  PairTable pairs;
  int lanes, n;
  Scene scene;
  SimdWorkspace<double> w;
};

void test_pack(Fixture f) {
  std::vector<int> seen(f.scene.types.size(), 0);
  for (int slot = 0; slot < f.w.block.n_slots; ++slot)
    for (int lane = 0; lane < f.lanes; ++lane) {
      const int atom = f.w.slot_atom[slot * f.lanes + lane];
      if (atom < 0) {
        check(f.packed(slot, kWeight, lane) == 0.0);
        continue;
      }
      ++seen[atom];
      const int species = f.scene.types[atom];
      check(f.channel_of(slot) == (f.params.chemflag ? species : 0));
      check(f.packed(slot, kWeight, lane) == f.params.weights[species]);
      for (int x = 0; x < 3; ++x)
        check(f.packed(slot, kDx + x, lane) == f.scene.positions[3 * atom + x] - f.scene.positions[3 * lane + x]);
    }
  for (int i = 0; i < f.n; ++i)
    for (int atom : f.scene.lists[i]) {
      double r2 = 0.0;
      for (int x = 0; x < 3; ++x) r2 += std::pow(f.scene.positions[3 * atom + x] - f.scene.positions[3 * i + x], 2);
      check(seen[atom] == (std::sqrt(r2) < f.params.cutoff(0, f.scene.types[atom]) ? 1 : 0));
    }
}

void test_geometry(Fixture f) {
  f.stages.geometry(f.plan, f.w.block);
  for (int slot = 0; slot < f.w.block.n_slots; ++slot)
    for (int lane = 0; lane < f.lanes; ++lane) {
      const int atom = f.w.slot_atom[slot * f.lanes + lane];
      const auto g = [&](int field) { return f.geometry(slot, field, lane); };
      check_close(g(kAr) * g(kAr) + g(kAi) * g(kAi) + g(kBr) * g(kBr) + g(kBi) * g(kBi), 1.0, 1e-14);
      if (atom < 0) {
        check(g(kS) == 0.0 && g(kDs) == 0.0);
        continue;
      }
      const double r = std::hypot(f.packed(slot, 0, lane), f.packed(slot, 1, lane), f.packed(slot, 2, lane));
      const int b = f.scene.types[atom];
      const double cutoff = f.params.cutoff(0, b);
      const RadialWeight s = switching(f.params, r, cutoff, 0, b);
      check_close(g(kS), s.value, 1e-14);
      check_close(g(kDs), s.slope, 1e-13);
      const double theta = f.params.rfac0 * std::numbers::pi * (r - f.params.rmin0) / (cutoff - f.params.rmin0);
      check_close(g(kAr), std::cos(theta), 1e-14);
      check_close(g(kAi), -std::sin(theta) * f.packed(slot, kDz, lane) / r, 1e-14);
      check_close(g(kBr), std::sin(theta) * f.packed(slot, kDy, lane) / r, 1e-14);
      check_close(g(kSinSinOverR), std::sin(theta) * std::sin(theta) / r, 1e-14);
    }
}

void test_density(Fixture f, KernelPlan kind) {
  f.run_to_density(kind);
  for (int lane = 0; lane < f.n; ++lane)
    for (int channel = 0; channel < f.plan.n_channels; ++channel) {
      std::vector<Complex> U(f.plan.n_full);
      if (channel == 0)  // every centre is of element 0
        for (int j = 0; j <= f.plan.twojmax; ++j)
          for (int m = 0; m <= j; ++m) U[full_level(j) + m * (j + 2)] += 1.0;
      for (int slot = f.w.first_slot[channel]; slot < f.w.first_slot[channel + 1]; ++slot) {
        const auto g = [&](int field) { return f.geometry(slot, field, lane); };
        const auto u = plain_u(f.plan.twojmax, {g(kAr), g(kAi)}, {g(kBr), g(kBi)});
        for (std::size_t i = 0; i < u.size(); ++i) U[i] += g(kS) * u[i];
      }
      for (int j = 0; j <= f.plan.twojmax; ++j)
        for (int mb = 0; mb <= j; ++mb)
          for (int ma = 0; ma <= j; ++ma) {
            const int element = full_level(j) + mb * (j + 1) + ma, transposed = full_level(j) + ma * (j + 1) + mb;
            const auto compare = [&](Image image, int at, double factor) {
              const Complex expected = factor * U[element];
              check_close(std::abs(f.image(channel, image, at, lane) - expected), 0.0, 1e-12 * std::max(1.0, factor));
            };
            compare(kRoot, element, image_root(j, ma));
            compare(kInverseRoot, element, 1.0 / image_root(j, ma));
            // Their last columns are left out: no operation reads them (test_coupling.cpp).
            if (ma < j) compare(kFall, element, image_fall(j, ma));
            if (mb < j) compare(kFallTransposed, transposed, image_fall(j, mb));
          }
    }
}

/// The two ways from U to Y, the two to B, and the two to the energy.
void test_coupling(Fixture f) {
  f.run_to_density();
  const int L = f.lanes;
  f.stages.store(f.plan, f.w.block);
  f.stages.describe(f.plan, f.w.block);
  const std::vector<double> B(f.w.block.B, f.w.block.B + f.plan.n_components * L);
  f.stages.respond(f.plan, f.w.block);
  f.stages.fold(f.plan, f.w.block);
  const std::size_t size = 2 * static_cast<std::size_t>(f.plan.n_half) * f.plan.n_channels * L;
  const std::vector<double> Y(f.w.block.Y, f.w.block.Y + size);
  const std::vector<double> energies(f.w.block.energies, f.w.block.energies + L);

  const auto reference = make_reference_kernel(f.params, f.model);
  const auto workspace = reference->make_workspace();
  std::vector<double> plain_B(static_cast<std::size_t>(f.n) * f.plan.n_components), plain_e(f.n);
  reference->evaluate(f.scene.view, f.scene.centres, {.energies = plain_e.data(), .B = plain_B.data()}, *workspace);
  double scale = 1.0;
  for (double b : plain_B) scale = std::max(scale, std::abs(b));
  for (int lane = 0; lane < f.n; ++lane) {
    for (int k = 0; k < f.plan.n_components; ++k)
      check_close(B[k * L + lane], plain_B[lane * f.plan.n_components + k], 1e-12 * scale);
    check_close(energies[lane], plain_e[lane], 1e-12 * scale * f.plan.n_components);
  }

  std::fill(f.w.block.B, f.w.block.B + B.size(), 0.0);
  f.stages.couple_and_describe(f.plan, f.w.block);
  for (int k = 0; k < f.plan.n_components; ++k)
    for (int lane = 0; lane < f.n; ++lane) check_close(f.w.block.B[k * L + lane], B[k * L + lane], 1e-12 * scale);
  double largest = 0.0;
  for (double y : Y) largest = std::max(largest, std::abs(y));
  check(largest > 1e-3);
  for (int channel = 0; channel < f.plan.n_channels; ++channel)
    for (int j = 0; j <= f.plan.twojmax; ++j) {
      const int first = channel * f.plan.n_half + half_level(j);
      for (int i = 2 * first * L; i < 2 * (first + half_used(j)) * L; ++i)
        check_close(f.w.block.Y[i], Y[i], 1e-12 * largest);
    }
  if (f.plan.n_channels > 1) return;

  f.stages.energy(f.plan, f.w.block);
  for (int lane = 0; lane < f.n; ++lane)
    check_close(f.w.block.energies[lane], energies[lane], 1e-12 * scale * f.plan.n_components);
}

/// Forces by the two plans, for the levels that no reference is fast enough for.
void test_plans_agree(Fixture f) {
  f.run_to_density();
  f.stages.couple_and_describe(f.plan, f.w.block);
  const std::size_t size = static_cast<std::size_t>(f.w.block.n_slots) * 3 * f.lanes;
  std::vector<double> forces[2];
  for (KernelPlan kind : {KernelPlan::recursion, KernelPlan::polynomial}) {
    const SummationTable<double> sums = summation_table<double>(f.set, kind);
    sums.ladder(f.plan, f.w.block);
    sums.force(f.plan, f.w.block);
    forces[static_cast<int>(kind)].assign(f.w.block.forces, f.w.block.forces + size);
  }
  double largest = 0.0;
  for (double x : forces[0]) largest = std::max(largest, std::abs(x));
  check(largest > 1e-3);
  for (std::size_t i = 0; i < size; ++i) check_close(forces[1][i], forces[0][i], 1e-12 * largest);
}

/// ∂e/∂r of every slot against Σ β ∂B/∂r of the derivative stage, and that against the reference kernel.
void test_forces_and_derivatives(Fixture f, KernelPlan kind) {
  f.run_to_density(kind);
  const int L = f.lanes, K = f.plan.n_components;
  const std::size_t stride = padded_row(K);
  f.stages.store(f.plan, f.w.block);
  f.stages.describe(f.plan, f.w.block);
  f.stages.respond(f.plan, f.w.block);
  // Equal components carry equal weights here, so that LAMMPS's Y is the gradient: β is made equal by using only one.
  std::fill(f.w.block.beta, f.w.block.beta + K * L, 0.0);
  std::fill(f.w.block.beta, f.w.block.beta + L, 1.0);
  f.stages.fold(f.plan, f.w.block);
  const SummationTable<double> sums = summation_table<double>(f.set, kind);
  sums.ladder(f.plan, f.w.block);
  sums.force(f.plan, f.w.block);
  std::fill_n(f.w.block.total, 3 * stride * L, 0.0);
  std::fill_n(f.w.block.strain, 6 * K * L, 0.0);

  const auto reference = make_reference_kernel(f.params, f.model);
  const auto workspace = reference->make_workspace();
  GradientBlock plain;
  plain.with_strain = true;
  reference->gradients(f.scene.view, f.scene.centres, plain, *workspace);
  double scale = 0.0;
  for (double d : plain.dB) scale = std::max(scale, std::abs(d));
  check(scale > 0.1);
  for (int channel = 0; channel < f.plan.n_channels; ++channel)
    for (int first = f.w.first_slot[channel], count = 0, most = 1; first < f.w.first_slot[channel + 1];
         first += count) {
      count = std::min(most, f.w.first_slot[channel + 1] - first);  // one, two … slots at a time
      most = most % kDeriveSlots + 1;
      f.stages.derive(f.plan, f.w.block, channel, first, count, true);
      for (int slot = first; slot < first + count; ++slot)
        for (int lane = 0; lane < f.n; ++lane) {
          const int atom = f.w.slot_atom[slot * L + lane];
          if (atom < 0) continue;
          const auto pair = std::find(plain.neighbour.begin(), plain.neighbour.end(), atom) - plain.neighbour.begin();
          const double* derived = f.w.block.dB + ((slot - first) * 3 * stride + 1) * L + lane;
          for (int x = 0; x < 3; ++x) {
            for (int k = 0; k < K; ++k)
              check_close(derived[(x * stride + k) * L], plain.dB[(pair * 3 + x) * stride + 1 + k], 1e-12 * scale);
            check_close(f.w.block.forces[(slot * 3 + x) * L + lane], plain.dB[(pair * 3 + x) * stride + 1],
                        1e-12 * scale);
          }
        }
    }
  const auto check_sums = [&](const double* lanes, const auto& expected, int n) {
    for (int lane = 0; lane < f.n; ++lane)
      for (int i = 0; i < n; ++i) check_close(lanes[i * L + lane], expected[lane * n + i], 1e-11 * scale);
  };
  check_sums(f.w.block.total, plain.total, static_cast<int>(3 * stride));
  check_sums(f.w.block.strain, plain.strain, 6 * K);
}

void test_slots_derived_together() {
  for (int n = 1; n < 50; ++n) {
    int left = n, least = kDeriveSlots, calls = 0;
    for (; left > 0; ++calls) {
      const int count = slots_derived_together(left);
      check(count >= 1 && count <= kDeriveSlots);
      least = std::min(least, count);
      left -= count;
    }
    check(left == 0 && calls == (n + kDeriveSlots - 1) / kDeriveSlots);
    check(n < kDeriveSlots || 2 * least >= kDeriveSlots);
  }
}

/// The table of a set is the one compiled for its vectors.
void test_widths(InstructionSet set) {
  const int bytes = set == InstructionSet::baseline                                ? 16
                    : set == InstructionSet::avx2 || set == InstructionSet::sve256 ? 32
                                                                                   : 64;
  check(stage_table<double>(set).lanes * static_cast<int>(sizeof(double)) == bytes);
  check(stage_table<float>(set).lanes * static_cast<int>(sizeof(float)) == bytes);
  check(projection_table(set).group * static_cast<int>(sizeof(double)) % bytes == 0);
}

/// [n][lanes] → one array a lane, some of them not wanted; and rows → lanes, the way back.
void test_lanes(InstructionSet set) {
  const StageTable<double>& stages = stage_table<double>(set);
  for (int n : {1, 7, 8, 21}) {
    std::vector<double> numbers(static_cast<std::size_t>(n) * stages.lanes);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = 1.0 + static_cast<double>(i);
    const AlignedVector<double> from(numbers.begin(), numbers.end());
    std::vector<std::vector<double>> arrays(stages.lanes, std::vector<double>(n, -1.0));
    std::vector<double*> to;
    for (int lane = 0; lane < stages.lanes; ++lane) to.push_back(lane == 1 ? nullptr : arrays[lane].data());
    stages.unpack(from.data(), n, to.data());
    for (int lane = 0; lane < stages.lanes; ++lane)
      for (int i = 0; i < n; ++i) check(arrays[lane][i] == (lane == 1 ? -1.0 : from[i * stages.lanes + lane]));
  }
  const ProjectionTable& project = projection_table(set);
  for (int width : {1, 7, 8, 21})
    for (int first : {0, project.group - project.square})
      for (int count = 0; count <= project.square; ++count) {
        std::vector<double> rows(static_cast<std::size_t>(width) * count);
        for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = 1.0 + static_cast<double>(i);
        AlignedVector<double> lanes(static_cast<std::size_t>(width) * project.group, -1.0);
        project.pack_rows(rows.data(), count, width, first, lanes.data());
        for (int p = 0; p < width; ++p)
          for (int r = 0; r < project.group; ++r) {
            const int row = r - first;
            const bool packed = row >= 0 && row < project.square;
            check(lanes[p * project.group + r] == (row >= 0 && row < count ? rows[row * width + p]
                                                   : packed                ? 0.0
                                                                           : -1.0));
          }
      }
}

/// Reductions over the columns of a factor, for any number of atoms in a group.
void test_projections(InstructionSet set) {
  std::mt19937 random(4);
  std::normal_distribution<double> normal;
  const ProjectionTable& project = projection_table(set);
  constexpr int P = 9, C = 52;
  const int group = project.group;
  std::vector<double> F(P * C);
  for (double& entry : F) entry = normal(random);
  // Four panels of the same rows, one of the last five rows, three of the first five, and one that is not full.
  for (int p = 0; p < 4; ++p) std::fill_n(F.begin() + p * C + 4 * kPanelColumns, kPanelColumns, 0.0);
  for (int p = 5; p < P; ++p) std::fill_n(F.begin() + p * C + 5 * kPanelColumns, 3 * kPanelColumns, 0.0);
  const PanelledFactor sums(F, P, C, PanelledFactor::Padding::zeros);
  const PanelledFactor bounds(F, P, C, PanelledFactor::Padding::last_column);
  AlignedVector<double> features(static_cast<std::size_t>(P) * group);
  for (double& feature : features) feature = normal(random);
  const int n_panels = static_cast<int>(sums.panels().size());
  check(sums.panels()[3].n_rows == P && sums.panels()[4].first == 4 && sums.panels()[7].n_rows == 5);
  for (int n = 1; n <= group; ++n) {
    AlignedVector<double> norms(group), absolute(group), least(group), most(group);
    AlignedVector<double> products(static_cast<std::size_t>(n_panels) * kPanelColumns * group);
    project.squared_norms(sums.panels().data(), n_panels, features.data(), n, norms.data());
    project.absolute_sums(sums.panels().data(), n_panels, features.data(), n, absolute.data());
    project.extremes(bounds.panels().data(), n_panels, features.data(), n, least.data(), most.data());
    project.products(sums.panels().data(), n_panels, features.data(), n, products.data());
    for (int a = 0; a < n; ++a) {
      double norm = 0.0, sum = 0.0, low = 1e30, high = -1e30;
      for (int c = 0; c < C; ++c) {
        double product = 0.0;
        for (int p = 0; p < P; ++p) product += F[p * C + c] * features[p * group + a];
        check_close(products[c * group + a], product, 1e-13);
        norm += product * product;
        sum += std::abs(product);
        low = std::min(low, product);
        high = std::max(high, product);
      }
      check_close(norms[a], norm, 1e-12);
      check_close(absolute[a], sum, 1e-12);
      check_close(least[a], low, 1e-13);
      check_close(most[a], high, 1e-13);
    }
  }
}

void test_products(InstructionSet set) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  for (int K : {1, 5, 8, 13, 30, 55})
    for (int n : {1, 4, 27}) {
      const int stride = static_cast<int>(padded_row(K - 1));
      const std::size_t size = static_cast<std::size_t>(K) * (K + 1) / 2, distance = size + 3;
      AlignedVector<double> B(static_cast<std::size_t>(n) * stride, std::nan(""));
      AlignedVector<double> dB(3 * B.size(), std::nan(""));
      for (int i = 0; i < n; ++i)
        for (int k = 0; k < K; ++k) {
          B[i * stride + k] = normal(random);
          for (int x = 0; x < 3; ++x) dB[(3 * i + x) * stride + k] = normal(random);
        }
      std::vector<const double*> of_change;
      std::vector<const double*> soon;
      for (int i = 0; i < n; ++i) {
        of_change.push_back(B.data() + i * stride);
        soon.push_back(dB.data() + 3 * (n - 1 - i) * stride);
      }
      for (const bool add : {true, false}) {
        const double before = add ? 2.0 : std::nan("");
        std::vector<double> found(3 * distance, before);
        projection_table(set).subtract_products(K, n, of_change.data(), dB.data(), stride, add, found.data(),
                                                static_cast<long>(distance), soon.data());
        for (int x = 0; x < 3; ++x) {
          const double* at = found.data() + x * distance;
          for (int k = 0; k < K; ++k)
            for (int l = k; l < K; ++l, ++at) {
              double expected = add ? 2.0 : 0.0;
              for (int i = 0; i < n; ++i) {
                const double *b = B.data() + i * stride, *d = dB.data() + (3 * i + x) * stride;
                expected -= k == l ? b[k] * d[k] : b[k] * d[l] + d[k] * b[l];
              }
              check_close(*at, expected, 1e-13 * (n + 10));
            }
          for (; at < found.data() + (x + 1) * distance; ++at) check(add ? *at == before : std::isnan(*at));
        }
      }
    }
}

}  // namespace

int main() {
  test_slots_derived_together();
  test_plans_agree({available_instruction_sets().back(), kMaxTwojmax, false});
  for (InstructionSet set : available_instruction_sets()) {
    if (set == InstructionSet::reference) continue;
    test_widths(set);
    test_lanes(set);
    test_projections(set);
    test_products(set);
    for (bool chem : {false, true})
      for (int twojmax : {0, 1, 2, 3, 6, 8, 14, 17}) {
        if (chem && twojmax > 3) continue;
        const int before = failures;
        const auto fixture = [&] { return Fixture(set, twojmax, chem); };
        test_pack(fixture());
        test_geometry(fixture());
        for (KernelPlan plan : {KernelPlan::recursion, KernelPlan::polynomial}) {
          test_density(fixture(), plan);
          if (twojmax <= 8) test_forces_and_derivatives(fixture(), plan);
        }
        test_coupling(fixture());
        test_plans_agree(fixture());
        if (failures > before)
          std::printf("%s, 2J = %d%s: %d failures\n", std::string(to_string(set)).c_str(), twojmax,
                      chem ? ", chem" : "", failures - before);
      }
  }
  if (failures == 0) std::printf("all stages agree\n");
  return failures ? 1 : 0;
}
