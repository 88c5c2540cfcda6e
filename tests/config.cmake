# Tests of config/.
foreach(name settings remote_config encoder_scope)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS latentd_config)
endforeach()
add_library(config_rig STATIC unit/config_rig.c)
target_link_libraries(config_rig PUBLIC latentd_testing latentd_config)
foreach(name daemon_config daemon_config_refused config_changes)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS config_rig)
endforeach()
add_fuzz_target(NAME fuzz_daemon_config SOURCES fuzz/fuzz_daemon_config.c LIBS latentd_config)

add_executable(config_docs tools/config_docs.c)
target_link_libraries(config_docs PRIVATE latentd_config)
find_package(Python3 3.9 COMPONENTS Interpreter REQUIRED)
add_test(NAME documents COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_SOURCE_DIR}/scripts/update-docs.py
	${CMAKE_BINARY_DIR} --check)
