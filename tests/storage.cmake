# Tests of storage/, and of src/base/atomic_file, which it stands on.
add_library(storage_testing STATIC storage_samples.c)
target_link_libraries(storage_testing PUBLIC latentd_testing latentd_storage)

# A program whose system calls can be made to fail: storage_faults.h
function(add_storage_fault_test name source)
	add_cmocka_test(NAME ${name} SOURCES ${source} storage_faults.c LIBS storage_testing)
	foreach(call write fsync fdatasync renameat2 rename link unlink mkdir mkdirat ftruncate)
		target_link_options(${name} PRIVATE -Wl,--wrap=${call})
	endforeach()
endfunction()

add_cmocka_test(NAME test_record SOURCES unit/test_record.c LIBS storage_testing)
add_cmocka_test(NAME test_shard_wds SOURCES unit/test_shard_wds.c LIBS storage_testing)
add_cmocka_test(NAME test_shard_mds SOURCES unit/test_shard_mds.c LIBS storage_testing)
target_link_libraries(test_shard_mds PRIVATE PkgConfig::JANSSON)
add_cmocka_test(NAME test_shard_contract SOURCES contract/test_shard_contract.c LIBS storage_testing)
add_cmocka_test(NAME test_store_contract SOURCES contract/test_store_contract.c LIBS storage_testing)
# With a real S3 server; 77: none is installed here.
add_executable(test_store_s3 component/test_store_s3.c)
target_link_libraries(test_store_s3 PRIVATE storage_testing latentd_net)
foreach(name test_store_contract test_store_s3)
	add_test(NAME ${name}_server COMMAND ${CMAKE_SOURCE_DIR}/tests/e2e/s3_rig.py run $<TARGET_FILE:${name}>)
	set_tests_properties(${name}_server PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
endforeach()
target_link_options(test_store_contract PRIVATE -Wl,--wrap=mkdirat)
add_storage_fault_test(test_atomic_file unit/test_atomic_file.c)
add_storage_fault_test(test_spool unit/test_spool.c)
add_storage_fault_test(test_seal unit/test_seal.c)

add_fuzz_target(NAME fuzz_record SOURCES fuzz/fuzz_record.c LIBS latentd_storage)
add_fuzz_target(NAME fuzz_shard_wds SOURCES fuzz/fuzz_shard_wds.c LIBS latentd_storage)
add_fuzz_target(NAME fuzz_shard_mds SOURCES fuzz/fuzz_shard_mds.c LIBS latentd_storage)
add_fuzz_target(NAME fuzz_spool SOURCES fuzz/fuzz_spool.c LIBS latentd_storage)

add_cmocka_test(NAME test_npz SOURCES unit/test_npz.c LIBS storage_testing)
add_fuzz_target(NAME fuzz_npz SOURCES fuzz/fuzz_npz.c LIBS latentd_storage)
