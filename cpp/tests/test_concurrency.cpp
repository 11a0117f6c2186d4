// Threads of a program (std::thread, which ThreadSanitizer understands; OpenMP's runtime it does not) that share a
// potential, its ensemble and a structure.

#include <thread>

#include "check.hpp"
#include "mliuq/potential.hpp"
#include "scenes.hpp"

using namespace mliuq;

namespace {

struct Result {
  double energy = 0.0;
  std::vector<double> std, forces, features;

  bool operator==(const Result&) const = default;
};

Result evaluate(Potential& potential, const scenes::Scene& scene) {
  Result r;
  r.std.resize(scene.n_atoms());
  r.forces.resize(3 * static_cast<std::size_t>(scene.n_atoms()));
  r.features.resize(potential.model().theta().size());
  PotentialOutput out{.energy = &r.energy, .forces = r.forces.data(), .features = r.features.data()};
  out.spreads.std = r.std.data();
  potential.evaluate(scene.view(), scene.centres, out, 1);
  return r;
}

ModelFile model_of_members() {
  const SnapParams p = scenes::params(2, 2);
  ModelFile file{.params = p, .theta = scenes::random_theta(p, 1)};
  for (int m = 0; m < 4; ++m) {
    const auto member = scenes::random_theta(p, 10 + m);
    file.members.insert(file.members.end(), member.begin(), member.end());
  }
  return file;
}

}  // namespace

TEST(concurrency, threads_share_a_potential) {
  const scenes::Scene scene(70, {6, 3}, 2, 5);
  Potential shared(model_of_members());
  const Result alone = evaluate(shared, scene);
  std::vector<int> wrong(6, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (int n = 0; n < 5; ++n) {
        wrong[t] += !(evaluate(shared, scene) == alone);
        wrong[t] += !(shared.cell_spread(alone.features, alone.energy).std > 0.0);
      }
    });
  for (auto& thread : threads) thread.join();
  for (int count : wrong) CHECK(count == 0);
}

TEST(concurrency, threads_with_potentials_of_their_own) {
  const scenes::Scene scene(70, {6, 3}, 2, 5);
  Potential first(model_of_members());
  const Result alone = evaluate(first, scene);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      Potential own(model_of_members());
      for (int n = 0; n < 5; ++n) wrong[t] += !(evaluate(own, scene) == alone);
    });
  for (auto& thread : threads) thread.join();
  for (int count : wrong) CHECK(count == 0);
}
