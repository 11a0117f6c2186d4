#pragma once

// A strict reader for the JSON of model files: whole documents only, UTF-8, bounded depth, duplicate keys refused.

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mliuq {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  /// Throws Error beginning with `where` and naming the byte when the text is not one JSON value.
  static Json parse(std::string_view text, const std::string& where);

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }

  // Typed access; each throws Error naming `where`, the path of this value, the expected and the found type.
  bool as_bool() const;
  double as_number() const;
  long long as_integer() const;  // written as one: 4, not 4.0
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;

  /// Member of an object; Error when absent.
  const Json& at(std::string_view key) const;
  /// Member of an object, or null pointer.
  const Json* find(std::string_view key) const;

 private:
  friend class JsonParser;
  struct Number {
    double value;
    bool whole;  // written without fraction and exponent
  };
  [[noreturn]] void wrong_type(const char* expected) const;

  std::variant<std::nullptr_t, bool, Number, std::string, Array, Object> value_ = nullptr;
  std::string path_;  // "file: key.key[2]", for messages
};

}  // namespace mliuq
