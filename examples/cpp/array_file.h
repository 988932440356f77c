#pragma once

#include <cstddef>
#include <string>
#include <vector>

// Float32 arrays in files: NumPy's .npy where the name ends so, else bare numbers, little endian.
// Both throw std::runtime_error with the file's name.

struct Array {
  std::vector<std::size_t> shape;  // row-major; {count} where the file has bare numbers
  std::vector<float> values;
};

// Takes .npy of formats 1 to 3, dtype '<f4', in C order.
Array read_array(const std::string& path);

void write_array(const std::string& path, const Array& array);
