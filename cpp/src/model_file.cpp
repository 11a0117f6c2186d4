#include "mliuq/model_file.hpp"

// Container: safetensors (8-byte little-endian header length, JSON header, raw arrays). The header's `__metadata__`
// holds one key, "mliuq", with a JSON text of its own: format version, elements, parameters, calibration.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>

#include "json.hpp"
#include "mliuq/error.hpp"

static_assert(std::endian::native == std::endian::little, "model files are little-endian");

namespace mliuq {
namespace {

constexpr int kFormatVersion = 1;
constexpr std::uint64_t kMaxHeader = 100'000'000;

/// The arrays of a safetensors file, read one by one.
class TensorFile {
 public:
  explicit TensorFile(const std::string& path) : path_(path), stream_(path, std::ios::binary) {
    if (!stream_) throw Error(path + ": cannot be opened for reading, expected a .mliuq model file");
    stream_.seekg(0, std::ios::end);
    const auto end = stream_.tellg();
    if (end < 0) throw Error(path + ": cannot be read, expected a .mliuq model file");
    size_ = static_cast<std::uint64_t>(end);
    std::uint64_t header_size = 0;
    read(0, &header_size, sizeof header_size, "header length");
    if (header_size > kMaxHeader || header_size > size_ - 8)
      throw Error(path + ": not a .mliuq model file: its header claims " + std::to_string(header_size) +
                  " bytes, the file has " + std::to_string(size_));
    std::string text(header_size, '\0');
    read(8, text.data(), header_size, "header");
    data_start_ = 8 + header_size;
    header_ = Json::parse(text, path);
    check_end();
  }

  Json metadata() const {
    const Json* all = header_.find("__metadata__");
    const Json* ours = all ? all->find("mliuq") : nullptr;
    if (!ours) throw Error(path_ + ": a safetensors file without mliuq metadata, expected a .mliuq model file");
    return Json::parse(ours->as_string(), path_);
  }

  bool has(const std::string& name) const { return header_.find(name) != nullptr; }

  /// Array of float64 with the expected shape; −1 matches any extent and is filled in.
  std::vector<double> array(const std::string& name, std::vector<long long>& shape) {
    const Json* entry = header_.find(name);
    if (!entry) throw Error(path_ + ": array \"" + name + "\" is missing");
    if (const auto& dtype = entry->at("dtype").as_string(); dtype != "F64")
      throw Error(path_ + ": array \"" + name + "\" has type " + dtype + ", expected F64");
    const auto& found = entry->at("shape").as_array();
    bool fits = found.size() == shape.size();
    std::uint64_t count = 1;
    for (std::size_t d = 0; d < found.size(); ++d) {
      const long long extent = found[d].as_integer();
      if (extent < 0 || (extent > 0 && count > size_ / static_cast<std::uint64_t>(extent))) fits = false;
      if (!fits) break;
      if (shape[d] < 0) shape[d] = extent;
      fits = extent == shape[d];
      count *= static_cast<std::uint64_t>(extent);
    }
    if (!fits) throw Error(path_ + ": array \"" + name + "\" has shape " + text(found) + ", expected " + text(shape));
    const auto& offsets = entry->at("data_offsets").as_array();
    if (offsets.size() != 2) throw Error(path_ + ": array \"" + name + "\": data_offsets must have two entries");
    const long long begin = offsets[0].as_integer(), end = offsets[1].as_integer();
    if (begin < 0 || end < begin || static_cast<std::uint64_t>(end - begin) != count * sizeof(double))
      throw Error(path_ + ": array \"" + name + "\" spans bytes " + std::to_string(begin) + " to " +
                  std::to_string(end) + ", expected " + std::to_string(count * sizeof(double)) + " bytes");
    std::vector<double> values(count);
    read(data_start_ + static_cast<std::uint64_t>(begin), values.data(), count * sizeof(double), "array " + name);
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        throw Error(path_ + ": array \"" + name + "\" holds a value that is not finite at position " +
                    std::to_string(i));
    return values;
  }

 private:
  /// The arrays end where the file ends: neither cut off nor followed by something else.
  void check_end() const {
    std::uint64_t end = 0;
    for (const auto& [name, entry] : header_.as_object()) {
      if (name == "__metadata__") continue;
      const auto& offsets = entry.at("data_offsets").as_array();
      for (const Json& offset : offsets)
        if (const long long value = offset.as_integer(); value > 0) end = std::max<std::uint64_t>(end, value);
    }
    if (end != size_ - data_start_)
      throw Error(path_ + ": truncated or damaged: the header promises " + std::to_string(end) +
                  " bytes of arrays, the file has " + std::to_string(size_ - data_start_));
  }

  void read(std::uint64_t at, void* to, std::uint64_t count, const std::string& what) {
    if (at > size_ || count > size_ - at)
      throw Error(path_ + ": truncated: " + what + " needs " + std::to_string(at + count) + " bytes, the file has " +
                  std::to_string(size_));
    stream_.seekg(static_cast<std::streamoff>(at));
    stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(count));
    if (!stream_) throw Error(path_ + ": reading " + what + " failed");
  }

  static std::string text(const Json::Array& shape) {
    std::string out = "(";
    for (const Json& extent : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(extent.as_integer());
    return out + ")";
  }
  static std::string text(const std::vector<long long>& shape) {
    std::string out = "(";
    for (long long extent : shape) out += (out.size() > 1 ? ", " : "") + (extent < 0 ? "any" : std::to_string(extent));
    return out + ")";
  }

  std::string path_;
  std::ifstream stream_;
  std::uint64_t size_ = 0;
  std::uint64_t data_start_ = 0;
  Json header_;
};

std::vector<double> numbers(const Json& list) {
  std::vector<double> values;
  for (const Json& value : list.as_array()) values.push_back(value.as_number());
  return values;
}

SnapParams read_params(const Json& metadata) {
  SnapParams p;
  for (const Json& element : metadata.at("elements").as_array()) p.elements.push_back(element.as_string());
  const Json& snap = metadata.at("snap");
  for (const auto& [key, value] : snap.as_object()) {
    if (key == "twojmax")
      p.twojmax = static_cast<int>(std::clamp(value.as_integer(), -1'000'000LL, 1'000'000LL));
    else if (key == "rcutfac")
      p.rcutfac = value.as_number();
    else if (key == "rfac0")
      p.rfac0 = value.as_number();
    else if (key == "rmin0")
      p.rmin0 = value.as_number();
    else if (key == "switchflag")
      p.switchflag = value.as_bool();
    else if (key == "bzeroflag")
      p.bzeroflag = value.as_bool();
    else if (key == "bnormflag")
      p.bnormflag = value.as_bool();
    else if (key == "chemflag")
      p.chemflag = value.as_bool();
    else if (key == "wselfallflag")
      p.wselfallflag = value.as_bool();
    else if (key == "switchinnerflag")
      p.switchinnerflag = value.as_bool();
    else if (key == "quadraticflag")
      p.quadraticflag = value.as_bool();
    else if (key == "radii")
      p.radii = numbers(value);
    else if (key == "weights")
      p.weights = numbers(value);
    else if (key == "sinner")
      p.sinner = numbers(value);
    else if (key == "dinner")
      p.dinner = numbers(value);
    else
      throw Error("snap." + key + " is not a SNAP parameter this version knows");
  }
  for (const char* key : {"twojmax", "rcutfac", "radii", "weights"}) snap.at(key);
  p.validate();
  return p;
}

/// Optional number of an optional object, with a default.
double number_or(const Json& metadata, const char* section, const char* key, double fallback) {
  const Json* object = metadata.find(section);
  const Json* value = object && !object->is_null() ? object->find(key) : nullptr;
  if (!value || value->is_null()) return fallback;
  if (value->as_number() < 0.0)
    throw Error(std::string(section) + "." + key + " is negative, expected a number of at least 0");
  return value->as_number();
}

ErrorScale read_error_scale(const Json& metadata) {
  return {.alpha_energy = number_or(metadata, "calibration", "alpha_energy", 1.0),
          .alpha_force = number_or(metadata, "calibration", "alpha_force", 1.0),
          .alpha_stress = number_or(metadata, "calibration", "alpha_stress", 1.0),
          .noise_energy = number_or(metadata, "noise", "energy", 0.0),
          .noise_force = number_or(metadata, "noise", "force", 0.0),
          .noise_stress = number_or(metadata, "noise", "stress", 0.0)};
}

ModelFile read_checked(TensorFile& file, const std::string& path) {
  const Json metadata = file.metadata();
  if (const long long version = metadata.at("format_version").as_integer(); version != kFormatVersion)
    throw Error(path + ": format_version is " + std::to_string(version) + ", expected " +
                std::to_string(kFormatVersion) + (version > kFormatVersion ? "; this model needs a newer mliuq" : ""));
  ModelFile model;
  try {
    model.params = read_params(metadata);
    model.error_scale = read_error_scale(metadata);
  } catch (const Error& error) {
    const std::string message = error.what();
    throw Error(message.starts_with(path) ? message : path + ": " + message);
  }
  if (const Json* zbl = metadata.find("zbl"); zbl && !zbl->is_null()) {
    model.zbl = ZblRange{zbl->at("inner").as_number(), zbl->at("outer").as_number()};
    if (!(model.zbl->inner > 0.0 && model.zbl->outer > model.zbl->inner))
      throw Error(path + ": zbl has inner " + std::to_string(model.zbl->inner) + " and outer " +
                  std::to_string(model.zbl->outer) + ", expected 0 < inner < outer (Å)");
  }
  const long long n_elements = model.params.n_elements(), P = model.params.n_weights();
  std::vector<long long> shape = {n_elements, P};
  model.theta = file.array("theta", shape);
  if (file.has("members")) {
    shape = {-1, n_elements, P};
    model.members = file.array("members", shape);
    if (shape[0] == 0) throw Error(path + ": array \"members\" holds no member, expected at least one");
  }
  if (file.has("extrapolation.factor")) {
    shape = {n_elements * P, n_elements * P};
    model.extrapolation_factor = file.array("extrapolation.factor", shape);
  }
  return model;
}

}  // namespace

ModelFile read_model_file(const std::string& path) {
  TensorFile file(path);
  return read_checked(file, path);
}

}  // namespace mliuq
