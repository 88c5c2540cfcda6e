add_executable(vae_run tools/vae_run.c)
target_link_libraries(vae_run PRIVATE latentd_vae)

add_library(latentd_kl_testing STATIC golden/kl_testing.c golden/vae_testing.c)
target_link_libraries(latentd_kl_testing PUBLIC latentd_vae latentd_testing m)

add_cmocka_test(NAME test_safetensors SOURCES unit/test_safetensors.c LIBS latentd_vae)
add_cmocka_test(NAME test_vae_config SOURCES unit/test_vae_config.c LIBS latentd_vae)
add_cmocka_test(NAME test_vae_names SOURCES unit/test_vae_names.c LIBS latentd_kl_testing)
add_cmocka_test(NAME test_vae_cost SOURCES unit/test_vae_cost.c LIBS latentd_kl_testing)
add_cmocka_test(NAME test_vae_model SOURCES unit/test_vae_model.c LIBS latentd_kl_testing)
foreach(name layers convolutions)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c unit/layer_testing.c
		LIBS latentd_vae m)
endforeach()
add_cmocka_test(NAME test_rounding SOURCES unit/test_rounding.c LIBS latentd_vae m)
add_cmocka_test(NAME test_posterior SOURCES unit/test_posterior.c LIBS latentd_vae m)
add_cmocka_test(NAME test_kl_encoder SOURCES unit/test_kl_encoder.c LIBS latentd_kl_testing)
target_link_options(test_kl_encoder PRIVATE -Wl,--wrap=aligned_alloc,--wrap=free)
add_cmocka_test(NAME test_kl_golden SOURCES golden/test_kl_golden.c LIBS latentd_kl_testing
	TIMEOUT 600 LABELS golden)
add_cmocka_test(NAME test_kl_decoder SOURCES golden/test_kl_decoder.c LIBS latentd_kl_testing
	TIMEOUT 600 LABELS golden)
add_cmocka_test(NAME test_tiny_vae SOURCES golden/test_tiny_vae.c LIBS latentd_kl_testing LABELS golden)
add_cmocka_test(NAME test_kl_tiles SOURCES golden/test_kl_tiles.c LIBS latentd_kl_testing LABELS golden)

add_fuzz_target(NAME fuzz_safetensors SOURCES fuzz/fuzz_safetensors.c LIBS latentd_vae)
add_fuzz_target(NAME fuzz_vae_config SOURCES fuzz/fuzz_vae_config.c LIBS latentd_vae)
