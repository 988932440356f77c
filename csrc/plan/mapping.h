#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace ifast {

// A file mapped into memory, privately and read-only.
class Mapping {
 public:
  // Throws EngineError.
  explicit Mapping(const std::string& path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> contents() const {
    return {static_cast<const std::byte*>(data_), size_};
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ifast
