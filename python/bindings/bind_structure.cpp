#include "bindings.hpp"
#include "mliuq/packed_structure.hpp"

namespace mliuq::bindings {
namespace {

/// Every listed pair: atom, owner of its neighbour, and the vector between them, Å.
py::tuple pairs(const PackedStructure& structure) {
  const Neighbourhood& atoms = structure.neighbourhood();
  std::vector<int> first, second;
  std::vector<double> vectors;
  for (int i : structure.centres())
    for (int n = 0; n < atoms.n_neighbours[i]; ++n) {
      const int j = atoms.neighbours[i][n];
      first.push_back(i);
      second.push_back(structure.owners()[j]);
      for (int x = 0; x < 3; ++x) vectors.push_back(atoms.positions[3 * j + x] - atoms.positions[3 * i + x]);
    }
  const py::ssize_t n = static_cast<py::ssize_t>(first.size());
  return py::make_tuple(py::array_t<int>(n, first.data()), py::array_t<int>(n, second.data()),
                        py::array_t<double>({n, py::ssize_t{3}}, vectors.data()));
}

}  // namespace

void register_structure(py::module_& module) {
  py::class_<PackedStructure>(module, "PackedStructure")
      .def(py::init([](const Array<double>& positions, const Array<int>& species, const Array<double>& cell,
                       const Array<std::uint64_t>& pairs, const Array<std::int64_t>& shifts,
                       const Array<std::int64_t>& basis, const Array<std::int64_t>& wraps, int n_elements,
                       double volume) {
             const PeriodicPairs list{.positions = to_span(positions),
                                      .species = to_span(species),
                                      .cell = to_span(cell),
                                      .pairs = to_span(pairs),
                                      .shifts = to_span(shifts),
                                      .basis = to_span(basis),
                                      .wraps = to_span(wraps)};
             return std::make_unique<PackedStructure>(unfold(list), n_elements, volume);
           }),
           py::arg("positions"), py::arg("species"), py::arg("cell"), py::arg("pairs"), py::arg("shifts"),
           py::arg("basis"), py::arg("wraps"), py::arg("n_elements"), py::arg("volume"))
      .def("pairs", &pairs)
      .def("move", [](PackedStructure& self, const Array<double>& x) { self.move_owned(to_span(x)); })
      .def_property_readonly("n_owned", &PackedStructure::n_owned)
      .def_property_readonly("n_atoms", &PackedStructure::n_atoms)
      .def_property_readonly("volume", &PackedStructure::volume);
}

}  // namespace mliuq::bindings
