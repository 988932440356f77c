# The library for programs without Python, inception_fast::inception_fast, static or shared as BUILD_SHARED_LIBS says.
# The CUDA kernels and their emulator share their names, so each is a shared library of its own, with its symbols hidden.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(library_folder ${PROJECT_SOURCE_DIR}/csrc/library)
add_library(inception_fast ${library_folder}/engine.cpp ${library_folder}/cpu_runner.cpp
            $<TARGET_OBJECTS:ifast_plan> $<TARGET_OBJECTS:ifast_cpu>)
target_compile_features(inception_fast PUBLIC cxx_std_20)
target_include_directories(inception_fast PUBLIC
                           $<BUILD_INTERFACE:${library_folder}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(inception_fast PRIVATE $<BUILD_INTERFACE:ifast_common> Threads::Threads)
set(libraries inception_fast)

foreach(device cuda emulator)
  if(TARGET ifast_${device} AND (device STREQUAL "cuda" OR IFAST_EMULATOR))
    string(TOUPPER ${device} DEVICE)
    add_library(inception_fast_${device} SHARED ${library_folder}/device_runner.cpp $<TARGET_OBJECTS:ifast_plan>)
    target_compile_definitions(inception_fast_${device} PRIVATE IFAST_MAKE_RUNNER=make_${device}_runner)
    target_link_libraries(inception_fast_${device} PRIVATE $<BUILD_INTERFACE:ifast_${device}>)
    target_compile_definitions(inception_fast PRIVATE IFAST_WITH_${DEVICE}=1)
    target_link_libraries(inception_fast PRIVATE inception_fast_${device})
    list(APPEND libraries inception_fast_${device})
  endif()
endforeach()

foreach(library ${libraries})
  add_library(inception_fast::${library} ALIAS ${library})
endforeach()
set_target_properties(${libraries} PROPERTIES INSTALL_RPATH "$ORIGIN")

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/inception_fast)
install(TARGETS ${libraries} EXPORT inception_fast)
install(DIRECTORY ${library_folder}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT inception_fast NAMESPACE inception_fast:: FILE inception_fastTargets.cmake DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/inception_fastConfigVersion.cmake
                                 VERSION ${IFAST_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/inception_fastConfig.cmake
              ${PROJECT_BINARY_DIR}/inception_fastConfigVersion.cmake DESTINATION ${package_folder})
