# Faults, power cuts and damage under the real programs: docs/reliability.md.

# Preloaded: it must hold nothing that it stands in front of.
add_library(shim MODULE crash/shim_plan.c crash/shim_files.c crash/shim_journal.c crash/shim_calls.c
	crash/shim_names.c crash/shim_clock.c crash/shim_disk.c crash/shim_malloc.c)
set_target_properties(shim PROPERTIES PREFIX "")
target_compile_options(shim PRIVATE -fno-sanitize=all -fno-builtin -Wno-nonnull-compare)
target_link_options(shim PRIVATE -fno-sanitize=all)
target_link_libraries(shim PRIVATE ${CMAKE_DL_LIBS})

add_library(zygote MODULE crash/zygote.c)
set_target_properties(zygote PROPERTIES PREFIX "")
target_compile_options(zygote PRIVATE -fno-sanitize=all)
target_link_options(zygote PRIVATE -fno-sanitize=all)
target_link_libraries(zygote PRIVATE ${CMAKE_DL_LIBS})

find_package(Python3 3.9 COMPONENTS Interpreter REQUIRED)
foreach(name faults power_loss outages corruption lost_state model blame)
	add_test(NAME crash_${name} COMMAND ${Python3_EXECUTABLE} -B
		${CMAKE_CURRENT_SOURCE_DIR}/crash/test_${name}.py)
	set_tests_properties(crash_${name} PROPERTIES LABELS crash TIMEOUT 900 COST 60 SKIP_RETURN_CODE 77
		ENVIRONMENT "LATENTD_SOURCE_DIR=${CMAKE_SOURCE_DIR};LATENTD_BUILD_DIR=${CMAKE_BINARY_DIR}")
endforeach()

add_cmocka_test(NAME test_vfs_faults SOURCES crash/test_vfs_faults.c crash/vfs_shim.c LIBS contract_queue
	LABELS crash)
target_link_libraries(test_vfs_faults PRIVATE PkgConfig::SQLITE)
