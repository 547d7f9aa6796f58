// Blending one tile, near to far.
#pragma once

#include "pixels.h"

namespace perse {
namespace PERSE_ISA {

template <int channels>
struct ForwardTile {
  Float transmittance[kBlocks];
  Float blended[kBlocks][channels];
};

// Alpha of a Gaussian in the pixels of a block, 0 where it is below 1/255.
PERSE_INLINE Float visible_alpha(const Record& g, const Profile& profile, int block) {
  Float log2_alpha = exponent(g, profile, block);
  return select(log2_alpha >= kLog2MinAlpha, min(exp2(log2_alpha), kMaxAlpha), 0.f);
}

// Blends one Gaussian into one block; the pixels that took it, a bit each.
template <int channels>
PERSE_INLINE uint32_t blend_block(ForwardTile<channels>& tile, const Record& g, Float alpha, int block) {
  Float before = tile.transmittance[block], weight = alpha * before, after = before * (1.f - alpha);
  Mask live = after > kMinTransmittance;  // false for finished pixels, where `after` is negative
  tile.transmittance[block] = select(live, after, abs_negated(before));
  weight = select(live, weight, 0.f);
  for (int c = 0; c < channels; ++c) tile.blended[block][c] = tile.blended[block][c] + weight * g.channel[c];
  return bits(weight > 0.f);
}

PERSE_INLINE uint64_t blocks_alive(const Float* transmittance, uint64_t among) {
  uint64_t alive = 0;
  for (int block = 0; block < kBlocks; ++block) {
    alive |= static_cast<uint64_t>(any(transmittance[block] > 0.f)) << block;
  }
  return alive & among;
}

// Finds the blocks that `size` Gaussians of the list touch -> how many hits, each (place in the batch) * kBlocks + block.
PERSE_INLINE int find_hits(const TileJob& job, const uint32_t* list, uint32_t size, float tile_x, float tile_y,
                           uint64_t alive, Profile* profiles, uint32_t* hits) {
  int count = 0;
  for (uint32_t i = 0; i < size; i += kTogether) {
    const Record* records[kTogether];
    uint64_t touched[kTogether];
    for (int k = 0; k < kTogether; ++k) {
      PERSE_PREFETCH(&job.records[list[i + k + kPrefetch - kTogether]]);
      records[k] = &job.records[list[i + k]];
    }
    touched_blocks(records, tile_x, tile_y, touched);
    for (int k = 0; k < kTogether; ++k) {
      make_profile(*records[k], tile_x, tile_y, profiles[i + k]);
      if (i + k < size) count += append_set_bits(touched[k] & alive, (i + k) * kBlocks, hits + count);
    }
  }
  return count;
}

template <int channels>
void forward_tile(const TileJob& job, int tile_index, Trace& trace) {
  const int tile_x = tile_index % job.tiles_x * kTileSize, tile_y = tile_index / job.tiles_x * kTileSize;
  ForwardTile<channels> tile;
  for (int block = 0; block < kBlocks; ++block) {
    tile.transmittance[block] = initial_transmittance(job, tile_x, tile_y, block);
    for (int c = 0; c < channels; ++c) tile.blended[block][c] = 0.f;
  }
  uint64_t alive = blocks_alive(tile.transmittance, ~uint64_t{0});
  uint32_t at = job.tile_begin[tile_index];
  const uint32_t end = job.tile_begin[tile_index + 1];
  uint32_t hits[kBatch * kBlocks + 16];
  Profile profiles[kBatch];
  uint32_t drawn_count = 0, hit_count = 0, tested = 0;
  while (at < end && alive) {
    const uint32_t* list = job.list + at;
    const uint32_t size = end - at < kBatch ? end - at : kBatch;
    const int count = find_hits(job, list, size, tile_x, tile_y, alive, profiles, hits);
    uint32_t drawn_hits[kBatch] = {};
    for (int first = 0; first < count; first += kChunk) {
      const int chunk = count - first < kChunk ? count - first : kChunk;
      Float alpha[kChunk];
      for (int k = 0; k < chunk; ++k) {
        const uint32_t entry = hits[first + k] / kBlocks, block = hits[first + k] % kBlocks;
        alpha[k] = visible_alpha(job.records[list[entry]], profiles[entry], block);
      }
      for (int k = 0; k < chunk; ++k) {
        const uint32_t entry = hits[first + k] / kBlocks, block = hits[first + k] % kBlocks;
        const uint32_t pixels = blend_block(tile, job.records[list[entry]], alpha[k], block);
        trace.hits[hit_count] = block << 16 | pixels;
        hit_count += pixels != 0;
        drawn_hits[entry] += pixels != 0;
      }
    }
    for (uint32_t k = 0; k < size; ++k) {
      trace.drawn[drawn_count] = {list[k], drawn_hits[k]};
      drawn_count += drawn_hits[k] != 0;
    }
    tested += count;
    alive = blocks_alive(tile.transmittance, alive);
    at += size;
  }
  trace.drawn_count = drawn_count;
  trace.hit_count = hit_count;
  trace.visited = at - job.tile_begin[tile_index];
  trace.tested = tested;
  Drawing<channels> drawing;
  float* left = job.left + static_cast<size_t>(tile_index) * kTilePixels;
  for (int block = 0; block < kBlocks; ++block) {
    const Float transmittance = -abs_negated(tile.transmittance[block]);
    store(left + block * Float::width, transmittance);
    put_block(drawing.left, block, transmittance);
    for (int c = 0; c < channels; ++c) put_block(drawing.blended[c], block, tile.blended[block][c]);
  }
  drawing.write(job, tile_x, tile_y);
}

}  // namespace PERSE_ISA
}  // namespace perse
