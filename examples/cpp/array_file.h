#pragma once

#include <cstddef>
#include <string>
#include <vector>

// Arrays of float32 or bytes in files: NumPy's .npy where the name ends so, else bare numbers,
// little endian. All throw std::runtime_error with the file's name.

template <class T>
struct Array {
  std::vector<std::size_t> shape;  // row-major; {count} where the file has bare numbers
  std::vector<T> values;
};

// Takes .npy of formats 1 to 3, dtype '<f4' for float and '|u1' for std::uint8_t, in C order.
template <class T>
Array<T> read_array(const std::string& path);

void write_array(const std::string& path, const Array<float>& array);
