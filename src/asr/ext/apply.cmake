# Run by CMake after each project() call of whisper.cpp's build (CMAKE_PROJECT_INCLUDE, set in
# .cargo/config.toml): whisper-rs-sys builds a copy of whisper.cpp in its own output folder, and this
# appends our extension to the copied unit, once, so that it sees whisper.cpp's static functions.
if(PROJECT_NAME STREQUAL "whisper.cpp")
    set(imesli_unit "${PROJECT_SOURCE_DIR}/src/whisper.cpp")
    set(imesli_line "#include \"${CMAKE_CURRENT_LIST_DIR}/whisper_ext.cpp\"")
    file(READ "${imesli_unit}" imesli_source)
    # A checkout may have moved since the copy was made: drop the line of an earlier place.
    string(REGEX REPLACE "\n#include \"[^\"]*/whisper_ext\\.cpp\"\n" "" imesli_clean "${imesli_source}")
    set(imesli_wanted "${imesli_clean}\n${imesli_line}\n")
    if(NOT imesli_source STREQUAL imesli_wanted)
        file(WRITE "${imesli_unit}" "${imesli_wanted}")
    endif()
endif()
