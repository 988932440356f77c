# find_package(inception_fast) in another project.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/inception_fastTargets.cmake)
