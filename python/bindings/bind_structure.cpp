#include "bindings.hpp"
#include "mliuq/packed_structure.hpp"

namespace mliuq::bindings {

void register_structure(py::module_& module) {
  py::class_<PackedStructure>(module, "PackedStructure")
      .def(py::init([](const Array<double>& positions, const Array<int>& species, const Array<int>& owners,
                       const Array<int>& offsets, const Array<int>& indices, int n_elements, double volume) {
             return std::make_unique<PackedStructure>(to_vector(positions), to_vector(species), to_vector(owners),
                                                      to_vector(offsets), to_vector(indices), n_elements, volume);
           }),
           py::arg("positions"), py::arg("species"), py::arg("owners"), py::arg("offsets"), py::arg("indices"),
           py::arg("n_elements"), py::arg("volume"))
      .def("set_positions", [](PackedStructure& self, const Array<double>& x) { self.set_positions(to_span(x)); })
      .def_property_readonly("n_owned", &PackedStructure::n_owned)
      .def_property_readonly("n_atoms", &PackedStructure::n_atoms)
      .def_property_readonly("volume", &PackedStructure::volume);
}

}  // namespace mliuq::bindings
