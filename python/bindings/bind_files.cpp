#include "bindings.hpp"
#include "mliuq/model_file.hpp"
#include "mliuq/snap_files.hpp"

namespace mliuq::bindings {

using Box = std::tuple<Array<double>, Array<double>, Array<double>>;  // axes, lo, hi

void register_files(py::module_& module) {
  module.def("read_snap_files", [](const std::string& coeff_path, const std::string& param_path) {
    SnapPotential potential = read_snap_files(coeff_path, param_path);
    const py::ssize_t n_elements = potential.params.n_elements(), P = potential.params.n_weights();
    py::array_t<double> theta({n_elements, P});
    std::copy(potential.theta.begin(), potential.theta.end(), theta.mutable_data());
    return py::make_tuple(potential.params, theta);
  });
  module.def("snap_texts", [](const SnapParams& params, const Array<double>& theta) {
    const SnapTexts texts = snap_texts({params, to_vector(theta)});
    return py::make_tuple(texts.coeff, texts.param);
  });
  py::class_<ErrorScale>(module, "ErrorScale")
      .def(py::init<>())
      .def_readwrite("alpha_energy", &ErrorScale::alpha_energy)
      .def_readwrite("alpha_force", &ErrorScale::alpha_force)
      .def_readwrite("alpha_stress", &ErrorScale::alpha_stress)
      .def_readwrite("noise_energy", &ErrorScale::noise_energy)
      .def_readwrite("noise_force", &ErrorScale::noise_force)
      .def_readwrite("noise_stress", &ErrorScale::noise_stress);
  py::class_<ModelFile>(module, "ModelFile")
      .def(py::init([](const SnapParams& params, const Array<double>& theta, const Array<double>& members,
                       const Array<double>& extrapolation_factor, const std::optional<Box>& box,
                       const std::optional<std::pair<Array<double>, Array<double>>>& sharing,
                       std::optional<std::pair<double, double>> zbl, const ErrorScale& error_scale) {
             ModelFile file{.params = params,
                            .theta = to_vector(theta),
                            .members = to_vector(members),
                            .extrapolation_factor = to_vector(extrapolation_factor),
                            .error_scale = error_scale};
             if (box) {
               const auto& [axes, lo, hi] = *box;
               file.box = PosteriorBox{to_vector(axes), to_vector(lo), to_vector(hi)};
             }
             if (sharing) file.sharing = EnergySharing{to_vector(sharing->first), to_vector(sharing->second)};
             if (zbl) file.zbl = ZblRange{zbl->first, zbl->second};
             return file;
           }),
           py::arg("params"), py::arg("theta"), py::arg("members"), py::arg("extrapolation_factor"), py::arg("box"),
           py::arg("sharing"), py::arg("zbl"), py::arg("error_scale"))
      .def_readonly("params", &ModelFile::params)
      .def_readonly("error_scale", &ModelFile::error_scale);
  module.def("read_model_file", py::overload_cast<const std::string&>(&read_model_file),
             py::call_guard<py::gil_scoped_release>());
}

}  // namespace mliuq::bindings
