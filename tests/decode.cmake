add_cmocka_test(NAME test_latent_space SOURCES unit/test_latent_space.c LIBS latentd_kl_testing latentd_daemon)
add_fuzz_target(NAME fuzz_tiny_weights SOURCES fuzz/fuzz_tiny_weights.c LIBS latentd_vae)
