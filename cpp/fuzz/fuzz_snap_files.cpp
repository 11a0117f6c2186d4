// Any bytes as a published potential. Input: coefficients, a zero byte, parameters.

#include "mliuq/snap_files.hpp"
#include "scratch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(text.find('\0'), size);
  static Scratch coeff, param;
  coeff.write({text.substr(0, cut)});
  param.write({text.substr(std::min(cut + 1, size))});
  try {
    const mliuq::SnapPotential potential = mliuq::read_snap_files(coeff.path(), param.path());
    for (double weight : potential.theta)
      if (!std::isfinite(weight)) __builtin_trap();
  } catch (const mliuq::Error& error) {
    require_printable(error.what());
  }
  return 0;
}
