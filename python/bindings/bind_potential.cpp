#include <set>

#include "bindings.hpp"
#include "kernel_choice.hpp"
#include "mliuq/packed_structure.hpp"
#include "mliuq/potential.hpp"
#include "mliuq/structure_spreads.hpp"

namespace mliuq::bindings {
namespace {

/// Rows of the owned atoms: images come after them and were folded back.
py::array owned(const py::array_t<double>& values, int n_owned) { return py::array(values[py::slice(0, n_owned, 1)]); }

py::dict evaluate(Potential& potential, const PackedStructure& structure, bool forces, bool virial, bool spreads,
                  bool committee, bool atom_committee, bool extrapolation, bool atom_virials, bool box, bool extremes,
                  int threads) {
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
  }
  if (spreads && extremes) {
    want("energies_min", out.spreads.min, {n});
    want("energies_max", out.spreads.max, {n});
  }
  if (box) {
    want("energies_box_min", out.spreads.box_min, {n});
    want("energies_box_max", out.spreads.box_max, {n});
  }
  if (extrapolation) want("extrapolation", out.extrapolation, {n});
  const py::ssize_t n_members = potential.ensemble() ? potential.ensemble()->n_members() : 0;
  const auto energies_of_members = zeros({atom_committee ? n_members : 0, n});
  if (atom_committee) {
    out.spreads.committee = const_cast<double*>(energies_of_members.data());
    out.spreads.n_atoms = n;
  }
  if (spreads || committee || box) out.features = features.data();
  double virial_sum[6] = {};
  if (virial) out.virial = virial_sum;
  {
    py::gil_scoped_release release;
    potential.evaluate(structure.neighbourhood(), structure.centres(), out, threads);
    if (forces) structure.fold({out.forces, static_cast<std::size_t>(3 * n)}, 3);
    if (atom_virials) structure.fold({out.atom_virials, static_cast<std::size_t>(6 * n)}, 6);
  }
  for (const auto& [name, array] : per_atom) result[name] = owned(array, n_owned);
  if (atom_committee)
    result["energies_comm"] = py::array(energies_of_members[py::make_tuple(py::ellipsis(), py::slice(0, n_owned, 1))]);
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
  if (box) {
    double least = 0.0, most = 0.0;
    potential.ensemble()->row_spreads(features, {.box_least = &least, .box_most = &most}, 1);
    result["energy_box_min"] = energy + least;
    result["energy_box_max"] = energy + most;
  }
  if (spreads) result["features"] = py::array_t<double>(static_cast<py::ssize_t>(features.size()), features.data());
  return result;
}

/// Arrays [rows…] of the spreads asked for, moves about the best fit; put into the result under prefix_name.
class Wanted {
 public:
  Wanted(const Potential& potential, std::string prefix, std::vector<py::ssize_t> shape,
         const std::set<std::string>& names)
      : prefix_(std::move(prefix)), shape_(std::move(shape)) {
    for (const auto& [name, target] : {std::pair{"std", &MoveSpreads::std},
                                       {"least", &MoveSpreads::least},
                                       {"most", &MoveSpreads::most},
                                       {"box_least", &MoveSpreads::box_least},
                                       {"box_most", &MoveSpreads::box_most},
                                       {"comm", &MoveSpreads::committee}}) {
      if (!names.count(prefix_ + name)) continue;
      auto shape = shape_;
      if (target == &MoveSpreads::committee)
        shape.insert(shape.begin(), potential.ensemble() ? potential.ensemble()->n_members() : 0);
      arrays_.emplace_back(prefix_ + name, zeros(std::move(shape)));
      out.*target = arrays_.back().second.mutable_data();
    }
  }
  void put(py::dict& result) const {
    for (const auto& [name, array] : arrays_) result[name.c_str()] = array;
  }
  MoveSpreads out;

 private:
  std::string prefix_;
  std::vector<py::ssize_t> shape_;
  std::vector<std::pair<std::string, py::array_t<double>>> arrays_;
};

py::dict row_spreads(Potential& potential, const PackedStructure& structure, const std::set<std::string>& names,
                     int threads, int tile) {
  Wanted forces(potential, "forces_", {structure.n_owned(), 3}, names);
  Wanted strain(potential, "strain_", {6}, names);
  {
    py::gil_scoped_release release;
    structure_spreads(potential, structure, forces.out, strain.out, threads, tile);
  }
  py::dict result;
  forces.put(result);
  strain.put(result);
  return result;
}

/// The same of any design rows [n][n_elements·P].
py::dict spreads_of_rows(const Potential& potential, const Array<double>& rows, const std::set<std::string>& names,
                         int threads) {
  const auto width = static_cast<py::ssize_t>(potential.model().theta().size());
  if (rows.ndim() != 2 || rows.shape(1) != width)
    throw Error("spreads of rows: expected rows of " + std::to_string(width) + " numbers, one for each weight");
  if (!potential.ensemble())
    throw Error("spreads were asked of a model without members, expected a model fitted with a posterior");
  Wanted wanted(potential, "", {rows.shape(0)}, names);
  {
    py::gil_scoped_release release;
    potential.ensemble()->row_spreads(to_span(rows), wanted.out, threads);
  }
  py::dict result;
  wanted.put(result);
  return result;
}

py::array std_gradient(Potential& potential, const PackedStructure& structure, const Array<double>& features,
                       int threads) {
  if (features.size() != static_cast<py::ssize_t>(potential.model().theta().size()))
    throw Error("gradient of energy_std: " + std::to_string(features.size()) + " features, expected " +
                std::to_string(potential.model().theta().size()));
  const py::ssize_t n = structure.n_atoms();
  const auto gradient = zeros({n, 3});
  double* const to = const_cast<double*>(gradient.data());
  {
    py::gil_scoped_release release;
    potential.energy_std_gradient(structure.neighbourhood(), structure.centres(), to_span(features), 1.0, to, threads);
    structure.fold({to, static_cast<std::size_t>(3 * n)}, 3);
  }
  return owned(gradient, structure.n_owned());
}

py::array atom_std_gradient(Potential& potential, const PackedStructure& structure, const Array<double>& scales,
                            int threads) {
  if (scales.size() != structure.n_owned())
    throw Error("gradient of energies_std: " + std::to_string(scales.size()) + " scales for " +
                std::to_string(structure.n_owned()) + " atoms");
  const py::ssize_t n = structure.n_atoms();
  const auto gradient = zeros({n, 3});
  double* const to = const_cast<double*>(gradient.data());
  {
    py::gil_scoped_release release;
    potential.atom_std_gradient(structure.neighbourhood(), structure.centres(), scales.data(), to, threads);
    structure.fold({to, static_cast<std::size_t>(3 * n)}, 3);
  }
  return owned(gradient, structure.n_owned());
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
      .def_property_readonly("has_box",
                             [](const Potential& self) { return self.ensemble() && self.ensemble()->has_box(); })
      .def_property_readonly("has_extrapolation", [](const Potential& self) { return self.extrapolation() != nullptr; })
      .def("evaluate", &evaluate, py::arg("structure"), py::kw_only(), py::arg("forces") = true,
           py::arg("virial") = true, py::arg("spreads") = false, py::arg("committee") = false,
           py::arg("atom_committee") = false, py::arg("extrapolation") = false, py::arg("atom_virials") = false,
           py::arg("box") = false, py::arg("extremes") = true, py::arg("threads") = 0)
      .def("row_spreads", &row_spreads, py::arg("structure"), py::arg("names"), py::kw_only(), py::arg("threads") = 0,
           py::arg("tile") = 0)
      .def("spreads_of_rows", &spreads_of_rows, py::arg("rows"), py::arg("names"), py::kw_only(),
           py::arg("threads") = 0)
      .def("energy_std_gradient", &std_gradient, py::arg("structure"), py::arg("features"), py::kw_only(),
           py::arg("threads") = 0)
      .def("energies_std_gradient", &atom_std_gradient, py::arg("structure"), py::arg("scales"), py::kw_only(),
           py::arg("threads") = 0);
}

}  // namespace mliuq::bindings
