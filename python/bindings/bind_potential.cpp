#include "bindings.hpp"
#include "kernel_choice.hpp"
#include "mliuq/packed_structure.hpp"
#include "mliuq/potential.hpp"

namespace mliuq::bindings {
namespace {

/// Rows of the owned atoms: images come after them and were folded back.
py::array owned(const py::array_t<double>& values, int n_owned) { return py::array(values[py::slice(0, n_owned, 1)]); }

py::dict evaluate(Potential& potential, const PackedStructure& structure, bool forces, bool virial, bool spreads,
                  bool committee, bool extrapolation, bool atom_virials, int threads) {
  const py::ssize_t n = structure.n_atoms();
  const int n_owned = structure.n_owned();
  double energy = 0.0;
  std::vector<double> features(potential.model().theta().size());
  const auto atom_energies = zeros({n});
  py::dict result;
  PotentialOutput out{.energy = &energy, .atom_energies = const_cast<double*>(atom_energies.data())};
  std::vector<std::pair<const char*, py::array_t<double>>> per_atom = {{"energies", atom_energies}};
  const auto want = [&](const char* name, double*& target, std::vector<py::ssize_t> shape) {
    auto array = zeros(std::move(shape));
    target = array.mutable_data();
    per_atom.emplace_back(name, array);
  };
  if (forces) want("forces", out.forces, {n, 3});
  if (atom_virials) want("atom_virials", out.atom_virials, {n, 6});
  if (spreads) {
    want("energies_std", out.spreads.std, {n});
    want("energies_min", out.spreads.min, {n});
    want("energies_max", out.spreads.max, {n});
  }
  if (extrapolation) want("extrapolation", out.spreads.extrapolation, {n});
  if (spreads || committee) out.features = features.data();
  double virial_sum[6] = {};
  if (virial) out.virial = virial_sum;
  {
    py::gil_scoped_release release;
    potential.evaluate(structure.neighbourhood(), structure.centres(), out, threads);
    if (forces) structure.fold({out.forces, static_cast<std::size_t>(3 * n)}, 3);
    if (atom_virials) structure.fold({out.atom_virials, static_cast<std::size_t>(6 * n)}, 6);
  }
  for (const auto& [name, array] : per_atom) result[name] = owned(array, n_owned);
  result["energy"] = energy;
  if (virial) result["virial"] = py::array_t<double>(6, virial_sum);
  if (spreads) {
    const Spread spread = potential.cell_spread(features, energy);
    result["energy_std"] = spread.std;
    result["energy_min"] = spread.min;
    result["energy_max"] = spread.max;
    result["energy_err"] = energy_error(potential.error_scale(), spread.std, n_owned);
  }
  if (committee) {
    if (!potential.ensemble()) potential.committee(features, energy, {});
    py::array_t<double> energies(potential.ensemble()->n_members());
    potential.committee(features, energy, {energies.mutable_data(), static_cast<std::size_t>(energies.size())});
    result["energy_comm"] = energies;
  }
  return result;
}

}  // namespace

void register_potential(py::module_& module) {
  py::class_<Potential>(module, "Potential")
      .def(py::init([](ModelFile file, const std::string& kernel, const std::string& precision) {
             return std::make_unique<Potential>(std::move(file), kernel_choice(kernel, precision));
           }),
           py::arg("file"), py::arg("kernel") = "", py::arg("precision") = "double")
      .def_property_readonly("cutoff", &Potential::cutoff)
      .def_property_readonly("kernel", [](const Potential& self) { return self.kernel().name(); })
      .def_property_readonly("has_members", [](const Potential& self) { return self.ensemble() != nullptr; })
      .def_property_readonly(
          "has_extrapolation",
          [](const Potential& self) { return self.ensemble() && self.ensemble()->has_extrapolation(); })
      .def("evaluate", &evaluate, py::arg("structure"), py::kw_only(), py::arg("forces") = true,
           py::arg("virial") = true, py::arg("spreads") = false, py::arg("committee") = false,
           py::arg("extrapolation") = false, py::arg("atom_virials") = false, py::arg("threads") = 0);
}

}  // namespace mliuq::bindings
