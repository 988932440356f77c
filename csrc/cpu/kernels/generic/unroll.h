#pragma once

namespace ifast::cpu {
namespace {

template <int I>
struct Index {
  static constexpr int value = I;
};

// f(Index<0>{}), ..., f(Index<N - 1>{}): a loop whose counter is a constant expression.
template <int N, int I = 0, class F>
inline __attribute__((always_inline)) void unroll(F&& f) {
  if constexpr (I < N) {
    f(Index<I>{});
    unroll<N, I + 1>(static_cast<F&&>(f));
  }
}

}  // namespace
}  // namespace ifast::cpu
