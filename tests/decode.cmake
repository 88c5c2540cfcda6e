# Latents back to pictures, as a whole: as in e2e.cmake.
find_package(Python3 3.9 COMPONENTS Interpreter REQUIRED)
add_test(NAME e2e_decode COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/test_decode.py)
set_tests_properties(e2e_decode PROPERTIES LABELS e2e TIMEOUT 900 COST 50 SKIP_RETURN_CODE 77
	ENVIRONMENT "LATENTD_SOURCE_DIR=${CMAKE_SOURCE_DIR};LATENTD_BUILD_DIR=${CMAKE_BINARY_DIR}")
add_cmocka_test(NAME test_latent_space SOURCES unit/test_latent_space.c LIBS latentd_kl_testing latentd_daemon)
add_fuzz_target(NAME fuzz_tiny_weights SOURCES fuzz/fuzz_tiny_weights.c LIBS latentd_vae)
