#include "bindings.hpp"
#include "kernel_choice.hpp"

namespace mliuq::bindings {

KernelChoice kernel_choice(const std::string& kernel, const std::string& precision) {
  if (precision != "double" && precision != "single")
    throw Error("precision is '" + precision + "', expected 'double' or 'single'");
  const Precision bits = precision == "single" ? Precision::single_precision : Precision::double_precision;
  if (kernel.empty()) return KernelChoice::automatic(bits);
  std::string names;
  for (InstructionSet set : available_instruction_sets()) {
    if (kernel == to_string(set)) return {set, bits};
    names += (names.empty() ? "" : ", ") + std::string(to_string(set));
  }
  throw Error("kernel is '" + kernel + "', expected one that this machine runs: " + names);
}

void register_kernel(py::module_& module) {
  module.def("available_kernels", [] {
    std::vector<std::string> names;
    for (InstructionSet set : available_instruction_sets()) names.emplace_back(to_string(set));
    return names;
  });
  module.def(
      "default_plan",
      [](int twojmax) {
        SnapParams params;
        params.twojmax = twojmax;
        params.elements = {"X"};
        params.radii = {0.5};
        params.weights = {1.0};
        const auto model = EnergyModel::zero(1, params.n_components());
        const auto plan = make_kernel(params, model, KernelChoice::automatic())->plan();
        return std::string(plan ? to_string(*plan) : "none");
      },
      py::arg("twojmax") = 8, "How the default kernel sums over neighbours: recursion, polynomial, or none.");
  module.def("default_kernel", [] { return std::string(to_string(KernelChoice::automatic().instruction_set)); });
}

}  // namespace mliuq::bindings
