# Tests of src/net.
add_cmocka_test(NAME test_http_client SOURCES component/test_http_client.c LIBS latentd_net)
