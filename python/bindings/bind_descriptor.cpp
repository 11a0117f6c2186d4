#include "bindings.hpp"
#include "mliuq/snap_params.hpp"

namespace mliuq::bindings {

void register_descriptor(py::module_& module) {
  py::class_<SnapParams>(module, "SnapParams")
      .def(py::init<>())
      .def_readwrite("twojmax", &SnapParams::twojmax)
      .def_readwrite("rcutfac", &SnapParams::rcutfac)
      .def_readwrite("rfac0", &SnapParams::rfac0)
      .def_readwrite("rmin0", &SnapParams::rmin0)
      .def_readwrite("switchflag", &SnapParams::switchflag)
      .def_readwrite("bzeroflag", &SnapParams::bzeroflag)
      .def_readwrite("bnormflag", &SnapParams::bnormflag)
      .def_readwrite("chemflag", &SnapParams::chemflag)
      .def_readwrite("wselfallflag", &SnapParams::wselfallflag)
      .def_readwrite("switchinnerflag", &SnapParams::switchinnerflag)
      .def_readwrite("quadraticflag", &SnapParams::quadraticflag)
      .def_readwrite("elements", &SnapParams::elements)
      .def_readwrite("radii", &SnapParams::radii)
      .def_readwrite("weights", &SnapParams::weights)
      .def_readwrite("sinner", &SnapParams::sinner)
      .def_readwrite("dinner", &SnapParams::dinner)
      .def_property_readonly("n_elements", &SnapParams::n_elements)
      .def_property_readonly("n_components", &SnapParams::n_components)
      .def_property_readonly("n_weights", &SnapParams::n_weights)
      .def_property_readonly("max_cutoff", &SnapParams::max_cutoff)
      .def("validate", &SnapParams::validate);
}

}  // namespace mliuq::bindings
