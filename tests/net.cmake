# Tests of src/net.
add_cmocka_test(NAME test_http_client SOURCES component/test_http_client.c LIBS latentd_net)
add_cmocka_test(NAME test_vae_wire SOURCES unit/test_vae_wire.c LIBS latentd_net m)
add_fuzz_target(NAME fuzz_vae_wire SOURCES fuzz/fuzz_vae_wire.c LIBS latentd_net)
