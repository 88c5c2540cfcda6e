# Tests of daemon/ and config/.
add_cmocka_test(NAME test_settings SOURCES unit/test_settings.c LIBS latentd_config)
foreach(name decode_protocol spool_index recipe record_build output)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS latentd_daemon)
endforeach()
add_cmocka_test(NAME test_executor SOURCES unit/test_executor.c LIBS latentd_daemon LABELS tsan)

# Components: several modules of daemon/ together, with real and with lying decode workers.
add_executable(lying_worker component/lying_worker.c)
target_link_libraries(lying_worker PRIVATE latentd_daemon)
add_library(decode_rig STATIC component/decode_rig.c)
target_link_libraries(decode_rig PUBLIC latentd_testing latentd_daemon)
foreach(name decode_pool decode_pool_lies)
	add_cmocka_test(NAME test_${name} SOURCES component/test_${name}.c LIBS decode_rig)
	add_dependencies(test_${name} latentd-decode lying_worker)
endforeach()
add_cmocka_test(NAME test_encode_driver SOURCES component/test_encode_driver.c LIBS latentd_daemon
	LABELS tsan)
