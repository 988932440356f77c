#include "cuda/launch/tile_code.h"

namespace ifast::cuda {
namespace {

// Per chunk, from SASS: the ring, the barrier, the tap and the branch; a pixel's address and
// whether it lies in the image; a column's address.
constexpr double kRoundInstructions = 30;
constexpr double kPixelInstructions = 7;
constexpr double kColumnInstructions = 1;

// What a fragment needs besides its load, and a product besides itself.
struct FormatCode {
  double left, right, product;
  int products;
  int resident;  // blocks, by registers
};

FormatCode format_code(Precision precision) {
  switch (precision) {
    case Precision::kTf32:
      return {8, 0, 0, 1, 3};
    case Precision::kFp32:
      return {24, 6, 4, 3, 2};
    default:
      return {0, 0, 0, 1, 3};
  }
}

}  // namespace

TileCode tile_code(const TileShape& shape, Precision precision) {
  TileCode code;
  code.rows = shape.rows;
  code.columns = shape.columns;
  code.warps = shape.threads() / 32;
  code.unit_rows = shape.rows / shape.warp_rows;
  code.unit_columns = shape.columns / shape.warp_columns;
  code.chunk_bytes = kChunkBytes;
  code.ring = shape.stages;
  const FormatCode format = format_code(precision);
  code.products = format.products;
  code.resident = shape.throughput ? 2 : format.resident;
  // Of a warp: fragments of 16 rows or 8 columns by 32 bytes of K.
  const double depth = kChunkBytes / 32.0;
  const double left = code.unit_rows / 16.0 * depth, right = code.unit_columns / 8.0 * depth;
  const double products = left * right / depth;
  const double pixels = double(shape.rows) * kChunkVectors / shape.threads();
  const double columns = double(shape.columns) * kChunkVectors / shape.threads();
  code.instructions = kRoundInstructions + (1 + kPixelInstructions) * pixels +
                      (1 + kColumnInstructions) * columns + (1 + format.left) * left +
                      (0.5 + format.right) * right + (format.products + format.product) * products;
  return code;
}

std::vector<TileCode> tile_codes(Precision precision) {
  std::vector<TileCode> codes;
  for (const TileShape& shape : kShapes) codes.push_back(tile_code(shape, precision));
  return codes;
}

}  // namespace ifast::cuda
