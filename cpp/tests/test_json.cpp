// The JSON reader: takes what JSON is, refuses the rest, and survives anything.

#include <random>

#include "check.hpp"
#include "json.hpp"
#include "mliuq/error.hpp"

using namespace mliuq;

namespace {

Json parse(const std::string& text) { return Json::parse(text, "file"); }

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST(json, values) {
  const Json json = parse(" { \"a\" : [1, -2.5e3, 0, true, false, null, \"x\"], \"b\":{\"c\":{}} , \"d\":[]}\r\n\t");
  const auto& a = json.at("a").as_array();
  CHECK(a.size() == 7);
  CHECK(a[0].as_integer() == 1);
  CHECK(a[1].as_number() == -2500.0);
  CHECK(a[2].as_bool() == false);
  CHECK(a[3].as_bool() == true);
  CHECK(a[5].is_null());
  CHECK(a[6].as_string() == "x");
  CHECK(json.at("b").at("c").as_object().empty());
  CHECK(json.find("e") == nullptr);
  CHECK(parse("5e-324").as_number() == 5e-324);
  CHECK(parse("1.7976931348623157e308").as_number() == 1.7976931348623157e308);
  CHECK(parse("-0").as_number() == 0.0 && std::signbit(parse("-0").as_number()));
}

TEST(json, strings) {
  CHECK(parse(R"("\"\\\/\b\f\n\r\t")").as_string() == "\"\\/\b\f\n\r\t");
  CHECK(parse(R"("\u0041\u00e9\u20AC\uD834\uDD1E")").as_string() == "Aé€𝄞");
  CHECK(parse("\"é€𝄞\"").as_string() == "é€𝄞");
  CHECK(parse(R"("\u0000")").as_string() == std::string(1, '\0'));
  for (const char* bad : {R"("\x41")", R"("\u12")", R"("\u12G4")", R"("\u-123")", R"("\ud834")", R"("\ud834A")",
                          R"("\udd1e")", "\"a\nb\"", "\"a", "\"a\\", "\"\\u", "'a'"})
    CHECK_THROWS(parse(bad), "file: not valid JSON at byte");
}

TEST(json, what_is_not_json) {
  for (const char* bad : {"1e-400", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
                          "\"\xe2\x82\"", "{\"\x80\":1}"})
    CHECK_THROWS(parse(bad), "file: not valid JSON at byte");
  for (const char* bad : {"",
                          " ",
                          "{",
                          "[",
                          "}",
                          "{}{}",
                          "[1,]",
                          "[,1]",
                          "[1 2]",
                          "{\"a\"}",
                          "{\"a\":}",
                          "{\"a\":1,}",
                          "{a:1}",
                          "{1:1}",
                          "01",
                          "-",
                          "+1",
                          ".5",
                          "1.",
                          "1.e5",
                          "1e",
                          "1e+",
                          "0x1",
                          "1e999",
                          "-1e999",
                          "nan",
                          "NaN",
                          "inf",
                          "-inf",
                          "Infinity",
                          "truefalse",
                          "tru",
                          "nulll",
                          "\xff",
                          "[\"a\":1]",
                          "{\"a\" 1}",
                          "\xEF\xBB\xBF{}"})
    CHECK_THROWS(parse(bad), "file: not valid JSON at byte");
  CHECK_THROWS(parse(std::string("{}\0", 3)), "expected the end of the text");
  CHECK_THROWS(parse("{\"a\": 1, \"a\": 2}"), "key \"a\" is given twice");
}

TEST(json, bombs) {
  CHECK(parse(repeated("[", 60) + repeated("]", 60)).as_array().size() == 1);
  CHECK_THROWS(parse(repeated("[", 1'000'000)), "nested deeper than 64");
  CHECK_THROWS(parse(repeated("{\"a\":", 300'000)), "nested deeper than 64");
  CHECK_THROWS(parse("[" + repeated("0,", 1'100'000) + "0]"), "more than 1000000 values");
  // A path is kept for every value: a long key above many values must not multiply.
  const Json wide = parse("{\"" + std::string(1'000'000, 'k') + "\": [" + repeated("0,", 200'000) + "0]}");
  CHECK(wide.as_object().begin()->second.as_array().size() == 200'001);
  try {
    parse("{\"" + std::string(100'000, 'k') + "\":1, \"" + std::string(100'000, 'k') + "\":2}");
    CHECK(false);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() < 1000);
  }
}

TEST(json, wrong_types_name_the_path_and_both_types) {
  const Json json = parse(R"({"snap": {"radii": [0.5, "x"], "n": 1.5, "huge": 1e300}})");
  const Json& snap = json.at("snap");
  CHECK_THROWS(snap.at("radii").as_array()[1].as_number(), "file: snap.radii[1] is a string, expected a number");
  CHECK_THROWS(snap.at("n").as_integer(), "file: snap.n is a number, expected a whole number");
  CHECK_THROWS(snap.at("huge").as_integer(), "expected a whole number");
  CHECK(parse("9000000000000000").as_integer() == 9'000'000'000'000'000LL);
  for (const char* text : {"4.0", "4e0", "40e-1", "1e300", "9100000000000000"})
    CHECK_THROWS(parse(text).as_integer(), "file is a number, expected a whole number");
  CHECK_THROWS(snap.at("n").as_bool(), "expected a boolean (or 0 or 1)");
  CHECK_THROWS(snap.as_array(), "file: snap is an object, expected a list");
  CHECK_THROWS(snap.at("radii").as_object(), "is a list, expected an object");
  CHECK_THROWS(snap.at("radii").at("x"), "is a list, expected an object");
  CHECK_THROWS(snap.at("weights"), "file: snap: key \"weights\" is missing");
  CHECK_THROWS(json.as_string(), "is an object, expected a string");
}

TEST(json, random_damage) {
  const std::string good = R"({"a": [1, -2.5e3, true, null, "x\u00e9\n"], "b": {"c": {"d": [[], {}]}}, "e": 0.001})";
  std::mt19937 random(1);
  int accepted = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string text = good;
    for (unsigned n = 1 + random() % 3; n > 0; --n) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text[at] = "{}[]\",:0e-.\\u"[random() % 13];
          break;
        case 2:
          text.erase(at, 1 + random() % 4);
          break;
        case 3:
          text.insert(at, text.substr(random() % text.size(), 1 + random() % 6));
          break;
      }
      if (text.empty()) text = "0";
    }
    try {
      parse(text);
      ++accepted;
    } catch (const Error&) {
    }
  }
  CHECK(accepted > 0 && accepted < 20'000);
}
