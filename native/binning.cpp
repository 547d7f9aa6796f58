#include "binning.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "thread_pool.h"

namespace perse {
namespace {

constexpr int kMaxDigitBits = 12;  // of a radix sort: the counters of a digit stay in the first-level cache

}  // namespace

// A stable radix sort: the bits of positive floats are ordered as the floats are. The bits that vary among the depths of
// a scene fit into few digits.
DepthOrder sort_by_depth(int count, const float* depths, BinningScratch& scratch) {
  uint32_t *keys = scratch.keys[0].resize(count), *other_keys = scratch.keys[1].resize(count);
  uint32_t *ids = scratch.ids[0].resize(count), *other_ids = scratch.ids[1].resize(count);
  int drawn = 0;
  uint32_t lowest = UINT32_MAX, highest = 0;
  for (int id = 0; id < count; ++id) {  // without branches: each writes, the next overwrites what is not drawn
    const bool is_drawn = depths[id] > 0.f;
    uint32_t key;
    std::memcpy(&key, &depths[id], sizeof key);
    keys[drawn] = key;
    ids[drawn] = static_cast<uint32_t>(id);
    drawn += is_drawn;
    lowest = std::min(lowest, is_drawn ? key : UINT32_MAX);
    highest = std::max(highest, is_drawn ? key : 0);
  }
  if (!drawn) return {ids, 0};

  int bits = 1;
  while (bits < 32 && (highest - lowest) >> bits) ++bits;
  const int passes = (bits + kMaxDigitBits - 1) / kMaxDigitBits, digit_bits = (bits + passes - 1) / passes;
  const uint32_t size = 1u << digit_bits;
  const auto digit = [=](uint32_t key, int pass) { return (key - lowest) >> (digit_bits * pass) & (size - 1); };
  std::vector<uint32_t> starts(passes * size, 0);
  for (int k = 0; k < drawn; ++k) {
    for (int pass = 0; pass < passes; ++pass) ++starts[pass * size + digit(keys[k], pass)];
  }
  for (int pass = 0; pass < passes; ++pass) {
    uint32_t *start = &starts[pass * size], total = 0;
    for (uint32_t d = 0; d < size; ++d) total += std::exchange(start[d], total);
    for (int k = 0; k < drawn; ++k) {
      const uint32_t to = start[digit(keys[k], pass)]++;
      other_keys[to] = keys[k];
      other_ids[to] = ids[k];
    }
    std::swap(keys, other_keys);
    std::swap(ids, other_ids);
  }
  return {ids, drawn};
}

void bin_gaussians(const DepthOrder& order, const TileRect* rects, int parts, BinningScratch& scratch, TileLists& lists) {
  const uint32_t* ids = order.ids;
  const int drawn = order.count;
  const int tiles = lists.tiles(), tiles_x = lists.tiles_x;
  uint32_t* begin = lists.begin.resize(tiles + 1);
  if (static_cast<int>(scratch.counts.size()) < parts) {
    scratch.counts = std::vector<AlignedBuffer<uint32_t>>(parts);
    scratch.corners = std::vector<AlignedBuffer<uint32_t>>(parts);
  }
  TileRect* sorted_rects = scratch.sorted_rects.resize(drawn);

  // Each part takes a contiguous range of the depth order: it counts, then writes behind the parts before it.
  const auto range = [=](int part) {
    const int64_t size = drawn;
    return std::pair<int, int>(size * part / parts, size * (part + 1) / parts);
  };
  run_parts(parts, [&](int part) {
    // How many Gaussians cover each tile: the corners of their rectangles, summed from the upper left.
    const auto [first, last] = range(part);
    const int stride = tiles_x + 1;
    uint32_t* corners = scratch.corners[part].resize(static_cast<size_t>(stride) * (lists.tiles_y + 1));
    std::fill_n(corners, static_cast<size_t>(stride) * (lists.tiles_y + 1), 0u);
    for (int k = first; k < last; ++k) {
      const TileRect rect = sorted_rects[k] = rects[ids[k]];
      ++corners[rect.y0 * stride + rect.x0];
      --corners[rect.y0 * stride + rect.x1];
      --corners[rect.y1 * stride + rect.x0];
      ++corners[rect.y1 * stride + rect.x1];
    }
    uint32_t* counts = scratch.counts[part].resize(tiles);
    for (int y = 0; y < lists.tiles_y; ++y) {
      uint32_t along_row = 0;
      for (int x = 0; x < tiles_x; ++x) {
        along_row += corners[y * stride + x];
        counts[y * tiles_x + x] = along_row + (y ? counts[(y - 1) * tiles_x + x] : 0u);
      }
    }
  });
  uint64_t total = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    begin[tile] = static_cast<uint32_t>(total);
    for (int part = 0; part < parts; ++part) {
      total += std::exchange(scratch.counts[part].data()[tile], static_cast<uint32_t>(total));
    }
  }
  if (total > UINT32_MAX - kPrefetch) throw std::length_error("the Gaussians cover too many tiles");
  begin[tiles] = static_cast<uint32_t>(total);
  uint32_t* list = lists.list.resize(total + kPrefetch);
  std::memset(list + total, 0, kPrefetch * sizeof *list);
  run_parts(parts, [&](int part) {
    uint32_t* next = scratch.counts[part].data();
    const auto [first, last] = range(part);
    for (int k = first; k < last; ++k) {
      const TileRect rect = sorted_rects[k];
      const int width = rect.x1 - rect.x0, area = width * (rect.y1 - rect.y0);
      int tile = rect.y0 * tiles_x + rect.x0, left = width;
      for (int visited = 0; visited < area; ++visited) {  // one loop, not two: its end is guessed wrong only once
        list[next[tile]++] = ids[k];
        const bool row_ends = --left == 0;
        tile += row_ends ? tiles_x - width + 1 : 1;
        left = row_ends ? width : left;
      }
    }
  });
}

}  // namespace perse
