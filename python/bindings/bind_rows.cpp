#include "bindings.hpp"
#include "kernel_choice.hpp"
#include "mliuq/design_rows.hpp"
#include "mliuq/zbl.hpp"

namespace mliuq::bindings {
namespace {

py::list build_rows(const RowBuilder& builder, const std::vector<const PackedStructure*>& structures, bool energy,
                    bool forces, bool stress, int threads) {
  const RowRequest request{energy, forces, stress};
  py::list result;
  std::vector<double*> rows;
  for (const PackedStructure* structure : structures) {
    if (!structure) throw Error("design rows: found None among the structures");
    py::array_t<double> array({static_cast<py::ssize_t>(request.n_rows(structure->n_owned())),
                               static_cast<py::ssize_t>(builder.n_columns())});
    rows.push_back(array.mutable_data());
    result.append(std::move(array));
  }
  py::gil_scoped_release release;
  builder.build_all(structures, request, rows, threads);
  return result;
}

/// A kernel without weights: descriptors and their derivatives.
class Descriptor {
 public:
  Descriptor(const SnapParams& params, const std::string& kernel)
      : params_(params),
        kernel_(make_kernel(params, EnergyModel::zero(params.n_elements(), params.n_components()),
                            kernel_choice(kernel, "double"))) {}

  py::tuple compute(const PackedStructure& structure, bool derivatives) const {
    const py::ssize_t K = params_.n_components();
    auto B = zeros({structure.n_owned(), K});
    DescriptorDerivatives d;
    {
      py::gil_scoped_release release;
      compute_descriptors(*kernel_, params_, structure, {B.mutable_data(), static_cast<std::size_t>(B.size())},
                          derivatives ? &d : nullptr);
    }
    py::array_t<double> dB({static_cast<py::ssize_t>(d.centre.size()), static_cast<py::ssize_t>(3), K});
    std::copy(d.dB.begin(), d.dB.end(), dB.mutable_data());
    return py::make_tuple(B, py::array_t<int>(d.centre.size(), d.centre.data()),
                          py::array_t<int>(d.atom.size(), d.atom.data()), dB);
  }

 private:
  SnapParams params_;
  std::unique_ptr<Kernel> kernel_;
};

py::tuple evaluate_zbl(const std::vector<std::string>& elements, double inner, double outer,
                       const PackedStructure& structure) {
  const Zbl zbl(elements, inner, outer);
  require_species(structure.neighbourhood(), static_cast<int>(elements.size()));
  const py::ssize_t n = structure.n_atoms();
  auto energies = zeros({n}), forces = zeros({n, 3});
  double virial[6] = {};
  zbl.evaluate(structure.neighbourhood(), structure.centres(),
               {.energies = energies.mutable_data(), .forces = forces.mutable_data(), .virial = virial});
  structure.fold({forces.mutable_data(), static_cast<std::size_t>(forces.size())}, 3);
  const py::slice owned(0, structure.n_owned(), 1);
  return py::make_tuple(py::array(energies[owned]), py::array(forces[owned]), py::array_t<double>(6, virial));
}

}  // namespace

void register_rows(py::module_& module) {
  py::class_<RowBuilder>(module, "RowBuilder")
      .def(py::init([](const SnapParams& params, const std::string& kernel) {
             return std::make_unique<RowBuilder>(params, kernel_choice(kernel, "double"));
           }),
           py::arg("params"), py::arg("kernel") = "")
      .def_property_readonly("n_columns", &RowBuilder::n_columns)
      .def("build", &build_rows, py::arg("structures"), py::kw_only(), py::arg("energy") = true,
           py::arg("forces") = true, py::arg("stress") = false, py::arg("threads") = 0);
  py::class_<Descriptor>(module, "Descriptor")
      .def(py::init<const SnapParams&, const std::string&>(), py::arg("params"), py::arg("kernel") = "")
      .def("compute", &Descriptor::compute, py::arg("structure"), py::arg("derivatives") = false);
  module.def(
      "validate_zbl", [](double inner, double outer) { ZblRange{inner, outer}.validate(); }, py::arg("inner"),
      py::arg("outer"));
  module.def("evaluate_zbl", &evaluate_zbl, py::arg("elements"), py::arg("inner"), py::arg("outer"),
             py::arg("structure"));
}

}  // namespace mliuq::bindings
