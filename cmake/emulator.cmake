# The emulator: csrc/cuda compiled by the host compiler, with emulator/ptx in the place of cuda/ptx.
if(TARGET ifast_emulator)
  file(GLOB launch_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/cuda/launch/*.cpp)
  target_sources(ifast_emulator PRIVATE ${launch_sources})
  target_include_directories(ifast_emulator PUBLIC ${PROJECT_SOURCE_DIR}/csrc/emulator)
endif()
