#include "cpu/conv/winograd_weights.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <utility>

#include "cpu/kernels/convert.h"
#include "cpu/kernels/generic/winograd_matrices.h"

namespace ifast::cpu {
namespace {

constexpr std::size_t kWordBits = 32;

// [rows][columns]
struct Matrix {
  Matrix(int rows, int columns)
      : rows(rows), columns(columns), values(static_cast<std::size_t>(rows) * columns) {}
  double& at(int i, int j) { return values[static_cast<std::size_t>(i) * columns + j]; }
  double at(int i, int j) const { return values[static_cast<std::size_t>(i) * columns + j]; }

  int rows;
  int columns;
  std::vector<double> values;
};

Matrix filter_matrix(const WinogradSize& size) {
  Matrix g(size.points, size.taps());
  for (int i = 0; i < g.rows; ++i) {
    for (int k = 0; k < g.columns; ++k) g.at(i, k) = winograd_filter(g.columns, g.rows, i, k);
  }
  return g;
}

// (G^T G)^-1 G^T, by elimination: G^T G is positive definite, so its pivots are.
Matrix least_squares(const Matrix& g) {
  const int taps = g.columns, points = g.rows;
  Matrix system(taps, taps + points);
  for (int i = 0; i < taps; ++i) {
    for (int p = 0; p < points; ++p) {
      for (int j = 0; j < taps; ++j) system.at(i, j) += g.at(p, i) * g.at(p, j);
      system.at(i, taps + p) = g.at(p, i);
    }
  }
  for (int pivot = 0; pivot < taps; ++pivot) {
    for (int i = 0; i < taps; ++i) {
      const double factor = system.at(i, pivot) / system.at(pivot, pivot);
      for (int j = 0; j < system.columns && i != pivot; ++j) {
        system.at(i, j) -= factor * system.at(pivot, j);
      }
    }
  }
  Matrix inverse(taps, points);
  for (int i = 0; i < taps; ++i) {
    for (int p = 0; p < points; ++p) inverse.at(i, p) = system.at(i, taps + p) / system.at(i, i);
  }
  return inverse;
}

// m x, or for two dimensions m x m^T.
std::vector<double> apply(const Matrix& m, const std::vector<double>& x, int dimensions) {
  const int lines = dimensions == 2 ? m.columns : 1;  // of x, each of m.columns
  Matrix once(m.rows, lines);
  for (int i = 0; i < m.rows; ++i) {
    for (int l = 0; l < lines; ++l) {
      for (int k = 0; k < m.columns; ++k) once.at(i, l) += m.at(i, k) * x[l * m.columns + k];
    }
  }
  if (dimensions == 1) return once.values;
  std::vector<double> twice(static_cast<std::size_t>(m.rows) * m.rows);
  for (int y = 0; y < m.rows; ++y) {
    for (int i = 0; i < m.rows; ++i) {
      for (int k = 0; k < m.columns; ++k) twice[y * m.rows + i] += m.at(y, k) * once.at(i, k);
    }
  }
  return twice;
}

// A bit for each weight, 32 of them in a float's memory.
template <class Predicate>
const float* pack_bits(const std::vector<float>& weights, Packer& packer, Predicate is_set) {
  const std::size_t words = (weights.size() + kWordBits - 1) / kWordBits;
  return packer.array(words, [&](float* bits) {
    for (std::size_t w = 0; w < words; ++w) {
      std::uint32_t word = 0;
      for (std::size_t i = w * kWordBits; i < std::min(weights.size(), (w + 1) * kWordBits); ++i) {
        word |= std::uint32_t{is_set(weights[i])} << i % kWordBits;
      }
      bits[w] = std::bit_cast<float>(word);
    }
  });
}

bool bit(const float* bits, std::size_t i) {
  return std::bit_cast<std::uint32_t>(bits[i / kWordBits]) >> i % kWordBits & 1;
}

}  // namespace

WinogradWeights::WinogradWeights(const ConvProblem& problem, const WinogradLayout& layout,
                                 const std::vector<ColumnTile>& tiles, int lanes, Packer& packer)
    : layout_(layout),
      lanes_(lanes),
      in_channels_(problem.in_channels),
      out_channels_(problem.out_channels),
      tap_count_(problem.tap_count()),
      group_units_(layout.dot ? in_channels_ / 2 : in_channels_),
      units_(static_cast<int>(layout.groups.size()) * group_units_) {
  const std::size_t tile_floats = static_cast<std::size_t>(layout_.size().positions()) * units_;
  const std::size_t count = padded_channels(tiles, lanes) * tile_floats;
  packed_ = packer.array(count, [&](float* packed) {
    std::fill_n(packed, count, 0.0f);
    for (const ColumnTile& tile : tiles) pack(problem, tile, packed + tile.offset * tile_floats);
  });
  const auto is_zero = [](float weight) { return weight == 0.0f; };
  negative_ = pack_bits(problem.weights, packer, [](float weight) { return weight < 0.0f; });
  if (std::any_of(problem.weights.begin(), problem.weights.end(), is_zero)) {
    zeros_ = pack_bits(problem.weights, packer, is_zero);
  }
}

void WinogradWeights::pack(const ConvProblem& problem, const ColumnTile& tile,
                           float* packed) const {
  const WinogradSize& size = layout_.size();
  const Matrix g = filter_matrix(size);
  const int width = tile.width(lanes_);
  // Of a group's taps between two channels, by position.
  const auto transformed = [&](int out, const WinogradLayout::Group& group, int in) {
    std::vector<double> taps;
    for (int tap : group.taps) taps.push_back(tap < 0 ? 0.0 : problem.weight(out, tap, in));
    return apply(g, taps, size.dimensions);
  };
  for (int unit = 0; unit < units_; ++unit) {
    const WinogradLayout::Group& group = layout_.groups[unit / group_units_];
    const int in = unit % group_units_ * (layout_.dot ? 2 : 1);
    for (int j = 0; j < tile.columns; ++j) {
      const auto first = transformed(tile.channel + j, group, in);
      const auto second =
          layout_.dot ? transformed(tile.channel + j, group, in + 1) : std::vector<double>();
      for (int p = 0; p < size.positions(); ++p) {
        const float value = static_cast<float>(first[p]);
        packed[(static_cast<std::size_t>(p) * units_ + unit) * width + j] =
            layout_.dot ? bfloat16_pair(value, static_cast<float>(second[p])) : value;
      }
    }
  }
}

std::vector<float> WinogradWeights::taps(const std::vector<ColumnTile>& tiles) const {
  const WinogradSize& size = layout_.size();
  const Matrix inverse = least_squares(filter_matrix(size));
  const int per_unit = layout_.dot ? 2 : 1;
  std::vector<float> taps(static_cast<std::size_t>(out_channels_) * tap_count_ * in_channels_);
  std::vector<double> transformed(size.positions());
  for (const ColumnTile& tile : tiles) {
    for (int j = 0; j < tile.columns; ++j) {
      for (int i = 0; i < units_ * per_unit; ++i) {
        const int unit = i / per_unit, group = unit / group_units_;
        const int in = i - group * group_units_ * per_unit;
        for (int p = 0; p < size.positions(); ++p) {
          const float packed =
              panel(tile, p)[static_cast<std::size_t>(unit) * tile.width(lanes_) + j];
          transformed[p] = layout_.dot ? bfloat16_of_pair(packed, i % 2) : packed;
        }
        const auto values = apply(inverse, transformed, size.dimensions);
        for (std::size_t k = 0; k < values.size(); ++k) {
          const int tap = layout_.groups[group].taps[k];
          if (tap < 0) continue;
          const std::size_t at =
              (static_cast<std::size_t>(tile.channel + j) * tap_count_ + tap) * in_channels_ + in;
          if (zeros_ && bit(zeros_, at)) continue;
          const bool negative = bit(negative_, at);
          const float value = static_cast<float>(negative ? -values[k] : values[k]);
          const float magnitude = std::max(value, std::numeric_limits<float>::min());
          taps[at] = negative ? -magnitude : magnitude;
        }
      }
    }
  }
  return taps;
}

}  // namespace ifast::cpu
