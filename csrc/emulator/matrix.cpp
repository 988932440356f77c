#include "emulator/matrix.h"

#include <algorithm>
#include <cstring>

#include "emulator/formats.h"
#include "emulator/machine.h"

// Clones are chosen at run time. ISO mode contracts nothing, so all of them give the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define IFAST_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define IFAST_CLONES
#endif

namespace ifast::emulator {
namespace {

constexpr int kRows = 16;
constexpr int kColumns = 8;

// Sixteen-bit elements as their bits, or 32-bit ones: a 16-bit product has twice the depth.
struct Operands {
  alignas(64) std::uint16_t a16[kRows][16];
  alignas(64) std::uint16_t b16[16][kColumns];
  alignas(64) float a[kRows][16];
  alignas(64) float b[16][kColumns];
  alignas(64) float d[kRows][kColumns];
};

IFAST_CLONES void convert_half(const std::uint16_t* from, float* to, int count) {
  for (int i = 0; i < count; ++i) to[i] = half_to_float(from[i]);
}

IFAST_CLONES void convert_bfloat16(const std::uint16_t* from, float* to, int count) {
  for (int i = 0; i < count; ++i) to[i] = bfloat16_to_float(from[i]);
}

IFAST_CLONES void multiply_add(const float (*a)[16], const float (*b)[kColumns],
                               float (*d)[kColumns], int depth) {
  for (int i = 0; i < kRows; ++i) {
    float sum[kColumns];
    for (int j = 0; j < kColumns; ++j) sum[j] = d[i][j];
    for (int k = 0; k < depth; ++k) {
      for (int j = 0; j < kColumns; ++j) sum[j] += a[i][k] * b[k][j];
    }
    for (int j = 0; j < kColumns; ++j) d[i][j] = sum[j];
  }
}

// The layouts of the PTX ISA: lane l holds rows l / 4 (+ 8) of A and D, column l / 4 of B.
void gather_16(const Fragments& f, int row, int pair, Operands& o) {
  std::memcpy(&o.a16[row][2 * pair], &f.a[0], 4);
  std::memcpy(&o.a16[row + 8][2 * pair], &f.a[1], 4);
  std::memcpy(&o.a16[row][2 * pair + 8], &f.a[2], 4);
  std::memcpy(&o.a16[row + 8][2 * pair + 8], &f.a[3], 4);
  for (int half = 0; half < 2; ++half) {
    o.b16[2 * pair + 8 * half][row] = static_cast<std::uint16_t>(f.b[half]);
    o.b16[2 * pair + 8 * half + 1][row] = static_cast<std::uint16_t>(f.b[half] >> 16);
  }
}

void gather_32(const Fragments& f, int row, int column, Operands& o) {
  const auto value = [](std::uint32_t bits) { return std::bit_cast<float>(bits & ~0x1fffu); };
  o.a[row][column] = value(f.a[0]);
  o.a[row + 8][column] = value(f.a[1]);
  o.a[row][column + 4] = value(f.a[2]);
  o.a[row + 8][column + 4] = value(f.a[3]);
  o.b[column][row] = value(f.b[0]);
  o.b[column + 4][row] = value(f.b[1]);
}

template <class T>
const T& operands_of(int lane) {
  return *static_cast<const T*>(current->warp->lanes[lane].operands);
}

}  // namespace

void load_matrices() {
  Lane* const runner = current;
  Machine& machine = *runner->machine;
  ++machine.counts.matrix_loads;
  for (int matrix = 0; matrix < 4; ++matrix) {
    int rows_at[8] = {};  // in each group of four banks
    for (int row = 0; row < 8; ++row) {
      const auto address = operands_of<MatrixRow>(8 * matrix + row).address;
      // A mistake is that of the lane whose row it is.
      current = &runner->warp->lanes[8 * matrix + row];
      std::uint32_t words[4];
      machine.expect(runner->block->shared.read(machine.access(), address, words, 16));
      for (int i = 0; i < 4; ++i) {
        operands_of<MatrixRow>(4 * row + i).registers[matrix] = words[i];
      }
      ++rows_at[address / 16 % 8];
    }
    machine.counts.bank_conflicts += *std::max_element(rows_at, rows_at + 8) - 1;
  }
  current = runner;
}

void multiply_matrices(Format format) {
  ++current->machine->counts.matrix_products;
  Operands o;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const auto& f = operands_of<Fragments>(lane);
    const int row = lane / 4, column = lane % 4;
    if (format == Format::kTf32) {
      gather_32(f, row, column, o);
    } else {
      gather_16(f, row, column, o);
    }
    std::memcpy(&o.d[row][2 * column], &f.d[0], 8);
    std::memcpy(&o.d[row + 8][2 * column], &f.d[2], 8);
  }
  if (format != Format::kTf32) {
    const auto convert = format == Format::kHalf ? convert_half : convert_bfloat16;
    convert(&o.a16[0][0], &o.a[0][0], kRows * 16);
    convert(&o.b16[0][0], &o.b[0][0], 16 * kColumns);
  }
  multiply_add(o.a, o.b, o.d, format == Format::kTf32 ? 8 : 16);
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const auto& f = operands_of<Fragments>(lane);
    const int row = lane / 4, column = lane % 4;
    std::memcpy(&f.d[0], &o.d[row][2 * column], 8);
    std::memcpy(&f.d[2], &o.d[row + 8][2 * column], 8);
  }
}

}  // namespace ifast::emulator
