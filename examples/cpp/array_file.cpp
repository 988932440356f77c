#include "array_file.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string_view>

static_assert(std::endian::native == std::endian::little, "files are read and written as memory");

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxRank = 8;
// Before the text: the magic, two bytes of version, two or four of the text's length.
constexpr std::size_t kVersion = 6, kLength = 8;

bool is_npy(const std::string& path) { return path.ends_with(".npy"); }

void require(bool condition, const std::string& problem) {
  if (!condition) throw std::runtime_error(problem);
}

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  require(file.is_open() && std::filesystem::is_regular_file(path), "cannot be read");
  std::string bytes(std::filesystem::file_size(path), '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  require(static_cast<std::size_t>(file.gcount()) == bytes.size(), "cannot be read to its end");
  return bytes;
}

// The text of a .npy, a Python dict of three known keys, from left to right.
class Header {
 public:
  Header(std::string_view text, std::string_view dtype) : rest_(text), dtype_(dtype) {}

  std::vector<std::size_t> shape() {
    std::vector<std::size_t> shape;
    expect("{");
    for (int i = 0; i < 3; ++i) {
      if (take("'descr'")) {
        expect(":"), expect(dtype_);
      } else if (take("'fortran_order'")) {
        expect(":"), expect("False");
      } else {
        expect("'shape'"), expect(":");
        require(shape.empty(), "its header has two shapes");
        shape = tuple();
      }
      if (!take(",")) break;
    }
    expect("}");
    return shape;
  }

 private:
  std::vector<std::size_t> tuple() {
    std::vector<std::size_t> extents;
    expect("(");
    while (!take(")")) {
      require(extents.size() < kMaxRank, "it has too many axes");
      extents.push_back(number());
      if (take(",")) continue;
      expect(")");
      break;
    }
    return extents;
  }

  std::size_t number() {
    skip_spaces();
    const std::size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    require(digits >= 1 && digits <= 18, "its shape is not one of reasonable numbers");
    const std::size_t value = std::stoull(std::string(rest_.substr(0, digits)));
    rest_.remove_prefix(digits);
    return value;
  }

  bool take(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  void expect(std::string_view token) {
    require(take(token), "its header has no " + std::string(token) + " where it is expected");
  }

  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size()));
  }

  std::string_view rest_;
  std::string_view dtype_;
};

template <class T>
constexpr std::string_view kDtype = "'<f4'";
template <>
constexpr std::string_view kDtype<std::uint8_t> = "'|u1'";

std::size_t product(const std::vector<std::size_t>& shape) {
  std::size_t count = 1;
  for (const std::size_t extent : shape) {
    require(extent == 0 || count <= std::numeric_limits<std::size_t>::max() / extent / 4,
            "its shape is too large");
    count *= extent;
  }
  return count;
}

// Takes the header off, and returns the shape that it says.
std::vector<std::size_t> take_header(std::string_view& bytes, std::string_view dtype) {
  require(bytes.starts_with(kMagic) && bytes.size() >= kLength + 4, "is not a .npy file");
  const int version = static_cast<unsigned char>(bytes[kVersion]);
  require(version >= 1 && version <= 3, "is a .npy of format " + std::to_string(version));
  const std::size_t width = version == 1 ? 2 : 4;
  std::size_t length = 0;
  for (std::size_t i = 0; i < width; ++i) {
    length |= std::size_t{static_cast<unsigned char>(bytes[kLength + i])} << (8 * i);
  }
  bytes.remove_prefix(kLength + width);
  require(length <= bytes.size(), "is truncated within its header");
  const auto shape = Header(bytes.substr(0, length), dtype).shape();
  bytes.remove_prefix(length);
  return shape;
}

template <class T>
Array<T> parse(std::string_view bytes, bool npy) {
  Array<T> array;
  if (npy) array.shape = take_header(bytes, kDtype<T>);
  const std::size_t count = npy ? product(array.shape) : bytes.size() / sizeof(T);
  require(bytes.size() == count * sizeof(T),
          "has " + std::to_string(bytes.size()) + " bytes of numbers, expected " +
              (npy ? std::to_string(count * sizeof(T)) : "a multiple of 4"));
  if (!npy) array.shape = {count};
  array.values.resize(count);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(array.values.data()));
  return array;
}

std::string header_of(const std::vector<std::size_t>& shape) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (const std::size_t extent : shape) text += std::to_string(extent) + ", ";
  text += "), }";
  // The numbers begin on a multiple of 64 bytes.
  text.resize((kLength + 2 + text.size() + 1 + 63) / 64 * 64 - kLength - 2 - 1, ' ');
  text += '\n';
  std::string header(kMagic);
  header += {'\1', '\0', static_cast<char>(text.size() & 255), static_cast<char>(text.size() >> 8)};
  return header + text;
}

}  // namespace

template <class T>
Array<T> read_array(const std::string& path) try {
  return parse<T>(read_bytes(path), is_npy(path));
} catch (const std::exception& error) {
  throw std::runtime_error(path + ": " + error.what());
}

template Array<float> read_array(const std::string& path);
template Array<std::uint8_t> read_array(const std::string& path);

void write_array(const std::string& path, const Array<float>& array) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (is_npy(path)) file << header_of(array.shape);
  file.write(reinterpret_cast<const char*>(array.values.data()),
             static_cast<std::streamsize>(array.values.size() * sizeof(float)));
  file.close();
  require(!file.fail(), path + ": cannot be written");
}
