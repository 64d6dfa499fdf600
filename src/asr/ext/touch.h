// Memory that is there before it is needed, and none that is not. Included in whisper.cpp before the function that makes
// a compute buffer (see apply.cmake).

// Samples of silence behind the audio in the next spectrogram of this thread; below 0, whisper.cpp's 30 s.
static thread_local int64_t imesli_silence = -1;

// The system gives a page when it is first written to: a buffer that was only asked for makes the first request slow,
// and a server's memory grow for as long as no audio of full length has come.

// Writes to each page of the buffers that a graph was just given, before anything is computed.
static void imesli_touch(ggml_cgraph * graph) {
    static const size_t PAGE = 4096;
    std::vector<ggml_backend_buffer_t> seen;
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        ggml_backend_buffer_t buffer = ggml_graph_node(graph, i)->buffer;
        // Views of weights and of the cache are nodes, too: those buffers have another use.
        if (buffer == nullptr || ggml_backend_buffer_get_usage(buffer) != GGML_BACKEND_BUFFER_USAGE_COMPUTE ||
            !ggml_backend_buffer_is_host(buffer) || std::find(seen.begin(), seen.end(), buffer) != seen.end()) {
            continue;
        }
        seen.push_back(buffer);
        volatile char * base = (volatile char *) ggml_backend_buffer_get_base(buffer);
        const size_t size = ggml_backend_buffer_get_size(buffer);
        for (size_t at = 0; at < size; at += PAGE) { base[at] = 0; }
    }
}
