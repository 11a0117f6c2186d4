#include "bindings.hpp"

PYBIND11_MODULE(_core, module) {
  using namespace mliuq::bindings;
  module.doc() = "The C++ core of mliuq: descriptors, energies, forces, spreads, design rows, model files.";
  // mliuq.errors.MliuqError is a ValueError; the core raises that very class.
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> error_type;
  error_type.call_once_and_store_result([] { return py::module_::import("mliuq.errors").attr("MliuqError"); });
  py::register_exception_translator([](std::exception_ptr failure) {
    try {
      if (failure) std::rethrow_exception(failure);
    } catch (const mliuq::Error& error) {
      // A message may quote bytes of a damaged file that are not UTF-8.
      const std::string message = error.what();
      const auto text = py::reinterpret_steal<py::object>(
          PyUnicode_DecodeUTF8(message.data(), static_cast<py::ssize_t>(message.size()), "replace"));
      py::set_error(error_type.get_stored(), text);
    }
  });
  register_descriptor(module);
  register_kernel(module);
  register_structure(module);
  register_files(module);
  register_potential(module);
  register_rows(module);
  module.attr("version") = MLIUQ_VERSION;
  module.attr("compiler") = MLIUQ_COMPILER;
}
