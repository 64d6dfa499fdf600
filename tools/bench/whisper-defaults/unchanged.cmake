# Nothing: whisper.cpp as upstream has it, in place of src/asr/ext/apply.cmake.
