#include "mliuq/model_file.hpp"

// Container: safetensors (8-byte little-endian header length, JSON header, raw arrays). The header's `__metadata__`
// holds "mliuq", a JSON text of its own (format version, elements, parameters, calibration), and "checksum".

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>
#include <utility>

#include "checksum.hpp"
#include "input_file.hpp"
#include "json.hpp"
#include "mliuq/error.hpp"

static_assert(std::endian::native == std::endian::little, "model files are little-endian");

namespace mliuq {
namespace {

constexpr int kFormatVersion = 1;
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kMaxDimensions = 16;

/// The arrays of a safetensors file. Construction checks the whole container: types, shapes, arrays that lie end to end
/// and end where the file ends, finite numbers, and the checksum where there is one.
class TensorFile {
 public:
  TensorFile(std::istream& stream, const std::string& path) : path_(path), stream_(stream) {
    stream_.seekg(0, std::ios::end);
    const auto end = stream_.tellg();
    if (end < 0) throw Error(path + ": cannot be read, expected a .mliuq model file");
    size_ = static_cast<std::uint64_t>(end);
    std::uint64_t header_size = 0;
    read(0, &header_size, sizeof header_size, "header length");
    if (header_size > kMaxHeader || header_size > size_ - 8)
      throw Error(path + ": not a .mliuq model file: its header claims " + std::to_string(header_size) +
                  " bytes, the file has " + std::to_string(size_));
    std::string header(header_size, '\0');
    read(8, header.data(), header_size, "header");
    data_start_ = 8 + header_size;
    read_table(Json::parse(header, path));
    check_data(header);
  }

  Json metadata() const {
    const auto ours = texts_.find("mliuq");
    if (ours == texts_.end())
      throw Error(path_ + ": a safetensors file without mliuq metadata, expected a .mliuq model file");
    return Json::parse(ours->second, path_);
  }

  bool has(const std::string& name) const { return find(name) != entries_.end(); }

  /// Refuses an array of another than the expected shape; −1 matches any extent and is filled in.
  void check_shape(const std::string& name, std::vector<long long>& shape) const { entry_of(name, shape); }

  /// Array of float64 with the expected shape; −1 matches any extent and is filled in.
  std::vector<double> array(const std::string& name, std::vector<long long>& shape) {
    const Entry& entry = entry_of(name, shape);
    std::vector<double> values((entry.end - entry.begin) / sizeof(double));
    read(data_start_ + entry.begin, values.data(), entry.end - entry.begin, "array " + name);
    return values;
  }

 private:
  struct Entry {
    std::string name;
    std::vector<long long> shape;
    std::uint64_t begin, end;  // bytes of the data
  };

  std::vector<Entry>::const_iterator find(const std::string& name) const {
    return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
  }

  const Entry& entry_of(const std::string& name, std::vector<long long>& shape) const {
    const auto entry = find(name);
    if (entry == entries_.end()) throw Error(path_ + ": array \"" + name + "\" is missing");
    bool fits = entry->shape.size() == shape.size();
    for (std::size_t d = 0; fits && d < shape.size(); ++d) fits = shape[d] < 0 || shape[d] == entry->shape[d];
    if (!fits)
      throw Error(path_ + ": array \"" + name + "\" has shape " + text(entry->shape) + ", expected " + text(shape));
    shape = entry->shape;
    return *entry;
  }

  /// Texts of `__metadata__`, and the arrays in the order of the file: they lie end to end and fill it.
  void read_table(const Json& header) {
    for (const auto& [name, value] : header.as_object()) {
      if (name == "__metadata__")
        read_texts(value);
      else
        entries_.push_back(read_entry(name, value));
    }
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    std::uint64_t end = 0;
    for (const Entry& entry : entries_) {
      if (entry.begin != end)
        throw Error(path_ + ": array \"" + entry.name + "\" begins at byte " + std::to_string(entry.begin) +
                    " of the data, expected " + std::to_string(end) + ", where the one before it ends");
      end = entry.end;
    }
    if (end != size_ - data_start_)
      throw Error(path_ + ": truncated or damaged: the header promises " + std::to_string(end) +
                  " bytes of arrays, the file has " + std::to_string(size_ - data_start_));
  }

  /// Unknown names are refused: "chdcksum" must not stand for a file without a checksum.
  void read_texts(const Json& metadata) {
    for (const auto& [key, text] : metadata.as_object()) {
      if (key != "mliuq" && key != "checksum" && key != "format")
        throw Error(path_ + ": __metadata__ has a key \"" + key + "\", expected mliuq and checksum");
      texts_[key] = text.as_string();
    }
  }

  Entry read_entry(const std::string& name, const Json& json) const {
    Entry entry{name, {}, 0, 0};
    if (const auto& dtype = json.at("dtype").as_string(); dtype != "F64")
      throw Error(path_ + ": array \"" + name + "\" has type " + dtype + ", expected F64");
    const auto& shape = json.at("shape").as_array();
    if (shape.size() > kMaxDimensions)
      throw Error(path_ + ": array \"" + name + "\" has " + std::to_string(shape.size()) +
                  " dimensions, expected at most " + std::to_string(kMaxDimensions));
    std::uint64_t count = 1;
    for (const Json& extent : shape) {
      entry.shape.push_back(extent.as_integer());
      const auto n = static_cast<std::uint64_t>(entry.shape.back());
      if (entry.shape.back() < 0 || (n > 0 && count > size_ / n))
        throw Error(path_ + ": array \"" + name + "\" has shape " + text(entry.shape) + ", more than the file holds");
      count *= n;
    }
    const auto& offsets = json.at("data_offsets").as_array();
    if (offsets.size() != 2) throw Error(path_ + ": array \"" + name + "\": data_offsets must have two entries");
    const long long begin = offsets[0].as_integer(), end = offsets[1].as_integer();
    if (begin < 0 || end < begin || static_cast<std::uint64_t>(end - begin) != count * sizeof(double))
      throw Error(path_ + ": array \"" + name + "\" spans bytes " + std::to_string(begin) + " to " +
                  std::to_string(end) + ", expected " + std::to_string(count * sizeof(double)) + " bytes");
    if (json.as_object().size() != 3)
      throw Error(path_ + ": array \"" + name + "\" is described by other keys than dtype, shape and data_offsets");
    entry.begin = static_cast<std::uint64_t>(begin);
    entry.end = static_cast<std::uint64_t>(end);
    return entry;
  }

  /// One pass over the data: every number finite, and the CRC-32 of header and data (the header taken with zeros for
  /// the checksum itself) as the file says.
  void check_data(std::string header) {
    const auto stated = texts_.find("checksum");
    if (stated != texts_.end()) {
      const auto at = header.find('"' + stated->second + '"');
      if (stated->second.size() != kNoChecksum.size() || !stated->second.starts_with("crc32:") ||
          at == std::string::npos)
        throw Error(path_ + ": checksum is '" + stated->second + "', expected crc32: and eight hexadecimal digits");
      header.replace(at + 1, kNoChecksum.size(), kNoChecksum);
    }
    std::uint32_t crc = crc32(header.data(), header.size());
    const std::uint64_t size = size_ - data_start_;
    std::vector<double> block(std::min<std::uint64_t>(1 << 15, size / sizeof(double)));
    for (std::uint64_t at = 0; at < size;) {
      const std::uint64_t count = std::min<std::uint64_t>(block.size() * sizeof(double), size - at);
      read(data_start_ + at, block.data(), count, "arrays");
      crc = crc32(block.data(), count, crc);
      for (std::uint64_t i = 0; i < count / sizeof(double); ++i)
        if (!std::isfinite(block[i])) refuse_number(at + i * sizeof(double));
      at += count;
    }
    if (stated == texts_.end()) return;
    char found[16];
    std::snprintf(found, sizeof found, "crc32:%08x", static_cast<unsigned>(crc));
    if (stated->second != found)
      throw Error(path_ + ": damaged: the checksum of its content is " + found + ", the file says " + stated->second);
  }

  [[noreturn]] void refuse_number(std::uint64_t at) const {
    const auto entry =
        std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return at >= e.begin && at < e.end; });
    throw Error(path_ + ": array \"" + entry->name + "\" holds a value that is not finite at position " +
                std::to_string((at - entry->begin) / sizeof(double)));
  }

  void read(std::uint64_t at, void* to, std::uint64_t count, const std::string& what) {
    if (at > size_ || count > size_ - at)
      throw Error(path_ + ": truncated: " + what + " needs " + std::to_string(at + count) + " bytes, the file has " +
                  std::to_string(size_));
    stream_.seekg(static_cast<std::streamoff>(at));
    stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(count));
    if (!stream_) throw Error(path_ + ": reading " + what + " failed");
  }

  static std::string text(const std::vector<long long>& shape) {
    std::string out = "(";
    for (long long extent : shape) out += (out.size() > 1 ? ", " : "") + (extent < 0 ? "any" : std::to_string(extent));
    return out + ")";
  }

  static constexpr std::string_view kNoChecksum = "crc32:00000000";

  std::string path_;
  std::istream& stream_;
  std::uint64_t size_ = 0;
  std::uint64_t data_start_ = 0;
  std::map<std::string, std::string> texts_;
  std::vector<Entry> entries_;
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

/// Largest α and noise floor: no finite spread becomes infinite when it is multiplied by them.
constexpr double kLargestScale = 1e50;

/// Optional number of an optional object, with a default.
double scale_or(const Json& metadata, const char* section, const char* key, double fallback) {
  const Json* object = metadata.find(section);
  const Json* value = object && !object->is_null() ? object->find(key) : nullptr;
  if (!value || value->is_null()) return fallback;
  const double scale = value->as_number();
  if (!(scale >= 0.0 && scale <= kLargestScale)) {
    char found[40];
    std::snprintf(found, sizeof found, "%.6g", scale);
    throw Error(std::string(section) + "." + key + " is " + found + ", expected a number from 0 to 1e50");
  }
  return scale;
}

ErrorScale read_error_scale(const Json& metadata) {
  return {.alpha_energy = scale_or(metadata, "calibration", "alpha_energy", 1.0),
          .alpha_force = scale_or(metadata, "calibration", "alpha_force", 1.0),
          .alpha_stress = scale_or(metadata, "calibration", "alpha_stress", 1.0),
          .noise_energy = scale_or(metadata, "noise", "energy", 0.0),
          .noise_force = scale_or(metadata, "noise", "force", 0.0),
          .noise_stress = scale_or(metadata, "noise", "stress", 0.0)};
}

/// calibration.thresholds, {"force_err": [save, halt], …}.
std::map<std::string, std::array<double, 2>> read_thresholds(const Json& metadata) {
  std::map<std::string, std::array<double, 2>> thresholds;
  const Json* calibration = metadata.find("calibration");
  const Json* section = calibration && !calibration->is_null() ? calibration->find("thresholds") : nullptr;
  if (!section || section->is_null()) return thresholds;
  for (const auto& [quantity, values] : section->as_object()) {
    const std::vector<double> pair = numbers(values);
    if (pair.size() != 2 || !(pair[0] >= 0.0 && pair[1] >= pair[0]))
      throw Error("calibration.thresholds." + quantity + ": expected two numbers in order, to save and to halt above");
    thresholds[quantity] = {pair[0], pair[1]};
  }
  return thresholds;
}

/// What only Python reads must still be what Python takes: a file is a model to both readers or to none.
void check_sections(const Json& metadata) {
  for (const char* key : {"zbl", "noise", "calibration", "units", "fit", "posterior", "data", "software"})
    if (const Json* section = metadata.find(key); section && !section->is_null()) section->as_object();
  if (const Json* seed = metadata.find("seed"); seed && !seed->is_null()) seed->as_number();
  const Json* calibration = metadata.find("calibration");
  if (!calibration || calibration->is_null()) return;
  for (const char* key : {"conformal", "rows", "interval", "configurations", "thresholds", "groups"})
    if (const Json* table = calibration->find(key); table && !table->is_null()) table->as_object();
}

/// What the settings of the fit say of a reference potential; empty without.
std::string read_reference(const Json& metadata) {
  const Json* at = &metadata;
  for (const char* key : {"fit", "settings", "data", "reference"}) {
    at = at->is_object() ? at->find(key) : nullptr;
    if (!at) return {};
  }
  return at->is_string() ? at->as_string() : std::string();
}

/// Arrays of grade and density, which only Python uses: they must still be what Python takes.
void check_novelty(TensorFile& file, const SnapParams& params, const std::string& path) {
  const long long n_elements = params.n_elements(), P = params.n_weights();
  std::vector<long long> shape = {n_elements, P, P};
  if (file.has("extrapolation.active_set")) file.check_shape("extrapolation.active_set", shape);
  if (!file.has("density.environments") && !file.has("density.element")) return;
  shape = {-1, params.n_components()};
  file.check_shape("density.environments", shape);
  shape = {shape[0]};
  for (const double element : file.array("density.element", shape))
    if (!(element >= 0.0 && element < static_cast<double>(n_elements) && element == std::floor(element)))
      throw Error(path + ": array \"density.element\" holds a value that is no index of an element, 0 to " +
                  std::to_string(n_elements - 1));
}

ModelFile read_checked(TensorFile& file, const std::string& path) {
  const Json metadata = file.metadata();
  if (const long long version = metadata.at("format_version").as_integer(); version != kFormatVersion)
    throw Error(path + ": format_version is " + std::to_string(version) + ", expected " +
                std::to_string(kFormatVersion) + (version > kFormatVersion ? "; this model needs a newer mliuq" : ""));
  check_sections(metadata);
  ModelFile model;
  try {
    model.params = read_params(metadata);
    model.error_scale = read_error_scale(metadata);
    model.reference = read_reference(metadata);
    model.thresholds = read_thresholds(metadata);
  } catch (const Error& error) {
    const std::string message = error.what();
    throw Error(message.starts_with(path) ? message : path + ": " + message);
  }
  if (const Json* zbl = metadata.find("zbl"); zbl && !zbl->is_null()) {
    model.zbl = ZblRange{zbl->at("inner").as_number(), zbl->at("outer").as_number()};
    try {
      model.zbl->validate();
    } catch (const Error& error) {
      throw Error(path + ": " + error.what());
    }
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
  check_novelty(file, model.params, path);
  if (file.has("posterior.axes") || file.has("posterior.lo") || file.has("posterior.hi")) {
    PosteriorBox box;
    shape = {n_elements * P, -1};
    box.axes = file.array("posterior.axes", shape);
    shape = {shape[1]};
    box.lo = file.array("posterior.lo", shape);
    box.hi = file.array("posterior.hi", shape);
    model.box = std::move(box);
  }
  if (file.has("sharing.moves") || file.has("sharing.coefficients")) {
    EnergySharing sharing;
    shape = {-1, n_elements, P};
    sharing.moves = file.array("sharing.moves", shape);
    if (shape[0] == 0) throw Error(path + ": array \"sharing.moves\" holds no move, expected at least one");
    shape = {static_cast<long long>(model.members.size()) / (n_elements * P), shape[0]};
    sharing.coefficients = file.array("sharing.coefficients", shape);
    model.sharing = std::move(sharing);
  }
  return model;
}

}  // namespace

void require_model_file(const std::string& path) {
  refuse_streams(path);
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored) || std::filesystem::file_size(path, ignored) == 0) return;
  std::ifstream stream(path, std::ios::binary);
  if (stream) TensorFile(stream, path);
}

ModelFile read_model_file(const std::string& path) {
  refuse_streams(path);
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw Error(path + ": cannot be opened for reading, expected a .mliuq model file");
  return read_model_file(stream, path);
}

ModelFile read_model_file(std::istream& stream, const std::string& name) {
  TensorFile file(stream, name);
  return read_checked(file, name);
}

}  // namespace mliuq
