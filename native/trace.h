// Where the forward pass keeps what it found out about each tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "buffers.h"
#include "types.h"

namespace perse {

// A stack of chunks that lends out more room than will be used: memory that was never written costs nothing.
template <typename T>
class Arena {
 public:
  void clear() { chunk_ = used_ = 0; }

  // Room for `count` values, valid until the next call; keep() makes the first of them stay.
  T* room(std::size_t count) {
    while (chunk_ < chunks_.size() && used_ + count > chunks_[chunk_]->size) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) {
      chunks_.push_back(std::make_unique<Chunk>());
      chunks_.back()->size = std::max(count, kChunk);
      chunks_.back()->values.resize(chunks_.back()->size);
    }
    return chunks_[chunk_]->values.data() + used_;
  }
  void keep(std::size_t count) { used_ += count; }

 private:
  static constexpr std::size_t kChunk = std::size_t{1} << 21;
  struct Chunk {
    AlignedBuffer<T> values;
    std::size_t size = 0;
  };
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::size_t chunk_ = 0, used_ = 0;
};

// The traces of all tiles of an image. Each part of the forward pass has its own room.
struct Traces {
  struct Room {
    Arena<Drawn> drawn;
    Arena<uint32_t> hits;
  };
  std::vector<Trace> of_tile;
  std::vector<std::unique_ptr<Room>> rooms;

  void start(int tiles, int parts) {
    of_tile.resize(tiles);
    while (static_cast<int>(rooms.size()) < parts) rooms.push_back(std::make_unique<Room>());
    for (const std::unique_ptr<Room>& room : rooms) {
      room->drawn.clear();
      room->hits.clear();
    }
  }
};

}  // namespace perse
