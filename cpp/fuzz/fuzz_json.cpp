// Any bytes as JSON.

#include "json.hpp"
#include "scratch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    mliuq::Json::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const mliuq::Error& error) {
    require_printable(error.what());
  }
  return 0;
}
