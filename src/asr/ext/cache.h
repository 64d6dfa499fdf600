// The decoder's self-attention cache, cell by cell, and which tokens logits are computed for. Included in whisper.cpp
// before the function that builds the decoder's graph (see apply.cmake).
//
// whisper.cpp looks for as many free cells in a row as a batch has tokens, from where the last search ended. Beams leave
// single free cells behind, so it walks to the end of a cache that has room for all beams at full length: 85 MB for
// whisper-small, and attention looks at every cell on the way, the dead ones included. Here a token takes the lowest
// free cell, wherever it is; the cache holds little more than what is alive, and grows when that is not enough.

// Cells at first.
static const int32_t IMESLI_CELLS = 256;
// Rows of logits that the compute buffer has room for from the start: as many beams.
static const int32_t IMESLI_ROWS_AT_FIRST = 16;

// The cells of the tokens of the batch, and whether logits are kept only for the tokens that want them. Graph and inputs
// are made on the thread that decodes.
static thread_local std::vector<int32_t> imesli_cells;
static thread_local bool imesli_compact = false;

// Gives each token of the batch the lowest free cell.
static bool imesli_take_cells(whisper_kv_cache & cache, const whisper_batch & batch) {
    imesli_cells.clear();
    for (uint32_t i = 0; i < cache.size && (int32_t) imesli_cells.size() < batch.n_tokens; ++i) {
        if (cache.cells[i].pos < 0) { imesli_cells.push_back(i); }
    }
    if ((int32_t) imesli_cells.size() < batch.n_tokens) {
        return false;
    }
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        auto & cell = cache.cells[imesli_cells[i]];
        cell.pos = batch.pos[i];
        for (int32_t j = 0; j < batch.n_seq_id[i]; j++) { cell.seq_id.insert(batch.seq_id[i][j]); }
    }
    return true;
}

// The graph's input that says where keys and values go.
static ggml_tensor * imesli_cells_input(ggml_context * ctx, int32_t n_tokens) {
    ggml_tensor * cells = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, n_tokens);
    ggml_set_name(cells, "imesli_cells");
    ggml_set_input(cells);
    return cells;
}

static void imesli_set_cells(ggml_cgraph * gf) {
    ggml_tensor * cells = ggml_graph_get_tensor(gf, "imesli_cells");
    if (cells != nullptr) { // not with the attention that wants its cells in a row
        ggml_backend_tensor_set(cells, imesli_cells.data(), 0, imesli_cells.size()*sizeof(int32_t));
    }
}

// Writes the rows of keys or values of one layer to their cells.
static ggml_tensor * imesli_store(ggml_context * ctx, ggml_tensor * rows, ggml_tensor * all, int32_t n_state, int32_t n_ctx, int32_t il,
                                  ggml_tensor * cells) {
    const size_t row = ggml_row_size(all->type, n_state);
    return ggml_set_rows(ctx, ggml_view_2d(ctx, all, n_state, n_ctx, row, row*n_ctx*il), rows, cells);
}

// The first token that logits are computed for: from there on to the last. At least the last, whoever wants it.
static int32_t imesli_first_row(const whisper_batch & batch, bool worst_case) {
    const int32_t most = worst_case ? std::min(batch.n_tokens, IMESLI_ROWS_AT_FIRST) : 1;
    int32_t first = batch.n_tokens - most;
    for (int32_t i = 0; i < first; ++i) {
        if (batch.logits[i] != 0) { return i; }
    }
    return first;
}

// Makes the cache hold n_cells, and keeps what is in it. On failure the old one stays.
static bool imesli_grow(whisper_kv_cache & cache, ggml_backend_t backend, ggml_type type, int64_t n_state, int64_t n_layer, int32_t n_cells) {
    whisper_kv_cache fresh = {};
    if (!whisper_kv_cache_init(fresh, backend, type, n_state, n_layer, n_cells)) {
        return false;
    }
    std::copy(cache.cells.begin(), cache.cells.end(), fresh.cells.begin());
    const size_t row = ggml_row_size(type, n_state);
    std::vector<uint8_t> layer(row*cache.size);
    for (int64_t il = 0; il < n_layer; ++il) {
        for (const auto & pair : { std::make_pair(cache.k, fresh.k), std::make_pair(cache.v, fresh.v) }) {
            ggml_backend_tensor_get(pair.first, layer.data(), layer.size()*il, layer.size());
            ggml_backend_tensor_set(pair.second, layer.data(), row*n_cells*il, layer.size());
        }
    }
    fresh.n = cache.n;
    whisper_kv_cache_free(cache);
    cache = std::move(fresh);
    return true;
}
