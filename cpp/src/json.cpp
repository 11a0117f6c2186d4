#include "json.hpp"

#include <charconv>
#include <cmath>
#include <utility>

#include "mliuq/error.hpp"
#include "text.hpp"

namespace mliuq {

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Json document() {
    if (const std::size_t bad = first_not_utf8(text_); bad != text_.size()) {
      position_ = bad;
      fail("not UTF-8");
    }
    Json value = parse_value(where_, 0);
    skip_space();
    if (position_ != text_.size()) fail("expected the end of the text");
    return value;
  }

 private:
  // Bounds on what a hostile text can make us allocate: every value carries its path.
  static constexpr int kMaxDepth = 64;
  static constexpr std::size_t kMaxValues = 1'000'000;
  static constexpr std::size_t kMaxPath = 200;

  static std::string longer(const std::string& path, const std::string& step) {
    return path.size() + step.size() > kMaxPath ? path : path + step;
  }

  static std::string shown(const std::string& key) {
    return key.size() > kMaxPath ? key.substr(0, kMaxPath) + "…" : key;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(where_ + ": not valid JSON at byte " + std::to_string(position_) + ": " + what);
  }

  void skip_space() {
    while (position_ < text_.size() && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos)
      ++position_;
  }

  char peek() const {
    if (position_ >= text_.size()) fail("unexpected end of text");
    return text_[position_];
  }

  void expect(char c) {
    if (peek() != c) fail(std::string("expected '") + c + "'");
    ++position_;
  }

  bool take_word(std::string_view word) {
    if (text_.substr(position_, word.size()) != word) return false;
    position_ += word.size();
    return true;
  }

  Json parse_value(const std::string& path, int depth) {
    if (depth > kMaxDepth) fail("nested deeper than " + std::to_string(kMaxDepth));
    if (++n_values_ > kMaxValues) fail("more than " + std::to_string(kMaxValues) + " values");
    skip_space();
    Json json;
    json.path_ = path;
    const char c = peek();
    if (c == '{') {
      json.value_ = parse_object(path, depth);
    } else if (c == '[') {
      json.value_ = parse_array(path, depth);
    } else if (c == '"') {
      json.value_ = parse_string();
    } else if (take_word("true")) {
      json.value_ = true;
    } else if (take_word("false")) {
      json.value_ = false;
    } else if (!take_word("null")) {
      json.value_ = parse_number();
    }
    return json;
  }

  Json::Object parse_object(const std::string& path, int depth) {
    Json::Object object;
    expect('{');
    skip_space();
    if (peek() == '}') return ++position_, object;
    while (true) {
      skip_space();
      std::string key = parse_string();
      skip_space();
      expect(':');
      Json value = parse_value(longer(path, (depth == 0 ? ": " : ".") + key), depth + 1);
      if (!object.emplace(key, std::move(value)).second) fail("key \"" + shown(key) + "\" is given twice");
      skip_space();
      if (peek() == '}') return ++position_, object;
      expect(',');
    }
  }

  Json::Array parse_array(const std::string& path, int depth) {
    Json::Array array;
    expect('[');
    skip_space();
    if (peek() == ']') return ++position_, array;
    while (true) {
      array.push_back(parse_value(longer(path, "[" + std::to_string(array.size()) + "]"), depth + 1));
      skip_space();
      if (peek() == ']') return ++position_, array;
      expect(',');
    }
  }

  unsigned parse_hex4() {
    unsigned code = 0;
    if (position_ + 4 > text_.size()) fail("short \\u escape");
    const auto [end, error] = std::from_chars(text_.data() + position_, text_.data() + position_ + 4, code, 16);
    if (error != std::errc{} || end != text_.data() + position_ + 4) fail("bad \\u escape");
    position_ += 4;
    return code;
  }

  static void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | code >> 6);
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | code >> 12);
      out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | code >> 18);
      out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
      out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  std::string parse_string() {
    expect('"');
    std::string out;
    while (peek() != '"') {
      const char c = text_[position_++];
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = peek();
      ++position_;
      constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      if (const auto known = from.find(escape); known != std::string_view::npos) {
        out += to[known];
      } else if (escape == 'u') {
        unsigned code = parse_hex4();
        if (code >= 0xD800 && code < 0xDC00 && take_word("\\u")) {
          const unsigned low = parse_hex4();
          if (low < 0xDC00 || low > 0xDFFF) fail("broken surrogate pair");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xD800 && code < 0xE000) {
          fail("half a surrogate pair");
        }
        append_utf8(out, code);
      } else {
        fail("unknown escape");
      }
    }
    ++position_;
    return out;
  }

  std::size_t digits(std::size_t from) const {
    const auto end = text_.find_first_not_of("0123456789", from);
    return (end == std::string_view::npos ? text_.size() : end) - from;
  }

  char at(std::size_t position) const { return position < text_.size() ? text_[position] : '\0'; }

  // JSON's grammar is narrower than from_chars's: no "01", "1.", "-.5", "-inf".
  std::size_t number_length() const {
    std::size_t end = position_ + (at(position_) == '-');
    const std::size_t whole = digits(end);
    if (whole == 0 || (whole > 1 && text_[end] == '0')) fail("expected a value");
    end += whole;
    if (at(end) == '.') {
      const std::size_t fraction = digits(end + 1);
      if (fraction == 0) fail("expected digits after the decimal point");
      end += 1 + fraction;
    }
    if (at(end) == 'e' || at(end) == 'E') {
      const std::size_t sign = at(end + 1) == '-' || at(end + 1) == '+';
      const std::size_t exponent = digits(end + 1 + sign);
      if (exponent == 0) fail("expected digits after the exponent");
      end += 1 + sign + exponent;
    }
    return end - position_;
  }

  // A number between 0 and the smallest double is refused like one beyond the largest: neither can be kept.
  Json::Number parse_number() {
    double value = 0.0;
    const char* first = text_.data() + position_;
    const std::size_t length = number_length();
    const auto [end, error] = std::from_chars(first, first + length, value);
    if (error != std::errc{} || end != first + length || !std::isfinite(value)) fail("expected a finite number");
    position_ += length;
    return {value, std::string_view(first, length).find_first_of(".eE") == std::string_view::npos};
  }

  std::string_view text_;
  std::string where_;
  std::size_t position_ = 0;
  std::size_t n_values_ = 0;
};

Json Json::parse(std::string_view text, const std::string& where) { return JsonParser(text, where).document(); }

void Json::wrong_type(const char* expected) const {
  constexpr const char* names[] = {"null", "a boolean", "a number", "a string", "a list", "an object"};
  throw Error(path_ + " is " + names[value_.index()] + ", expected " + expected);
}

bool Json::as_bool() const {
  if (const auto* v = std::get_if<bool>(&value_)) return *v;
  if (const auto* v = std::get_if<Number>(&value_); v && (v->value == 0.0 || v->value == 1.0)) return v->value == 1.0;
  wrong_type("a boolean (or 0 or 1)");
}

double Json::as_number() const {
  if (const auto* v = std::get_if<Number>(&value_)) return v->value;
  wrong_type("a number");
}

long long Json::as_integer() const {
  const double v = as_number();
  if (!std::get<Number>(value_).whole || std::abs(v) > 9e15) wrong_type("a whole number");
  return static_cast<long long>(v);
}

const std::string& Json::as_string() const {
  if (const auto* v = std::get_if<std::string>(&value_)) return *v;
  wrong_type("a string");
}

const Json::Array& Json::as_array() const {
  if (const auto* v = std::get_if<Array>(&value_)) return *v;
  wrong_type("a list");
}

const Json::Object& Json::as_object() const {
  if (const auto* v = std::get_if<Object>(&value_)) return *v;
  wrong_type("an object");
}

const Json* Json::find(std::string_view key) const {
  const Object& object = as_object();
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &found->second;
}

const Json& Json::at(std::string_view key) const {
  if (const Json* found = find(key)) return *found;
  throw Error(path_ + ": key \"" + std::string(key) + "\" is missing");
}

}  // namespace mliuq
