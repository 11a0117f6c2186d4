// Model files and published potentials: round trips, and every kind of damage ends in an Error.

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "check.hpp"
#include "checksum.hpp"
#include "mliuq/error.hpp"
#include "mliuq/model_file.hpp"
#include "mliuq/snap_files.hpp"
#include "scenes.hpp"

using namespace mliuq;
namespace fs = std::filesystem;

namespace {

/// A folder of this process, removed at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("mliuq-tests-" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }

  std::string write(const std::string& name, const std::string& content) const {
    const std::string path = (path_ / name).string();
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

constexpr const char* kMetadata =
    R"({"format_version":1,"elements":["W","Be"],"snap":{"twojmax":1,"rcutfac":4.5,"rfac0":0.9,"rmin0":0.1,)"
    R"("switchflag":1,"bzeroflag":0,"bnormflag":true,"chemflag":0,"quadraticflag":0,"radii":[0.5,0.4],"weights":[1,2]},)"
    R"("zbl":{"inner":1.0,"outer":2.0},"noise":{"energy":0.01,"force":null},"calibration":{"alpha_energy":1.5},"data":{}})";

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) out += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  return out;
}

std::string container(const std::string& header, const std::string& data) {
  const std::uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

std::string numbers(int n) {
  std::string data(n * sizeof(double), '\0');
  for (int i = 0; i < n; ++i) {
    const double value = 0.1 * i - 3.0;
    std::memcpy(data.data() + i * sizeof value, &value, sizeof value);
  }
  return data;
}

/// twojmax 1: K = 2, P = 3; two elements, two members, and an array the core does not know.
std::string model_file(const std::string& metadata = kMetadata) {
  return container("{\"__metadata__\":{\"mliuq\":\"" + escaped(metadata) +
                       "\"},\"members\":{\"dtype\":\"F64\",\"shape\":[2,2,3],\"data_offsets\":[0,96]},"
                       "\"posterior.by\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[96,112]},"
                       "\"theta\":{\"dtype\":\"F64\",\"shape\":[2,3],\"data_offsets\":[112,160]}}",
                   numbers(20));
}

constexpr const char* kCoeff = "# comment\r\n2 3\nW 0.5 1\n1.5\n-2\n+3e-1\nBe 0.4 0.9 # c\n4\n5\n6\n";
constexpr const char* kParam = "rcutfac 4.5\ntwojmax 1\n\nrmin0 0 # c\nbzeroflag 0\r\n";

std::string damaged(const std::string& good, std::mt19937& random, std::size_t reach) {
  std::string text = good;
  for (unsigned n = 1 + random() % 3; n > 0; --n) {
    const std::size_t at = random() % std::min(reach, text.size());
    switch (random() % 4) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text[at] = "{}[]\",:0123456789e-.\\ \n"[random() % 23];
        break;
      case 2:
        text.erase(at, 1 + random() % 6);
        break;
      case 3:
        text.insert(at, text.substr(at, 1 + random() % 20));
        break;
    }
    if (text.empty()) text = " ";
  }
  return text;
}

}  // namespace

TEST(files, model_file) {
  const Folder folder;
  const ModelFile model = read_model_file(folder.write("m.mliuq", model_file()));
  CHECK(model.params.twojmax == 1 && model.params.rcutfac == 4.5 && model.params.rfac0 == 0.9);
  CHECK(model.params.switchflag && !model.params.bzeroflag && model.params.bnormflag);
  CHECK(model.params.elements == (std::vector<std::string>{"W", "Be"}));
  CHECK(model.members.size() == 12 && model.members[0] == -3.0 && model.members[11] == 0.1 * 11 - 3.0);
  CHECK(model.theta.size() == 6 && model.theta[0] == 0.1 * 14 - 3.0 && model.theta[5] == 0.1 * 19 - 3.0);
  CHECK(model.zbl && model.zbl->inner == 1.0 && model.zbl->outer == 2.0);
  CHECK(model.error_scale.alpha_energy == 1.5 && model.error_scale.alpha_force == 1.0);
  CHECK(model.error_scale.noise_energy == 0.01 && model.error_scale.noise_force == 0.0);
  CHECK(model.extrapolation_factor.empty());
}

TEST(files, every_number_of_calibration_and_noise_and_every_snap_key) {
  const Folder folder;
  std::string metadata = kMetadata;
  const auto put = [&](const std::string& old, const std::string& text) {
    metadata.replace(metadata.find(old), old.size(), text);
  };
  put(R"("noise":{"energy":0.01,"force":null},"calibration":{"alpha_energy":1.5})",
      R"("noise":{"energy":0.01,"force":0.02,"stress":0.03},"calibration":{"alpha_energy":1.5,"alpha_force":1.6,)"
      R"("alpha_stress":1.7,"thresholds":{"force_err":[0.25,0.75],"energy_std":[0.0,0.5]}})");
  put(R"("data":{})", R"("data":{},"fit":{"settings":{"data":{"reference":"mod:calc"}}})");
  const ModelFile model = read_model_file(folder.write("m.mliuq", model_file(metadata)));
  const ErrorScale& e = model.error_scale;
  CHECK(e.alpha_energy == 1.5 && e.alpha_force == 1.6 && e.alpha_stress == 1.7);
  CHECK(e.noise_energy == 0.01 && e.noise_force == 0.02 && e.noise_stress == 0.03);
  CHECK(model.thresholds.size() == 2 && model.reference == "mod:calc");
  CHECK(model.thresholds.at("force_err") == (std::array<double, 2>{0.25, 0.75}));
  CHECK(model.params.rmin0 == 0.1 && model.params.radii == (std::vector<double>{0.5, 0.4}));
  CHECK(model.params.weights == (std::vector<double>{1.0, 2.0}));
  put("[0.25,0.75]", "[0.75,0.25]");
  CHECK_THROWS(read_model_file(folder.write("m.mliuq", model_file(metadata))),
               "force_err: expected two numbers in order");
  metadata = kMetadata;
  put(R"("chemflag":0,)",
      R"("chemflag":0,"wselfallflag":1,"switchinnerflag":1,"sinner":[0.7,0.8],"dinner":[0.1,0.2],)");
  const SnapParams p = read_model_file(folder.write("m.mliuq", model_file(metadata))).params;
  CHECK(p.wselfallflag && p.switchinnerflag && !p.chemflag && !p.quadraticflag);
  CHECK(p.sinner == (std::vector<double>{0.7, 0.8}) && p.dinner == (std::vector<double>{0.1, 0.2}));
}

TEST(files, every_key_of_a_published_potential_is_written_and_read) {
  const Folder folder;
  SnapParams p = scenes::params(2, 1);
  p.rfac0 = 0.9;
  p.rmin0 = 0.2;
  p.switchflag = p.bzeroflag = false;
  p.bnormflag = p.wselfallflag = p.switchinnerflag = true;
  p.sinner = {0.7, 0.8};
  p.dinner = {0.1, 0.2};
  const SnapTexts texts = snap_texts({p, scenes::random_theta(p, 3)});
  const SnapParams q = read_snap_files(folder.write("c", texts.coeff), folder.write("p", texts.param)).params;
  CHECK(q.rcutfac == p.rcutfac && q.rfac0 == p.rfac0 && q.rmin0 == p.rmin0 && q.twojmax == p.twojmax);
  CHECK(!q.switchflag && !q.bzeroflag && q.bnormflag && q.wselfallflag && q.switchinnerflag && !q.chemflag);
  CHECK(q.sinner == p.sinner && q.dinner == p.dinner && q.radii == p.radii && q.weights == p.weights);
}

TEST(files, model_file_cut_anywhere) {
  const Folder folder;
  const std::string whole = model_file();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string path = folder.write("m.mliuq", whole.substr(0, size));
    CHECK_THROWS(read_model_file(path), path);
  }
  const std::string path = folder.write("m.mliuq", whole + "12345678");
  CHECK_THROWS(read_model_file(path), "truncated or damaged");
}

TEST(files, model_file_absurd_sizes) {
  const Folder folder;
  const std::string whole = model_file();
  for (std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 31, std::uint64_t{1} << 40,
                             std::uint64_t{1} << 63, ~std::uint64_t{0}, ~std::uint64_t{0} - 7, ~std::uint64_t{0} - 8}) {
    std::string content = whole;
    std::memcpy(content.data(), &size, sizeof size);
    CHECK_THROWS(read_model_file(folder.write("m.mliuq", content)), "m.mliuq");
  }
  const auto with = [&](const std::string& entry) {
    return folder.write("m.mliuq", container("{\"__metadata__\":{\"mliuq\":\"" + escaped(kMetadata) +
                                                 "\"},\"theta\":{\"dtype\":\"F64\"," + entry + "}}",
                                             numbers(6)));
  };
  CHECK_THROWS(read_model_file(with(R"("shape":[2,3],"data_offsets":[8,48])")), "expected 48 bytes");
  CHECK_THROWS(read_model_file(with(R"("shape":[2,3],"data_offsets":[48,0])")), "expected 48 bytes");
  CHECK_THROWS(read_model_file(with(R"("shape":[2,3],"data_offsets":[-8,40])")), "expected 48 bytes");
  CHECK_THROWS(read_model_file(with(R"("shape":[2,3],"data_offsets":[0,48.0])")), "expected a whole number");
  CHECK_THROWS(read_model_file(with(R"("shape":[2,3],"data_offsets":[0,48],"more":0)")), "described by other keys");
  CHECK_THROWS(read_model_file(with(R"("shape":[2,3],"data_offsets":[0,4611686018427387904])")), "whole number");
  CHECK_THROWS(read_model_file(with(R"("shape":[4294967296,4294967296],"data_offsets":[0,48])")), "has shape");
  CHECK_THROWS(read_model_file(with(R"("shape":[2,3,1],"data_offsets":[0,48])")),
               "has shape (2, 3, 1), expected (2, 3)");
  CHECK_THROWS(read_model_file(with(R"("shape":[],"data_offsets":[0,48])")), "expected 8 bytes");
  CHECK_THROWS(read_model_file(with(R"("shape":[-2,-3],"data_offsets":[0,48])")), "has shape");
  CHECK(read_model_file(with(R"("shape":[2,3],"data_offsets":[0,48])")).theta.size() == 6);
}

TEST(files, model_file_metadata) {
  const Folder folder;
  const auto with = [&](const std::string& old, const std::string& now) {
    std::string metadata = kMetadata;
    const auto at = metadata.find(old);
    CHECK(at != std::string::npos);
    return folder.write("m.mliuq", model_file(metadata.replace(at, old.size(), now)));
  };
  CHECK_THROWS(read_model_file(with(":1,\"el", ":2,\"el")),
               "format_version is 2, expected 1; this model needs a newer mliuq");
  CHECK_THROWS(read_model_file(with("\"twojmax\":1,", "")), "key \"twojmax\" is missing");
  CHECK_THROWS(read_model_file(with("\"twojmax\":1", "\"twojmax\":-4294967295")),
               "twojmax is -1000000, expected 0 to 24");
  CHECK_THROWS(read_model_file(with("\"twojmax\":1", "\"twojmax\":2")), "array \"theta\" has shape");
  CHECK_THROWS(read_model_file(with("\"rmin0\":0.1", "\"rmin\":0.1")), "snap.rmin is not a SNAP parameter");
  CHECK_THROWS(read_model_file(with("[0.5,0.4]", "[0.5]")), "radii has 1 values, expected one per element (2)");
  CHECK_THROWS(read_model_file(with("\"inner\":1.0", "\"inner\":2.0")), "expected 0 < inner < outer");
  CHECK_THROWS(read_model_file(with("\"outer\":2.0", "\"outer\":65535")), "at most 50 (Å)");
  CHECK_THROWS(read_model_file(with("\"rcutfac\":4.5", "\"rcutfac\":450")),
               "is 450.000000 Å, expected 0.100000 to 50.000000 Å");
  CHECK_THROWS(read_model_file(with("\"rcutfac\":4.5", "\"rcutfac\":1e-9")), "is 1e-09 Å, expected 0.100000 to");
  CHECK_THROWS(read_model_file(with("\"data\":{}", "\"data\":5")), "data is a number, expected an object");
  CHECK_THROWS(read_model_file(with("\"data\":{}", "\"seed\":\"x\"")), "seed is a string, expected a number");
  CHECK_THROWS(read_model_file(with("\"energy\":0.01", "\"energy\":-0.01")), "noise.energy is -0.01");
  CHECK_THROWS(read_model_file(with("\"alpha_energy\":1.5", "\"alpha_energy\":\"x\"")),
               "is a string, expected a number");
  CHECK_THROWS(read_model_file(with("[\"W\",\"Be\"]", "[\"W\",\"\\u00e9\"]")), "not printable ASCII");
}

TEST(files, model_file_random_damage) {
  const Folder folder;
  const std::string whole = model_file();
  std::mt19937 random(2);
  int accepted = 0;
  for (int trial = 0; trial < 1500; ++trial) {
    std::string content = damaged(whole, random, trial % 4 ? whole.size() - 160 : whole.size());
    if (trial % 2 && content.size() > 168) {
      const std::uint64_t size = content.size() - 168;
      std::memcpy(content.data(), &size, sizeof size);
    }
    try {
      const ModelFile model = read_model_file(folder.write("m.mliuq", content));
      CHECK(model.theta.size() == static_cast<std::size_t>(model.params.n_elements()) * model.params.n_weights());
      ++accepted;
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("m.mliuq") != std::string::npos);
    }
  }
  CHECK(accepted > 0 && accepted < 1500);
}

TEST(files, arrays_lie_end_to_end) {
  const Folder folder;
  const auto with = [&](const std::string& first, const std::string& second) {
    return folder.write("m.mliuq",
                        container("{\"__metadata__\":{\"mliuq\":\"" + escaped(kMetadata) +
                                      "\"},\"theta\":{\"dtype\":\"F64\",\"shape\":[2,3],\"data_offsets\":" + first +
                                      "},\"x\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":" + second + "}}",
                                  numbers(8)));
  };
  CHECK(read_model_file(with("[0,48]", "[48,64]")).theta[0] == -3.0);
  CHECK(read_model_file(with("[16,64]", "[0,16]")).theta[0] == 0.1 * 2 - 3.0);
  CHECK_THROWS(read_model_file(with("[16,64]", "[16,32]")), "array \"x\" begins at byte 16 of the data, expected 0");
  CHECK_THROWS(read_model_file(with("[0,48]", "[40,56]")), "array \"x\" begins at byte 40 of the data, expected 48");
  std::string infinite = numbers(8);
  const double bad = std::numeric_limits<double>::quiet_NaN();
  std::memcpy(infinite.data() + 7 * sizeof bad, &bad, sizeof bad);  // in an array the core does not use
  std::string content = container("{\"__metadata__\":{\"mliuq\":\"" + escaped(kMetadata) +
                                      "\"},\"theta\":{\"dtype\":\"F64\",\"shape\":[2,3],\"data_offsets\":[0,48]},"
                                      "\"x\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[48,64]}}",
                                  infinite);
  CHECK_THROWS(read_model_file(folder.write("m.mliuq", content)), "array \"x\" holds a value that is not finite");
}

TEST(files, crc32_is_the_one_of_zlib) {
  const std::string text = "123456789";
  CHECK(crc32(text.data(), text.size()) == 0xCBF43926u);  // the check value of the catalogue of CRCs
  CHECK(crc32(text.data() + 2, 7, crc32(text.data(), 2)) == 0xCBF43926u);
  CHECK(crc32(nullptr, 0) == 0u);
}

TEST(files, every_flipped_bit_is_seen) {
  const Folder folder;
  std::string whole = model_file();
  whole.insert(whole.find("\"mliuq\":"), R"("checksum":"crc32:00000000",)");
  const std::uint64_t header_size = whole.size() - 8 - 160;
  std::memcpy(whole.data(), &header_size, sizeof header_size);
  char digits[16];
  std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(crc32(whole.data() + 8, whole.size() - 8)));
  whole.replace(whole.find("00000000"), 8, digits);
  CHECK(read_model_file(folder.write("m.mliuq", whole)).theta.size() == 6);
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 1 << bit);
      CHECK_THROWS(read_model_file(folder.write("m.mliuq", damaged)), "m.mliuq");
    }
  whole.replace(whole.find("crc32:"), 6, "crc64:");
  CHECK_THROWS(read_model_file(folder.write("m.mliuq", whole)), "expected crc32: and eight hexadecimal digits");
}

TEST(files, messages_are_printable) {
  const std::string hostile = "a\x1b[2J\n\x7f\xc2\x9b\xe2\x80\xae\xff\xed\xa0\x80 Å é €";
  CHECK(std::string(Error(hostile).what()) == "a\\x1b[2J\\x0a\\x7f\\x9b\\u{202e}\\xff\\xed\\xa0\\x80 Å é €");
  const Folder folder;
  std::string metadata = kMetadata;
  metadata.replace(metadata.find("rmin0"), 5, "\\u001b[2Jr");
  CHECK_THROWS(read_model_file(folder.write("m.mliuq", model_file(metadata))),
               "snap.\\x1b[2Jr is not a SNAP parameter");
}

TEST(files, missing_files_and_folders) {
  const Folder folder;
  CHECK_THROWS(read_model_file(folder / "none"), "cannot be opened for reading");
  CHECK_THROWS(read_model_file(folder / ""), "");
  CHECK_THROWS(read_snap_files(folder / "none", folder / "none"), "cannot be opened for reading");
  CHECK_THROWS(read_snap_files(folder / "", folder / ""), "");
  CHECK_THROWS(snap_texts({scenes::params(1, 0), {1.0}}), "1 weights, expected 2");
}

TEST(files, published_potentials) {
  const Folder folder;
  const SnapPotential p = read_snap_files(folder.write("c", kCoeff), folder.write("p", kParam));
  CHECK(p.theta == (std::vector<double>{1.5, -2.0, 0.3, 4.0, 5.0, 6.0}));
  CHECK(p.params.elements == (std::vector<std::string>{"W", "Be"}));
  CHECK(p.params.rcutfac == 4.5 && p.params.twojmax == 1 && !p.params.bzeroflag && p.params.weights[1] == 0.9);
  for (const SnapParams& params : {scenes::params(1, 6), scenes::params(3, 2, true, true)}) {
    const SnapPotential original{params, scenes::random_theta(params, 3)};
    const SnapTexts texts = snap_texts(original);
    const SnapPotential again = read_snap_files(folder.write("c2", texts.coeff), folder.write("p2", texts.param));
    CHECK((again.theta == original.theta) == !params.chemflag);  // random weights are not equal on equal components
    CHECK(again.params.radii == params.radii && again.params.weights == params.weights);
    CHECK(snap_texts(again).coeff == texts.coeff && snap_texts(again).param == texts.param);
  }
}

TEST(files, published_potentials_damaged) {
  const Folder folder;
  const std::string good = folder.write("p", kParam);
  for (std::size_t size = 0; size + 2 < std::strlen(kCoeff); ++size)
    CHECK_THROWS(read_snap_files(folder.write("c", std::string(kCoeff).substr(0, size)), good), "/c");
  std::mt19937 random(3);
  int accepted = 0;
  for (int trial = 0; trial < 1500; ++trial) {
    const bool coeff = trial % 2;
    try {
      const SnapPotential p = read_snap_files(folder.write("c", coeff ? damaged(kCoeff, random, 1000) : kCoeff),
                                              folder.write("p", coeff ? kParam : damaged(kParam, random, 1000)));
      for (double weight : p.theta) CHECK(std::isfinite(weight));
      ++accepted;
    } catch (const Error&) {
    }
  }
  CHECK(accepted > 0 && accepted < 1500);
  CHECK_THROWS(read_snap_files(folder.write("c", "1000000000 1000000000\nW 0.5 1\n1\n"), folder / "p"),
               "line 3: the file ends here");
}
