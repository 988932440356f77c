#include "plan/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "plan/plan.h"
#include "plan/utf8.h"

namespace ifast::json {
namespace {

bool is_digit(char c) { return '0' <= c && c <= '9'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value document() {
    check_encoding();
    Value result = value(0);
    skip_space();
    if (at_ != text_.size()) fail("text after the end");
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw EngineError("not valid JSON: " + what + " at byte " + std::to_string(at_));
  }

  void check_encoding() {
    while (at_ < text_.size()) {
      const std::size_t length = utf8_sequence(text_.substr(at_));
      if (length == 0) fail("a byte that is not UTF-8");
      at_ += length;
    }
    at_ = 0;
  }

  // The next character, NUL at the end; NUL itself is never allowed outside an escape.
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool accept(char c) {
    const bool found = at_ < text_.size() && text_[at_] == c;
    at_ += found;
    return found;
  }

  void expect(char c) {
    if (!accept(c)) fail(std::string("no '") + c + "'");
  }

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }

  Value value(int depth) {
    skip_space();
    switch (peek()) {
      case '{':
        return {object(depth)};
      case '[':
        return {array(depth)};
      case '"':
        return {string()};
      case 't':
        return word("true"), Value{true};
      case 'f':
        return word("false"), Value{false};
      case 'n':
        return word("null"), Value{nullptr};
      default:
        return number();
    }
  }

  void word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) fail("an unknown word");
    at_ += expected.size();
  }

  void enter(int depth) {
    if (depth == kMaxDepth) fail("nested more than " + std::to_string(kMaxDepth) + " deep");
    ++at_;
    skip_space();
  }

  Object object(int depth) {
    enter(depth);
    Object members;
    if (accept('}')) return members;
    do {
      skip_space();
      std::string key = string();
      skip_space();
      expect(':');
      members.push_back({std::move(key), value(depth + 1)});
      skip_space();
    } while (accept(','));
    expect('}');
    std::ranges::sort(members, {}, &Member::key);
    const auto repeated = std::ranges::adjacent_find(members, {}, &Member::key);
    if (repeated != members.end()) fail("the key '" + repeated->key + "' twice in the object");
    return members;
  }

  Array array(int depth) {
    enter(depth);
    Array items;
    if (accept(']')) return items;
    do {
      items.push_back(value(depth + 1));
      skip_space();
    } while (accept(','));
    expect(']');
    return items;
  }

  std::string string() {
    expect('"');
    std::string result;
    while (!accept('"')) {
      const char c = peek();
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character or the end in a string");
      ++at_;
      if (c == '\\') {
        escape(result);
      } else {
        result.push_back(c);
      }
    }
    return result;
  }

  void escape(std::string& result) {
    static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = peek();
    if (const auto index = kLetters.find(letter); index != kLetters.npos) {
      ++at_;
      result.push_back(kMeanings[index]);
      return;
    }
    expect('u');
    unsigned code = hex();
    if (0xD800 <= code && code < 0xDC00) {
      if (text_.substr(at_, 2) != "\\u") fail("a lone surrogate");
      at_ += 2;
      const unsigned low = hex();
      if (low < 0xDC00 || low > 0xDFFF) fail("a lone surrogate");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (0xDC00 <= code && code < 0xE000) {
      fail("a lone surrogate");
    }
    append_utf8(result, code);
  }

  unsigned hex() {
    const std::string_view digits = text_.substr(at_, 4);
    unsigned code = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (error != std::errc{} || end - digits.data() != 4) fail("a bad \\u escape");
    at_ += 4;
    return code;
  }

  std::size_t digits() {
    const std::size_t start = at_;
    while (is_digit(peek())) ++at_;
    return at_ - start;
  }

  Value number() {
    const std::size_t start = at_;
    accept('-');
    const bool zero = peek() == '0';
    const std::size_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) fail("no value");
    bool real = false;
    if (accept('.')) {
      real = true;
      if (digits() == 0) fail("a number that ends in its point");
    }
    const std::size_t mantissa = at_ - start;
    if (accept('e') || accept('E')) {
      real = true;
      if (!accept('-')) accept('+');
      if (digits() == 0) fail("a number without its exponent");
    }
    const std::string_view token = text_.substr(start, at_ - start);
    if (real) return {convert<double>(token, token.substr(0, mantissa))};
    return {convert<std::int64_t>(token, token)};
  }

  template <class T>
  T convert(std::string_view token, std::string_view mantissa) const {
    T result = 0;
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), result);
    bool right = error == std::errc{} && end == token.data() + token.size();
    if constexpr (std::is_same_v<T, double>) {
      const bool vanished = result == 0 && mantissa.find_first_not_of("-0.") != mantissa.npos;
      right = right && std::isfinite(result) && !vanished;
    }
    if (!right) fail("the number " + std::string(token.substr(0, 24)) + " out of range");
    return result;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

const Value* find(const Object& object, std::string_view key) {
  const auto found = std::ranges::lower_bound(object, key, {}, &Member::key);
  return found != object.end() && found->key == key ? &found->value : nullptr;
}

Value parse(std::string_view text) { return Parser(text).document(); }

}  // namespace ifast::json
