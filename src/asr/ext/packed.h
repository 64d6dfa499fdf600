// How weights in q8_0 lie in memory once they are packed for the kernels of q8.h. Included by ggml-cpu and by whisper.cpp
// (see apply.cmake).
//
// A block of q8_0 is a scale and 32 bytes of one row. Sixteen rows make a tile: their blocks side by side, first the
// sixteen scales, then four bytes of each row, the next four of each, and so on. A vector register then holds a part of
// sixteen rows, a block's products are summed up in integers, lane by lane, and the scales come in once for a block.
// A tile is as large as its rows: packing is done in place.
#pragma once

#include <stdint.h>
#include <string.h>

enum {
    IMESLI_TILE_ROWS = 16,
    IMESLI_BLOCK = 32,                                      // values
    IMESLI_BLOCK_BYTES = 2 + IMESLI_BLOCK,                  // ggml's block_q8_0
    IMESLI_TILE_BYTES = IMESLI_TILE_ROWS*IMESLI_BLOCK_BYTES, // of one block of each row
    IMESLI_MOST_BLOCKS = 160,                               // the longest rows, 5120 values: those of whisper-large
};

// Packs one tile of rows with `blocks` blocks each. `rows` and `tile` don't overlap. Each byte is turned over by `flip`.
static inline void imesli_pack_tile(const uint8_t * rows, int64_t blocks, uint8_t * tile, uint8_t flip) {
    const uint32_t flips = flip*0x01010101u;
    for (int64_t b = 0; b < blocks; b++) {
        uint8_t * out = tile + b*IMESLI_TILE_BYTES;
        for (int r = 0; r < IMESLI_TILE_ROWS; r++) {
            const uint8_t * block = rows + (r*blocks + b)*IMESLI_BLOCK_BYTES;
            memcpy(out + 2*r, block, 2);
            for (int j = 0; j < IMESLI_BLOCK/4; j++) {
                uint32_t four;
                memcpy(&four, block + 2 + 4*j, 4);
                four ^= flips;
                memcpy(out + 2*IMESLI_TILE_ROWS + 4*(j*IMESLI_TILE_ROWS + r), &four, 4);
            }
        }
    }
}

// One row of a tile as it was.
static inline void imesli_unpack_row(const uint8_t * tile, int row, int64_t blocks, uint8_t * out, uint8_t flip) {
    for (int64_t b = 0; b < blocks; b++) {
        const uint8_t * in = tile + b*IMESLI_TILE_BYTES;
        uint8_t * block = out + b*IMESLI_BLOCK_BYTES;
        memcpy(block, in + 2*row, 2);
        for (int j = 0; j < IMESLI_BLOCK/4; j++) {
            for (int i = 0; i < 4; i++) { block[2 + 4*j + i] = in[2*IMESLI_TILE_ROWS + 4*(j*IMESLI_TILE_ROWS + row) + i] ^ flip; }
        }
    }
}

#ifdef __cplusplus
extern "C" {
#endif
// A tensor whose `extra` points here is packed: all full tiles of its rows; rows that are left over are as they were.
extern const char imesli_packed;
// The `flip` that the kernels want; −1 where this processor has none, and nothing is to be packed.
int imesli_packed_flip(void);
// C [n][m] = B [n][k] · A [m][k]ᵀ in blocks of 32 values, this thread's part of it. A is packed, B is q8_0 with rows of
// `b_row` bytes, C has rows of `c_row` floats.
void imesli_packed_product(int64_t m, int64_t n, int64_t blocks, const void * a, const void * b, int64_t b_row, float * c, int64_t c_row,
                           int ith, int nth);
#ifdef __cplusplus
}
#endif
