#include "plan/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "plan/plan.h"

namespace ifast {
namespace {

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

void require(bool succeeded) {
  if (!succeeded) throw EngineError(std::generic_category().message(errno));
}

}  // namespace

Mapping::Mapping(const std::string& path) {
  // The path comes from a std::string, which may hold a NUL that open() would stop at.
  if (path.find('\0') != path.npos) throw EngineError("a path with a NUL in it");
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  require(file.value >= 0);
  struct stat status{};
  require(fstat(file.value, &status) == 0);
  size_ = static_cast<std::size_t>(status.st_size);
  // An empty file cannot be mapped.
  if (size_ == 0) return;
  void* const data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
  require(data != MAP_FAILED);
  data_ = data;
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace ifast
