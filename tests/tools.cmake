add_executable(make_pictures tools/make_pictures.c tools/picture_painters.c)
target_link_libraries(make_pictures PRIVATE latentd_base PkgConfig::JPEG PkgConfig::PNG m)
add_executable(call_filter tools/call_filter.c)
target_link_libraries(call_filter PRIVATE PkgConfig::SECCOMP)
