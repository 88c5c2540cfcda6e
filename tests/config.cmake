# Tests of config/.
foreach(name settings daemon_config)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS latentd_config)
endforeach()
add_fuzz_target(NAME fuzz_daemon_config SOURCES fuzz/fuzz_daemon_config.c LIBS latentd_config)
