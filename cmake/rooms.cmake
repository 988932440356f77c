# One object library per room of csrc that has sources, named ifast_<room>; csrc/README.md has the rules.
include(CheckCXXCompilerFlag)

add_library(ifast_common INTERFACE)
target_include_directories(ifast_common INTERFACE ${PROJECT_SOURCE_DIR}/csrc)
target_compile_definitions(ifast_common INTERFACE IFAST_VERSION="${IFAST_VERSION}")
# A kind of step or dtype that a switch forgets does not compile.
target_compile_options(ifast_common INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror=switch>")
target_link_libraries(ifast_common INTERFACE Threads::Threads)

function(ifast_room room)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/${room}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "${IFAST_SKIPPED_SOURCES}")
  if(sources)
    add_library(ifast_${room} OBJECT EXCLUDE_FROM_ALL ${sources})
    target_link_libraries(ifast_${room} PUBLIC ifast_common)
  endif()
endfunction()

# Instruction sets are chosen at run time, so each has a folder of csrc/cpu/kernels, and only what is in it gets its flags.
set(kernels ${PROJECT_SOURCE_DIR}/csrc/cpu/kernels)
set(avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma -mf16c)
set(IFAST_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(IFAST_FLAGS_avx512 ${avx512})
set(IFAST_FLAGS_avx512_bf16 ${avx512} -mavx512bf16)
set(IFAST_FLAGS_avx512_vnni ${avx512} -mavx512vnni)

set(IFAST_INSTRUCTION_SETS "")
set(IFAST_SKIPPED_SOURCES "^$")
foreach(set avx2 avx512 avx512_bf16 avx512_vnni)
  string(TOUPPER ${set} SET)
  string(REPLACE ";" " " flags "${IFAST_FLAGS_${set}}")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    check_cxx_compiler_flag("${flags}" IFAST_COMPILES_${SET})
  endif()
  if(IFAST_COMPILES_${SET})
    list(APPEND IFAST_INSTRUCTION_SETS ${set})
    target_compile_definitions(ifast_common INTERFACE IFAST_HAVE_${SET}=1)
    file(GLOB sources CONFIGURE_DEPENDS ${kernels}/${set}/*.cpp)
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${IFAST_FLAGS_${set}}")
  else()
    string(APPEND IFAST_SKIPPED_SOURCES "|/cpu/kernels/${set}/")
  endif()
endforeach()

# The result of a quantised Plan is defined operation by operation; a compiler that fuses two of them would change it.
set(int8_sources ${kernels}/portable/int8.cpp ${kernels}/avx2/int8.cpp ${kernels}/avx512_vnni/int8.cpp)
set_property(SOURCE ${int8_sources} APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
# GCC would keep two copies of every sum in the loops of twin_gemm, and run out of registers.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set_property(SOURCE ${int8_sources} APPEND PROPERTY COMPILE_OPTIONS -fno-tree-pre)
endif()

foreach(room plan cpu emulator)
  ifast_room(${room})
endforeach()
