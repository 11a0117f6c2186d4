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
  module.def("default_kernel", [] { return std::string(to_string(KernelChoice::automatic().instruction_set)); });
}

}  // namespace mliuq::bindings
