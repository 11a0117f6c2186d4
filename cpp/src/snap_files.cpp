#include "mliuq/snap_files.hpp"

#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "input_file.hpp"
#include "kernels/equal_components.hpp"
#include "mliuq/energy_model.hpp"
#include "mliuq/error.hpp"

namespace mliuq {
namespace {

/// Lines of a LAMMPS potential file split into words, comments and blank lines dropped, each with its number.
class WordFile {
 public:
  struct Line {
    int number;
    std::vector<std::string> words;
  };

  explicit WordFile(const std::string& path) : path_(path) {
    refuse_streams(path);
    std::ifstream stream(path);
    if (!stream) throw Error(path + ": cannot be opened for reading");
    std::string text;
    for (int number = 1; std::getline(stream, text); ++number) {
      if (number == 1) require_metal(text);
      std::istringstream words(text.substr(0, text.find('#')));
      Line line{number, {}};
      for (std::string word; words >> word;) line.words.push_back(word);
      if (!line.words.empty()) lines_.push_back(std::move(line));
    }
  }

  const std::vector<Line>& lines() const { return lines_; }

  /// LAMMPS potential files name their unit style in a comment on the first line: "# DATE: … UNITS: metal …".
  void require_metal(const std::string& header) const {
    const std::size_t comment = header.find('#');
    const std::size_t key = comment == std::string::npos ? comment : header.find("UNITS:", comment);
    if (key == std::string::npos) return;
    std::string units;
    std::istringstream(header.substr(key + 6)) >> units;
    if (units != "metal") fail({1, {}}, "UNITS: is '" + units + "', expected metal (eV, Å)");
  }

  [[noreturn]] void fail(const Line& line, const std::string& what) const {
    throw Error(path_ + ", line " + std::to_string(line.number) + ": " + what);
  }

  double number(const Line& line, const std::string& word, const std::string& key) const {
    double value = 0.0;
    const char* first = word.data() + (word.starts_with('+') ? 1 : 0);
    const auto [end, error] = std::from_chars(first, word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size() || !std::isfinite(value))
      fail(line, key + " is '" + word + "', expected a finite number");
    return value;
  }

  int integer(const Line& line, const std::string& word, const std::string& key) const {
    const double value = number(line, word, key);
    if (value != std::floor(value) || std::abs(value) > 1e9)
      fail(line, key + " is '" + word + "', expected an integer");
    return static_cast<int>(value);
  }

  bool flag(const Line& line, const std::string& word, const std::string& key) const {
    const int value = integer(line, word, key);
    if (value != 0 && value != 1) fail(line, key + " is '" + word + "', expected 0 or 1");
    return value == 1;
  }

 private:
  std::string path_;
  std::vector<Line> lines_;
};

void read_coefficients(const std::string& path, SnapParams& params, std::vector<double>& theta) {
  const WordFile file(path);
  const auto& lines = file.lines();
  if (lines.empty()) throw Error(path + ": empty, expected 'n_elements n_coefficients' on the first line");
  const auto& head = lines.front();
  if (head.words.size() != 2)
    file.fail(head, "expected 'n_elements n_coefficients', found " + std::to_string(head.words.size()) + " words");
  const int n_elements = file.integer(head, head.words[0], "number of elements");
  const int n_coefficients = file.integer(head, head.words[1], "number of coefficients");
  if (n_elements < 1 || n_coefficients < 1) file.fail(head, "expected at least one element and one coefficient");
  std::size_t next = 1;
  const auto take = [&](const std::string& expected) -> const WordFile::Line& {
    if (next == lines.size()) file.fail(lines.back(), "the file ends here, expected " + expected);
    return lines[next++];
  };
  for (int e = 0; e < n_elements; ++e) {
    const auto& line =
        take("'element radius weight' of element " + std::to_string(e + 1) + " of " + std::to_string(n_elements));
    if (line.words.size() != 3)
      file.fail(line, "expected 'element radius weight', found " + std::to_string(line.words.size()) + " words");
    params.elements.push_back(line.words[0]);
    params.radii.push_back(file.number(line, line.words[1], "radius"));
    params.weights.push_back(file.number(line, line.words[2], "weight"));
    for (int p = 0; p < n_coefficients; ++p) {
      const std::string wanted = "coefficient " + std::to_string(p + 1) + " of " + std::to_string(n_coefficients) +
                                 " of " + params.elements.back();
      const auto& row = take(wanted);
      if (row.words.size() != 1)
        file.fail(row, "expected " + wanted + ", found " + std::to_string(row.words.size()) + " words");
      theta.push_back(file.number(row, row.words[0], "coefficient"));
    }
  }
  if (next != lines.size())
    file.fail(lines[next], "expected the end of the file after " + std::to_string(n_elements) + " elements of " +
                               std::to_string(n_coefficients) + " coefficients");
}

/// The line of each key that was given.
std::map<std::string, int> read_parameters(const std::string& path, SnapParams& params) {
  const WordFile file(path);
  std::map<std::string, int> seen;
  for (const auto& line : file.lines()) {
    const std::string& key = line.words[0];
    if (!seen.emplace(key, line.number).second) file.fail(line, "key '" + key + "' is given twice");
    const bool per_element = key == "sinner" || key == "dinner";
    const std::size_t expected = per_element ? params.elements.size() : 1;
    if (line.words.size() != 1 + expected)
      file.fail(line, "key '" + key + "' has " + std::to_string(line.words.size() - 1) + " values, expected " +
                          std::to_string(expected));
    const std::string& word = line.words[1];
    const std::map<std::string, double*> reals = {
        {"rcutfac", &params.rcutfac}, {"rfac0", &params.rfac0}, {"rmin0", &params.rmin0}};
    const std::map<std::string, bool*> flags = {
        {"switchflag", &params.switchflag},      {"bzeroflag", &params.bzeroflag},
        {"bnormflag", &params.bnormflag},        {"chemflag", &params.chemflag},
        {"wselfallflag", &params.wselfallflag},  {"switchinnerflag", &params.switchinnerflag},
        {"quadraticflag", &params.quadraticflag}};
    if (const auto real = reals.find(key); real != reals.end()) {
      *real->second = file.number(line, word, key);
    } else if (const auto flag = flags.find(key); flag != flags.end()) {
      *flag->second = file.flag(line, word, key);
    } else if (key == "twojmax") {
      params.twojmax = file.integer(line, word, key);
    } else if (per_element) {
      auto& values = key == "sinner" ? params.sinner : params.dinner;
      for (std::size_t e = 0; e < expected; ++e) values.push_back(file.number(line, line.words[1 + e], key));
    } else if (key == "chunksize" || key == "parallelthresh") {
      file.integer(line, word, key);      // tuning of LAMMPS's GPU code: no meaning here, no effect on results
    } else if (key == "diagonalstyle") {  // of files before 2019: 3 is what all of them mean
      if (file.integer(line, word, key) != 3) file.fail(line, "diagonalstyle is '" + word + "', expected 3");
    } else {
      file.fail(line, "unknown key '" + key +
                          "', expected one of twojmax rcutfac rfac0 rmin0 switchflag bzeroflag "
                          "bnormflag quadraticflag chemflag wselfallflag switchinnerflag sinner dinner");
    }
  }
  for (const char* key : {"rcutfac", "twojmax"})
    if (!seen.contains(key)) throw Error(path + ": key '" + std::string(key) + "' is missing");
  return seen;
}

std::string shortest(double value) {
  char text[40];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

}  // namespace

SnapPotential read_snap_files(const std::string& coeff_path, const std::string& param_path) {
  SnapPotential potential;
  read_coefficients(coeff_path, potential.params, potential.theta);
  const auto lines = read_parameters(param_path, potential.params);
  try {
    potential.params.validate();
  } catch (const ParameterError& error) {
    const auto line = lines.find(error.key());
    const bool per_element = error.key() == "elements" || error.key() == "radii" || error.key() == "weights";
    throw Error((per_element ? coeff_path : param_path) +
                (line == lines.end() ? "" : ", line " + std::to_string(line->second)) + ": " + error.what());
  }
  const auto& params = potential.params;
  const std::size_t found = potential.theta.size() / params.elements.size();
  if (found != static_cast<std::size_t>(params.n_weights()))
    throw Error(coeff_path + ": " + std::to_string(found) + " coefficients per element, expected " +
                std::to_string(params.n_weights()) + " for twojmax " + std::to_string(params.twojmax) +
                (params.quadraticflag ? ", quadraticflag 1" : "") + (params.chemflag ? ", chemflag 1" : "") + " (" +
                param_path + ")");
  return potential;
}

SnapTexts snap_texts(const SnapPotential& potential) {
  const SnapParams& p = potential.params;
  p.validate();
  const std::size_t n_weights = p.n_weights();
  const EnergyModel own(p.n_elements(), p.n_components(), p.quadraticflag, potential.theta);
  const auto equal = with_equal_weights(p, own);
  const auto theta = (equal ? *equal : own).theta();
  std::ostringstream coeff;
  coeff << "# SNAP coefficients, written by mliuq\n\n" << p.elements.size() << ' ' << n_weights << '\n';
  for (std::size_t e = 0; e < p.elements.size(); ++e) {
    coeff << p.elements[e] << ' ' << shortest(p.radii[e]) << ' ' << shortest(p.weights[e]) << '\n';
    for (std::size_t k = 0; k < n_weights; ++k) coeff << shortest(theta[e * n_weights + k]) << '\n';
  }
  std::ostringstream param;
  param << "# SNAP parameters, written by mliuq\n\nrcutfac " << shortest(p.rcutfac) << "\ntwojmax " << p.twojmax
        << "\nrfac0 " << shortest(p.rfac0) << "\nrmin0 " << shortest(p.rmin0) << "\nswitchflag " << p.switchflag
        << "\nbzeroflag " << p.bzeroflag << "\nquadraticflag " << p.quadraticflag << "\nbnormflag " << p.bnormflag
        << "\nchemflag " << p.chemflag << "\nwselfallflag " << p.wselfallflag << "\nswitchinnerflag "
        << p.switchinnerflag << '\n';
  const auto list = [&](const char* key, const std::vector<double>& values) {
    param << key;
    for (double value : values) param << ' ' << shortest(value);
    param << '\n';
  };
  if (p.switchinnerflag) {
    list("sinner", p.sinner);
    list("dinner", p.dinner);
  }
  return {coeff.str(), param.str()};
}

}  // namespace mliuq
