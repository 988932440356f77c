#pragma once

#include "ptx/memory.cuh"

namespace ifast::cuda {

// A struct in global memory, whose fields are read one by one: `record[&Step::chunks]`. Each use is
// a load, which stays where it is written: nothing in a loop over K may be one.
template <class T>
class Record {
 public:
  IFAST_DEVICE explicit Record(const T* at) : at_(at) {}

  template <class Field>
  IFAST_DEVICE Field operator[](Field T::* field) const {
    return ptx::load_record(&(at_->*field));
  }
  IFAST_DEVICE T whole() const { return ptx::load_record(at_); }

 private:
  const T* at_;
};

}  // namespace ifast::cuda
