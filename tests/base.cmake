foreach(name error buffer half ndarray hash compress text files file_tree bounded_queue thread thread_pool
	cpu_isa memory_allowed day_hours frame_pieces byte_planes path_glob program_output)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS latentd_base)
endforeach()
add_cmocka_test(NAME test_clock SOURCES unit/test_clock.c LIBS latentd_base)
target_link_options(test_clock PRIVATE -Wl,--wrap=clock_gettime)
set_property(TEST test_bounded_queue test_thread test_thread_pool PROPERTY LABELS tsan)
target_link_libraries(test_half PRIVATE m)
# These ask for absurd sizes and want NULL, as without a sanitizer.
set_property(TEST test_buffer test_ndarray APPEND PROPERTY
	ENVIRONMENT "ASAN_OPTIONS=allocator_may_return_null=1"
	"TSAN_OPTIONS=allocator_may_return_null=1")
add_fuzz_target(NAME fuzz_npy SOURCES fuzz/fuzz_npy.c LIBS latentd_base)
add_fuzz_target(NAME fuzz_path_glob SOURCES fuzz/fuzz_path_glob.c LIBS latentd_base)
