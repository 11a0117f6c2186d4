// Any bytes as a model file. Input: two bytes of header length, header, arrays; so a mutation seldom breaks the length.

#include <sstream>

#include "mliuq/model_file.hpp"
#include "scratch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint64_t header_size = data[0] | std::uint64_t{data[1]} << 8;
  std::string content(reinterpret_cast<const char*>(&header_size), 8);
  content.append(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::istringstream stream(content);
  try {
    const mliuq::ModelFile model = mliuq::read_model_file(stream, "fuzz");
    if (model.theta.size() != static_cast<std::size_t>(model.params.n_elements()) * model.params.n_weights())
      __builtin_trap();
  } catch (const mliuq::Error& error) {
    require_printable(error.what());
  }
  return 0;
}
